//! The bus between machines: NATS.
//!
//! A topic is the subject `PREFIX.SENDER.TOPIC`, served as `PREFIX.*.TOPIC` by a queue group, so that those who serve the same topic share
//! its messages and NATS can be told in whose name a host may speak. A message goes into the server's bounded queue or is refused there; a
//! cast is acknowledged when it is in the queue, and sent again until it is. The connection heals itself; what was asked meanwhile waits.

mod connect;

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Request, RequestErrorKind, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::connect::Config;
use self::connect::{Outages, Pauses};
use super::{Answer, Envelope, Payload, QUEUE, Queue, ROOM, ReplyTo};
use crate::error::WireError;
use crate::{Error, Kind, Result};

/// What a message is: the method it calls, and whether it wants more than to be taken.
const METHOD: &str = "Cumulo-Method";
const CAST: &str = "Cumulo-Cast";
/// What an answer is: one of the words below.
const OUTCOME: &str = "Cumulo-Outcome";
const OK: &str = "ok";
const ERROR: &str = "error";
const TAKEN: &str = "taken";
const FULL: &str = "full";

/// How long a cast waits to be taken before it is sent again, and how long it is sent again.
const TAKE: Duration = Duration::from_secs(2);
const OUTAGE: Duration = Duration::from_secs(15);
/// When an answer given while not everybody may be back from an outage is sent again.
const AGAIN: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// A connection, shared by all who use the bus.
#[derive(Clone)]
pub struct Nats {
    client: Client,
    names: Arc<Names>,
}

struct Names {
    prefix: String,
    sender: String,
    outages: Arc<Outages>,
}

impl Nats {
    /// Connects; an error when NATS is not there for a while, or does not let us in.
    pub async fn connect(url: &str, config: &Config, sender: &str) -> Result<Nats> {
        let sender = token(sender);
        let outages = Arc::new(Outages::default());
        let client = connect::client(url, config, &sender, &outages).await?;
        Ok(Nats { client, names: Arc::new(Names { prefix: config.prefix.clone(), sender, outages }) })
    }

    /// Asks until somebody has taken the question, then waits for the answer; the caller keeps the deadline.
    pub async fn call(&self, topic: &str, method: &'static str, payload: Payload, deadline: Duration) -> Result<Answer> {
        let (subject, payload) = (self.subject(topic), bytes::Bytes::from(payload));
        let end = Instant::now() + deadline;
        let mut pauses = Pauses::new();
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(METHOD, method);
            // a little longer than the caller waits, so that it is the caller who says so
            let patience = end.saturating_duration_since(Instant::now()) + TAKE;
            let request = Request::new().payload(payload.clone()).headers(headers).timeout(Some(patience));
            let why = match self.client.send_request(subject.clone(), request).await {
                Ok(reply) => match outcome(&reply) {
                    OK => return Ok(Ok(reply.payload.into())),
                    ERROR => return Ok(Err(serde_json::from_slice::<WireError>(&reply.payload)?)),
                    _ => "is overloaded",
                },
                Err(error) => match error.kind() {
                    RequestErrorKind::NoResponders => "is served by nobody",
                    RequestErrorKind::TimedOut => return Err(Error::new(Kind::TimedOut, format!("No answer from {topic} to {method}"))),
                    RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                        return Err(unsendable(topic, method, error));
                    }
                    RequestErrorKind::Other => "cannot be reached",
                },
            };
            // nobody has it: it can be sent again without having happened
            if Instant::now() + pauses.now >= end {
                return Err(Error::unavailable(format!("{topic} {why}")));
            }
            pauses.next().await;
        }
    }

    /// Sends until somebody has taken it.
    pub async fn cast(&self, topic: &str, method: &'static str, payload: Payload) -> Result<()> {
        let (subject, payload) = (self.subject(topic), bytes::Bytes::from(payload));
        let began = Instant::now();
        let mut pauses = Pauses::new();
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(METHOD, method);
            headers.insert(CAST, "1");
            let request = Request::new().payload(payload.clone()).headers(headers).timeout(Some(TAKE));
            let (why, patience) = match self.client.send_request(subject.clone(), request).await {
                Ok(reply) if outcome(&reply) == TAKEN => return Ok(()),
                Ok(_) => ("is overloaded", ROOM),
                Err(error) => match error.kind() {
                    RequestErrorKind::NoResponders => ("is served by nobody", ROOM),
                    RequestErrorKind::TimedOut | RequestErrorKind::Other => ("cannot be reached", OUTAGE),
                    RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                        return Err(unsendable(topic, method, error));
                    }
                },
            };
            if began.elapsed() >= patience {
                return Err(Error::unavailable(format!("{topic} {why}")));
            }
            pauses.next().await;
        }
    }

    /// The messages of a topic that are this process's.
    pub fn queue(&self, topic: &str) -> Queue {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (nats, topic) = (self.clone(), topic.to_owned());
        let subject = format!("{}.*.{topic}", self.names.prefix);
        let subscribing = async move { nats.client.queue_subscribe(subject, topic).await.map(|messages| (nats, messages)) };
        let mut subscribing = Box::pin(subscribing);
        // at once when there is room on the connection, so that whatever is asked after this comes after this
        let subscribed = subscribing.as_mut().now_or_never();
        tokio::spawn(async move {
            let subscribed = match subscribed {
                Some(subscribed) => subscribed,
                None => subscribing.await,
            };
            match subscribed {
                Ok((nats, messages)) => nats.fill(&sender, messages).await,
                Err(error) => tracing::error!(%error, "a topic cannot be served"),
            }
        });
        Arc::new(tokio::sync::Mutex::new(receiver))
    }

    /// Moves messages into the queue until nobody reads it any more; those that NATS had sent by then are sent back, for another to take.
    async fn fill(&self, queue: &mpsc::Sender<Box<Envelope>>, mut messages: Subscriber) {
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.take(queue, message).await,
                    None => return,
                },
                _ = queue.closed() => break,
            }
        }
        if messages.drain().await.is_ok() {
            while let Some(message) = messages.next().await {
                self.take(queue, message).await;
            }
        }
    }

    /// Puts a message into the queue, and tells the sender of a cast; the sender of what finds no room is told that.
    async fn take(&self, queue: &mpsc::Sender<Box<Envelope>>, message: async_nats::Message) {
        let (Some(headers), Some(reply)) = (message.headers, message.reply) else { return };
        let sender = message.subject.split('.').nth(1).map(str::to_owned);
        let inbox = Inbox { nats: self.clone(), subject: reply };
        let method = headers.get(METHOD).map(|value| value.as_str().to_owned()).unwrap_or_default();
        let (taker, reply) = if headers.get(CAST).is_some() { (Some(inbox), None) } else { (None, Some(ReplyTo::There(inbox))) };
        let answer = match queue.try_send(Box::new(Envelope { sender, method, payload: message.payload.into(), reply })) {
            Ok(()) => taker.map(|inbox| (inbox, TAKEN)),
            Err(refused) => {
                let back = match refused.into_inner().reply {
                    Some(ReplyTo::There(inbox)) => Some(inbox),
                    Some(ReplyTo::Here(_)) | None => taker,
                };
                back.map(|inbox| (inbox, FULL))
            }
        };
        if let Some((inbox, word)) = answer {
            inbox.send(word, Payload::new()).await;
        }
    }

    fn subject(&self, topic: &str) -> String {
        format!("{}.{}.{topic}", self.names.prefix, self.names.sender)
    }
}

