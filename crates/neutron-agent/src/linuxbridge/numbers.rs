//! Numbers of this host: a mark for each port, a conntrack zone for each network. They are kept in a file, so that a restart neither moves a
//! running connection to another zone nor gives a port another's mark.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::desired::Desired;
use crate::host::files;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    ports: Pool,
    networks: Pool,
}

/// Numbers from 1 to 65535, the least recently freed first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pool {
    given: BTreeMap<String, u16>,
    last: u16,
}

impl Numbers {
    /// As last saved; anew when there is no file, or none that can be read.
    pub fn load(path: &Path) -> Numbers {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(_) => return Numbers::default(),
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot be read; ports get new numbers");
            Numbers::default()
        })
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_if_changed(path, &serde_json::to_vec(self)?).map(|_| ())
    }

    pub fn port(&self, id: &str) -> Option<u16> {
        self.ports.given.get(id).copied()
    }

    pub fn network(&self, id: &str) -> Option<u16> {
        self.networks.given.get(id).copied()
    }

    /// Give a number to all that has none.
    pub fn give(&mut self, desired: &Desired) {
        for id in desired.ports.keys() {
            self.ports.give(id);
        }
        for id in desired.networks.keys() {
            self.networks.give(id);
        }
    }

    /// Take back the numbers of what is no longer wanted.
    pub fn take_back(&mut self, desired: &Desired) {
        self.ports.given.retain(|id, _| desired.ports.contains_key(id));
        self.networks.given.retain(|id, _| desired.networks.contains_key(id));
    }

    #[cfg(test)]
    pub fn of(desired: &Desired) -> Numbers {
        let mut numbers = Numbers::default();
        numbers.give(desired);
        numbers
    }
}

impl Pool {
    fn give(&mut self, id: &str) {
        if self.given.contains_key(id) {
            return;
        }
        let taken: BTreeSet<u16> = self.given.values().copied().collect();
        let next = (self.last..u16::MAX).map(|n| n + 1).chain(1..=self.last).find(|n| !taken.contains(n));
        match next {
            Some(number) => {
                self.last = number;
                self.given.insert(id.to_owned(), number);
            }
            None => tracing::error!(id, "all 65535 numbers of this host are in use"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Dirty;
    use crate::fixtures;
    use rpc::network::Change;

    #[test]
    fn numbers_stay_and_a_freed_one_rests() {
        let mut desired = Desired::from_state(fixtures::state());
        let mut numbers = Numbers::of(&desired);
        assert_eq!((numbers.port(fixtures::PORT_A), numbers.port(fixtures::PORT_B)), (Some(1), Some(2)));
        desired.apply(Change::PortGone(fixtures::PORT_A.into()), &mut Dirty::default());
        numbers.take_back(&desired);
        desired.apply(Change::Port(fixtures::port("new", 13)), &mut Dirty::default());
        numbers.give(&desired);
        assert_eq!((numbers.port("new"), numbers.port(fixtures::PORT_B)), (Some(3), Some(2)));
    }

    #[test]
    fn a_file_brings_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers.json");
        let numbers = Numbers::of(&Desired::from_state(fixtures::state()));
        numbers.save(&path).unwrap();
        assert_eq!(Numbers::load(&path), numbers);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Numbers::load(&path), Numbers::default());
    }
}
