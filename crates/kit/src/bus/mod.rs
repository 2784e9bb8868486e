//! Calls and casts between processes.
//!
//! A topic is a bounded queue that one kind of process reads. Everything crosses serialized, also inside one process, so that what works
//! at home works between machines: there the queue is a channel ([`local`]), between machines it is NATS ([`nats`]). A call has a deadline;
//! when it passes, the outcome is unknown, not failed. A cast returns when the message is in the queue of one who reads it.

mod local;
mod nats;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rpc::Message;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

pub use self::nats::{Config, token};
use crate::error::WireError;
use crate::{Error, Kind, Result};

/// What those who have a database call themselves: they speak for the cloud.
pub const CONTROL: &str = "control";
/// What a process calls itself that is several hosts at once, which only simulated ones are.
pub const SIMULATED: &str = "simulated";

/// Messages that may wait in a topic before senders are told it is overloaded.
const QUEUE: usize = 4096;
/// How long a sender waits for room in a full topic.
const ROOM: Duration = Duration::from_secs(5);

type Payload = Vec<u8>;
type Answer = std::result::Result<Payload, WireError>;
type Handler = Arc<dyn Fn(Option<String>, Payload) -> BoxFuture<'static, Answer> + Send + Sync>;
/// Boxed, since a channel keeps room for dozens, and there are two topics for each host.
type Queue = Arc<tokio::sync::Mutex<mpsc::Receiver<Box<Envelope>>>>;

/// The message bus of this process.
#[derive(Clone)]
pub struct Bus(Carrier);

#[derive(Clone)]
enum Carrier {
    Local(local::Topics),
    Nats(nats::Nats),
}

struct Envelope {
    /// Who it is from, where that is somebody else than this process.
    sender: Option<String>,
    method: String,
    payload: Payload,
    reply: Option<ReplyTo>,
}

/// Who waits for the answer of a call.
enum ReplyTo {
    Here(oneshot::Sender<Answer>),
    There(nats::Inbox),
}

impl Bus {
    /// A bus inside this process.
    pub fn local() -> Bus {
        Bus(Carrier::Local(local::Topics::default()))
    }

    /// The bus that the configuration names: NATS, or this process's own. `sender` is who this process says it is.
    pub async fn open(config: &Config, sender: &str) -> Result<Bus> {
        match &config.url {
            Some(url) => Ok(Bus(Carrier::Nats(nats::Nats::connect(url, config, sender).await?))),
            None => Ok(Bus::local()),
        }
    }

    /// Send, and wait for the answer until `deadline` has passed.
    pub async fn call<M: Message>(&self, topic: &str, message: M, deadline: Duration) -> Result<M::Reply> {
        let payload = serde_json::to_vec(&message)?;
        // what is sent may be large, and the answer long in coming
        drop(message);
        let answer = async {
            match &self.0 {
                Carrier::Local(topics) => topics.call(topic, M::METHOD, payload).await,
                Carrier::Nats(nats) => nats.call(topic, M::METHOD, payload, deadline).await,
            }
        };
        match tokio::time::timeout(deadline, answer).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer?.map_err(Error::from)?)?),
            Err(_) => Err(Error::new(Kind::TimedOut, format!("No answer from {topic} to {} in {} s", M::METHOD, deadline.as_secs()))),
        }
    }

    /// Send, and go on.
    pub async fn cast<M: Message<Reply = ()>>(&self, topic: &str, message: M) -> Result<()> {
        let payload = serde_json::to_vec(&message)?;
        match &self.0 {
            Carrier::Local(topics) => topics.send(topic, Envelope { sender: None, method: M::METHOD.into(), payload, reply: None }).await,
            Carrier::Nats(nats) => nats.cast(topic, M::METHOD, payload).await,
        }
    }

    /// Answer what arrives in `topic`, at most `concurrency` messages at a time, until the returned task is aborted. Several processes that
    /// serve the same topic share its messages.
    pub fn serve(&self, topic: &str, handlers: Handlers, concurrency: usize) -> JoinHandle<()> {
        let queue = match &self.0 {
            Carrier::Local(topics) => topics.queue(topic),
            Carrier::Nats(nats) => nats.queue(topic),
        };
        tokio::spawn(work(topic.to_owned(), queue, handlers, concurrency))
    }
}

/// Takes messages off a queue while there is somebody free to handle them.
async fn work(topic: String, queue: Queue, handlers: Handlers, concurrency: usize) {
    let room = Arc::new(Semaphore::new(concurrency));
    let mut queue = queue.lock().await;
    while let Ok(permit) = room.clone().acquire_owned().await {
        let Some(envelope) = queue.recv().await else { return };
        let handler = handlers.0.get(envelope.method.as_str()).cloned();
        let topic = topic.clone();
        tokio::spawn(async move {
            let Envelope { sender, method, payload, reply } = *envelope;
            let answer = match handler {
                Some(handler) => handler(sender, payload).await,
                None => {
                    tracing::error!(topic, method, "nobody handles this message");
                    Err(Error::new(Kind::NotImplemented, format!("{topic} does not know {method}")).into())
                }
            };
            match (reply, answer) {
                (Some(reply), answer) => reply.answer(&method, answer).await,
                (None, Err(error)) => tracing::error!(topic, method, error = %Error::from(error), "a cast failed"),
                (None, Ok(_)) => {}
            }
            drop(permit);
        });
    }
}

impl ReplyTo {
    async fn answer(self, method: &str, answer: Answer) {
        match self {
            // one who no longer waits needs no answer
            ReplyTo::Here(caller) => drop(caller.send(answer)),
            ReplyTo::There(inbox) => inbox.answer(method, answer).await,
        }
    }
}

/// A host speaks for itself alone, whatever its message says; NATS sees to it that it sends as itself.
fn may_speak(sender: &str, host: &str) -> Result<()> {
    // a storage of a host goes by HOST@STORAGE
    let machine = host.split('@').next().unwrap_or(host);
    match sender == CONTROL || sender == SIMULATED || sender == nats::token(machine) {
        true => Ok(()),
        false => {
            tracing::warn!(sender, host, "somebody speaks in another host's name");
            Err(Error::new(Kind::Forbidden, format!("{sender} may not speak for {host}.")))
        }
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
        let erased: Handler = Arc::new(move |sender, payload| {
            let handler = handler.clone();
            Box::pin(async move {
                let message: M = serde_json::from_slice(&payload).map_err(Error::from)?;
                if let (Some(sender), Some(host)) = (sender, message.speaker()) {
                    may_speak(&sender, host)?;
                }
                let reply = handler(message).await?;
                Ok(serde_json::to_vec(&reply).map_err(Error::from)?)
            })
        });
        self.0.insert(M::METHOD, erased);
        self
    }
}