/// Where an answer goes.
pub struct Inbox {
    nats: Nats,
    subject: async_nats::Subject,
}

impl Inbox {
    pub async fn answer(self, method: &str, answer: Answer) {
        let limit = self.nats.client.max_payload();
        let answer = match answer {
            // some of it is for the headers
            Ok(payload) if payload.len() + 1024 > limit => {
                tracing::error!(method, bytes = payload.len(), limit, "an answer is too long for the bus");
                Err(WireError::from(Error::unavailable(format!("The answer to {method} is too long for the bus: {} bytes", payload.len()))))
            }
            answer => answer,
        };
        match answer {
            Ok(payload) => self.send(OK, payload).await,
            Err(error) => match serde_json::to_vec(&error) {
                Ok(payload) => self.send(ERROR, payload).await,
                Err(error) => tracing::error!(method, %error, "an error cannot be told"),
            },
        }
    }

    async fn send(self, word: &'static str, payload: Payload) {
        let payload = bytes::Bytes::from(payload);
        self.publish(word, payload.clone()).await;
        // who asked may not be back yet from the outage that we are back from; one who has the answer does not heed another
        if self.nats.client.connection_state() != State::Connected || self.nats.names.outages.recent() {
            tokio::spawn(async move {
                for pause in AGAIN {
                    tokio::time::sleep(pause).await;
                    self.publish(word, payload.clone()).await;
                }
            });
        }
    }

    async fn publish(&self, word: &'static str, payload: bytes::Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(OUTCOME, word);
        // whoever waits for it will say that nothing came
        if let Err(error) = self.nats.client.publish_with_headers(self.subject.clone(), headers, payload).await {
            tracing::warn!(%error, "an answer was not sent");
        }
    }
}

fn outcome(reply: &async_nats::Message) -> &str {
    reply.headers.as_ref().and_then(|headers| headers.get(OUTCOME)).map_or("", |value| value.as_str())
}

fn unsendable(topic: &str, method: &str, error: async_nats::RequestError) -> Error {
    Error::unavailable(format!("{method} cannot be sent to {topic}")).source(error)
}

/// A name as one token of a subject.
pub fn token(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_token() {
        assert_eq!(token("node-1.example.com"), "node-1_example_com");
    }
}
