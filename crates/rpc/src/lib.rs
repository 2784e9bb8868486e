//! The messages on the bus: types only.
//!
//! A message names the method it calls and the reply it expects; a topic is a queue that one kind of process reads. Every
//! message crosses the bus serialized, also inside one process, so nothing works only at home. Whoever changes a message
//! keeps old fields readable: hosts of adjacent versions talk to each other.

pub mod compute;
pub mod conductor;
pub mod network;
pub mod scheduler;
pub mod volume;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One call or cast on the bus.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// The name of the method, unique within its topic.
    const METHOD: &'static str;
    /// What the callee answers; `()` for a cast.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// Names a [`Message`]: `message!(GetInstance => Instance, "get_instance")`.
#[macro_export]
macro_rules! message {
    ($message:ty => $reply:ty, $method:literal) => {
        impl $crate::Message for $message {
            const METHOD: &'static str = $method;
            type Reply = $reply;
        }
    };
}

/// For whom a message is sent: the user's request, carried along so that a host can act, and be checked, in the user's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// `req-<uuid>` of the API request that began it all.
    pub request_id: String,
    pub user_id: String,
    pub project_id: String,
    /// The user's token, for calls to the other services; every one of them checks it again.
    pub token: String,
}
