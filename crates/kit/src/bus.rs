//! Calls and casts between processes.
//!
//! A topic is a bounded queue that one kind of process reads. Everything crosses serialized, also inside one process, so that what works
//! at home works between machines. A call has a deadline; when it passes, the outcome is unknown, not failed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use rpc::Message;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::error::WireError;
use crate::{Error, Kind, Result};

/// Messages that may wait in a topic before senders are told it is overloaded.
const QUEUE: usize = 4096;
/// How long a sender waits for room in a full topic.
const ROOM: Duration = Duration::from_secs(5);

type Payload = Vec<u8>;
type Answer = std::result::Result<Payload, WireError>;
type Handler = Arc<dyn Fn(Payload) -> BoxFuture<'static, Answer> + Send + Sync>;

/// The message bus of this process.
#[derive(Clone, Default)]
pub struct Bus {
    topics: Arc<Mutex<HashMap<String, Topic>>>,
}

#[derive(Clone)]
struct Topic {
    sender: mpsc::Sender<Envelope>,
    receiver: Arc<tokio::sync::Mutex<mpsc::Receiver<Envelope>>>,
}

struct Envelope {
    method: &'static str,
    payload: Payload,
    reply: Option<oneshot::Sender<Answer>>,
}

impl Bus {
    /// A bus inside this process.
    pub fn local() -> Bus {
        Bus::default()
    }

    /// Send, and wait for the answer until `deadline` has passed.
    pub async fn call<M: Message>(&self, topic: &str, message: M, deadline: Duration) -> Result<M::Reply> {
        let (reply, answer) = oneshot::channel();
        let wait = async {
            self.send(topic, &message, Some(reply)).await?;
            answer.await.map_err(|_| Error::unavailable(format!("{topic} went away during {}", M::METHOD)))
        };
        match tokio::time::timeout(deadline, wait).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer?.map_err(Error::from)?)?),
            Err(_) => Err(Error::new(Kind::TimedOut, format!("No answer from {topic} to {} in {} s", M::METHOD, deadline.as_secs()))),
        }
    }

    /// Send, and go on.
    pub async fn cast<M: Message<Reply = ()>>(&self, topic: &str, message: M) -> Result<()> {
        self.send(topic, &message, None).await
    }

    /// Answer what arrives in `topic`, at most `concurrency` messages at a time, until the returned task is aborted.
    pub fn serve(&self, topic: &str, handlers: Handlers, concurrency: usize) -> tokio::task::JoinHandle<()> {
        let receiver = self.topic(topic).receiver;
        let topic = topic.to_owned();
        let room = Arc::new(Semaphore::new(concurrency));
        tokio::spawn(async move {
            let mut receiver = receiver.lock().await;
            while let Ok(permit) = room.clone().acquire_owned().await {
                let Some(envelope) = receiver.recv().await else { return };
                let Some(handler) = handlers.0.get(envelope.method).cloned() else {
                    tracing::error!(topic, method = envelope.method, "nobody handles this message");
                    let error = Error::new(Kind::NotImplemented, format!("{topic} does not know {}", envelope.method));
                    envelope.reply.map(|reply| reply.send(Err(error.into())));
                    continue;
                };
                let topic = topic.clone();
                tokio::spawn(async move {
                    let answer = handler(envelope.payload).await;
                    match (envelope.reply, answer) {
                        (Some(reply), answer) => drop(reply.send(answer)),
                        (None, Err(error)) => {
                            tracing::error!(topic, method = envelope.method, error = %Error::from(error), "a cast failed");
                        }
                        (None, Ok(_)) => {}
                    }
                    drop(permit);
                });
            }
        })
    }

    async fn send<M: Message>(&self, topic: &str, message: &M, reply: Option<oneshot::Sender<Answer>>) -> Result<()> {
        let envelope = Envelope { method: M::METHOD, payload: serde_json::to_vec(message)?, reply };
        self.topic(topic).sender.send_timeout(envelope, ROOM).await.map_err(|_| Error::unavailable(format!("The queue of {topic} is full")))
    }

    fn topic(&self, name: &str) -> Topic {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return topic.clone();
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let topic = Topic { sender, receiver: Arc::new(tokio::sync::Mutex::new(receiver)) };
        topics.insert(name.to_owned(), topic.clone());
        topic
    }
}

/// What a process does with the messages of a topic.
#[derive(Clone, Default)]
pub struct Handlers(HashMap<&'static str, Handler>);

impl Handlers {
    pub fn new() -> Handlers {
        Handlers::default()
    }

    /// Handle messages of type `M`.
    pub fn on<M, F, Fut>(mut self, handler: F) -> Handlers
    where
        M: Message,
        F: Fn(M) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<M::Reply>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let erased: Handler = Arc::new(move |payload| {
            let handler = handler.clone();
            Box::pin(async move {
                let message: M = serde_json::from_slice(&payload).map_err(Error::from)?;
                let reply = handler(message).await?;
                Ok(serde_json::to_vec(&reply).map_err(Error::from)?)
            })
        });
        self.0.insert(M::METHOD, erased);
        self
    }
}

#[cfg(test)]
mod tests {
    use rpc::conductor::GetInstance;

    use super::*;

    #[tokio::test]
    async fn calls_are_answered_and_errors_keep_their_kind() {
        let bus = Bus::local();
        bus.serve(
            "conductor",
            Handlers::new().on(|m: GetInstance| async move {
                if m.instance_id == "gone" { Err(Error::not_found("Instance gone could not be found.")) } else { Ok(None) }
            }),
            4,
        );
        let ask = |id: &str| bus.call("conductor", GetInstance { instance_id: id.into() }, Duration::from_secs(5));
        assert_eq!(ask("there").await.unwrap(), None);
        assert_eq!(ask("gone").await.unwrap_err().kind, Kind::NotFound);
    }

    #[tokio::test]
    async fn silence_is_a_timeout() {
        let bus = Bus::local();
        let call = bus.call("nobody", GetInstance { instance_id: "x".into() }, Duration::from_millis(20));
        assert_eq!(call.await.unwrap_err().kind, Kind::TimedOut);
    }
}
