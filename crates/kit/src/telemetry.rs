//! Logs, one file for each component, as an OpenStack keeps them.
//!
//! The component is chosen by module path: what `nova::scheduler` says goes to `nova/nova-scheduler.log`. Everything also has a copy of
//! warnings in `cumulo.log`, so that one file tells whether something is wrong.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
pub use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::clock::Timestamp;

/// Module path prefixes and the log they write to; the first that fits counts.
const COMPONENTS: &[(&str, &str)] = &[
    ("keystone", "keystone/keystone.log"),
    ("glance", "glance/api.log"),
    ("placement", "placement/placement-api.log"),
    ("nova::scheduler", "nova/nova-scheduler.log"),
    ("nova::conductor", "nova/nova-conductor.log"),
    ("nova_compute", "nova/nova-compute.log"),
    ("nova", "nova/nova-api.log"),
    ("neutron_agent::dhcp", "neutron/dhcp-agent.log"),
    ("neutron_agent::router", "neutron/l3-agent.log"),
    ("neutron_agent::metadata", "neutron/metadata-agent.log"),
    ("neutron_agent", "neutron/linuxbridge-agent.log"),
    ("neutron", "neutron/server.log"),
    ("cinder_volume", "cinder/volume.log"),
    ("cinder::scheduler", "cinder/scheduler.log"),
    ("cinder", "cinder/api.log"),
];

/// Requests are logged by kit on behalf of an API; its name says whose they are.
const APIS: &[(&str, &str)] = &[
    ("keystone", "keystone/keystone.log"),
    ("glance-api", "glance/api.log"),
    ("placement-api", "placement/placement-api.log"),
    ("nova-api", "nova/nova-api.log"),
    ("nova-metadata", "nova/nova-api-metadata.log"),
    ("neutron-server", "neutron/server.log"),
    ("cinder-api", "cinder/api.log"),
];

const GENERAL: &str = "cumulo.log";
/// A log is turned over at this size; one older turn is kept.
const TURN: u64 = 16 << 20;

/// Starts logging into `dir`; `filter` is in the form of `RUST_LOG`.
pub fn init(dir: &Path, filter: &str) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let filter = EnvFilter::try_new(filter).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let layer = FileLayer { dir: dir.to_owned(), files: Mutex::default() };
    let (filter, handle) = reload::Layer::new(filter);
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(io::Error::other)?;
    // logging begins once, and with it the way to change it
    let _ = FILTER.set(handle);
    Ok(())
}

/// What is let through, while the process runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Lets through what modules that begin with `prefix` say at `level` and above, until the process ends; false when nothing is logged.
pub fn set_level(prefix: &str, level: LevelFilter) -> bool {
    let Ok(directive) = format!("{prefix}={level}").parse() else { return false };
    let change = |filter: &mut EnvFilter| *filter = std::mem::take(filter).add_directive(directive);
    FILTER.get().is_some_and(|handle| handle.modify(change).is_ok())
}

/// The level at which modules that begin with `prefix` are let through.
pub fn level(prefix: &str) -> LevelFilter {
    let rules = FILTER.get().and_then(|handle| handle.with_current(EnvFilter::to_string).ok()).unwrap_or_default();
    level_in(&rules, prefix)
}

/// The longest rule that the prefix begins with counts; one without a prefix is for all.
fn level_in(rules: &str, prefix: &str) -> LevelFilter {
    let rule = |text: &str| {
        let (of, level) = text.split_once('=').unwrap_or(("", text));
        Some((of.len(), level.parse().ok()?)).filter(|_| prefix.starts_with(of))
    };
    rules.split(',').filter_map(rule).max_by_key(|(length, _)| *length).map_or(LevelFilter::OFF, |(_, level)| level)
}

struct FileLayer {
    dir: PathBuf,
    files: Mutex<HashMap<&'static str, LogFile>>,
}

struct LogFile {
    file: File,
    size: u64,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for FileLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line::default();
        event.record(&mut line);
        let target = metadata.target();
        let component = match line.api.as_deref() {
            Some(api) => APIS.iter().find(|(name, _)| *name == api).map(|(_, file)| *file),
            None => COMPONENTS.iter().find(|(prefix, _)| target.starts_with(prefix)).map(|(_, file)| *file),
        };
        let text = format!("{} {} {target} {}{}\n", Timestamp::now().to_micros_z(), metadata.level(), line.message, line.fields);
        if let Some(component) = component {
            self.append(component, &text);
        }
        if component.is_none() || *metadata.level() <= Level::WARN {
            self.append(GENERAL, &text);
        }
    }
}

impl FileLayer {
    /// A log that cannot be written is no reason to fail a request, so errors end here.
    fn append(&self, name: &'static str, text: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.contains_key(name) {
            let Ok(file) = open(&self.dir.join(name)) else { return };
            files.insert(name, file);
        }
        let Some(log) = files.get_mut(name) else { return };
        if log.file.write_all(text.as_bytes()).is_ok() {
            log.size += text.len() as u64;
        }
        if log.size > TURN {
            let path = self.dir.join(name);
            let _ = std::fs::rename(&path, path.with_extension("log.1"));
            files.remove(name);
        }
    }
}

fn open(path: &Path) -> io::Result<LogFile> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok(LogFile { file, size })
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
    api: Option<String>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "api" => self.api = Some(value.to_owned()),
            name => drop(write!(self.fields, " {name}={value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            name => drop(write!(self.fields, " {name}={value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_rule_tells_the_level() {
        let rules = "cinder=debug,cinder::scheduler=trace,info";
        assert_eq!(level_in(rules, "cinder::scheduler::filters"), LevelFilter::TRACE);
        assert_eq!(level_in(rules, "cinder_volume"), LevelFilter::DEBUG);
        assert_eq!(level_in(rules, "nova"), LevelFilter::INFO);
    }
}
