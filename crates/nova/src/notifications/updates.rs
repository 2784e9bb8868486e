//! Changes of servers between the beginning and the end of actions, on their way to being told: changes of one server that come together
//! are told as one.

use std::sync::{Mutex, PoisonError};

use indexmap::IndexMap;

use crate::servers::instance::Model;

/// Servers that wait to be told of, at most. What more changes is not told: it informs, it does not decide.
const MOST: usize = 10_000;

/// What a server was before it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub request_id: String,
    pub vm_state: String,
    pub task_state: Option<String>,
    /// Its name, when it has another one now.
    pub name: Option<String>,
}

/// The changes not yet told, by server, in the order they came.
#[derive(Default)]
pub struct Updates(Mutex<IndexMap<String, Update>>);

impl Update {
    pub fn of(before: &Model, request_id: &str, renamed: bool) -> Update {
        Update {
            request_id: request_id.to_owned(),
            vm_state: before.vm_state.clone(),
            task_state: before.task_state.clone(),
            name: renamed.then(|| before.name.clone()),
        }
    }
}

impl Updates {
    /// A server changed that was like this before.
    pub fn push(&self, id: &str, before: Update) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            return;
        }
        match waiting.get_mut(id) {
            Some(earlier) => earlier.name = earlier.name.take().or(before.name),
            None => drop(waiting.insert(id.to_owned(), before)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes all that wait.
    pub fn take(&self) -> IndexMap<String, Update> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Some of what was taken is for the next time; what came meanwhile comes behind it.
    pub fn put_back(&self, some: IndexMap<String, Update>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let later = std::mem::replace(&mut *waiting, some);
        for (id, update) in later {
            waiting.entry(id).or_insert(update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::tests::a_server;

    #[test]
    fn changes_that_come_together_are_one() {
        let updates = Updates::default();
        let mut server = a_server("a");
        updates.push("a", Update::of(&server, "r", false));
        server.vm_state = "stopped".into();
        updates.push("a", Update::of(&server, "r", true));
        updates.push("b", Update::of(&a_server("b"), "r", false));
        let taken = updates.take();
        assert_eq!(taken.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((taken["a"].vm_state.as_str(), taken["a"].name.as_deref()), ("active", Some("s")));
        updates.push("a", Update::of(&server, "r", false));
        updates.put_back(taken);
        assert_eq!(updates.take()["a"].vm_state, "active");
        assert!(updates.is_empty());
    }
}
