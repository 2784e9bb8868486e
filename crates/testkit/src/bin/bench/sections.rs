//! The parts of the document: which of them were asked for, and what became of each. One that fails leaves the others standing.

use serde_json::{Map, Value, json};

use crate::{Outcome, note};

/// All there are, in the order in which they are measured.
const NAMES: [&str; 12] = [
    "startup",
    "sim_boots",
    "reads",
    "ports",
    "images",
    "sim_volumes",
    "identity",
    "sim_hosts",
    "schedulers",
    "many_servers",
    "taps",
    "guests",
];

pub struct Sections {
    wanted: Vec<String>,
    figures: Map<String, Value>,
    /// Whether one of them could not be measured.
    pub failed: bool,
}

impl Sections {
    /// Those of these names; all when there are no names.
    pub fn new(wanted: Vec<String>) -> Outcome<Sections> {
        match wanted.iter().find(|name| !NAMES.contains(&name.as_str())) {
            Some(name) => Err(format!("there is no section {name}, only {}", NAMES.join(", ")).into()),
            None => Ok(Sections { wanted, figures: Map::new(), failed: false }),
        }
    }

    pub fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == name)
    }

    /// Measures a section if it is wanted.
    pub async fn take(&mut self, name: &str, measured: impl Future<Output = Outcome<Value>>) {
        if !self.wants(name) {
            return;
        }
        note(name);
        let figures = measured.await.unwrap_or_else(|error| {
            self.failed = true;
            note(&format!("{name} failed: {error}"));
            json!({"failed": error.to_string()})
        });
        self.put(name, figures);
    }

    pub fn put(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    pub fn document(&self) -> Value {
        self.figures.clone().into()
    }
}
