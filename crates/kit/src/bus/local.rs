//! The bus inside one process: a bounded channel for each topic. What is sent before somebody serves the topic waits in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::{Answer, Envelope, Payload, QUEUE, Queue, ROOM, ReplyTo};
use crate::{Error, Result};

/// The topics of this process, each made when it is first named.
#[derive(Clone, Default)]
pub struct Topics(Arc<Mutex<HashMap<String, Topic>>>);

#[derive(Clone)]
struct Topic {
    sender: mpsc::Sender<Box<Envelope>>,
    receiver: Queue,
}

impl Topics {
    pub async fn call(&self, topic: &str, method: &'static str, payload: Payload) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        self.send(topic, Envelope { sender: None, method: method.into(), payload, reply: Some(ReplyTo::Here(reply)) }).await?;
        answer.await.map_err(|_| Error::unavailable(format!("{topic} went away during {method}")))
    }

    pub async fn send(&self, topic: &str, envelope: Envelope) -> Result<()> {
        let room = self.topic(topic).sender.send_timeout(Box::new(envelope), ROOM).await;
        room.map_err(|_| Error::unavailable(format!("The queue of {topic} is full")))
    }

    pub fn queue(&self, topic: &str) -> Queue {
        self.topic(topic).receiver
    }

    fn topic(&self, name: &str) -> Topic {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return topic.clone();
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let topic = Topic { sender, receiver: Arc::new(tokio::sync::Mutex::new(receiver)) };
        topics.insert(name.to_owned(), topic.clone());
        topic
    }
}
