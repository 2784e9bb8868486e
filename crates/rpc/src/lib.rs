//! The messages on the bus: types only, and of [`numa`] the rule that both ends go by.
//!
//! A message names the method it calls and the reply it expects; a topic is a queue that one kind of process reads. Every
//! message crosses the bus serialized, also inside one process, so nothing works only at home. Whoever changes a message
//! keeps old fields readable: hosts of adjacent versions talk to each other.

pub mod actions;
pub mod compute;
pub mod conductor;
pub mod live_migration;
pub mod network;
pub mod notifications;
pub mod numa;
pub mod scheduler;
pub mod volume;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One call or cast on the bus.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// The name of the method, unique within its topic.
    const METHOD: &'static str;
    /// What the callee answers; `()` for a cast.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// The host in whose name it speaks; nobody else may send it.
    fn speaker(&self) -> Option<&str> {
        None
    }
}

/// Names a [`Message`]: `message!(GetInstance => Instance, "get_instance")`; with `of host` one that only the host in that field may send.
#[macro_export]
macro_rules! message {
    ($message:ty => $reply:ty, $method:literal, of $host:ident) => {
        impl $crate::Message for $message {
            const METHOD: &'static str = $method;
            type Reply = $reply;

            fn speaker(&self) -> Option<&str> {
                Some(&self.$host)
            }
        }
    };
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

/// For fields where null means something and absence something else: `Some(None)` is null, `None` is left out.
pub(crate) mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(value: &Option<Option<T>>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use crate::conductor::SaveInstance;

    #[test]
    fn the_end_of_a_task_is_not_silence_about_it() {
        for task_state in [None, Some(None), Some(Some("spawning".to_owned()))] {
            let message = SaveInstance { task_state: task_state.clone(), ..SaveInstance::default() };
            let wire = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<SaveInstance>(&wire).unwrap().task_state, task_state);
        }
    }
}
