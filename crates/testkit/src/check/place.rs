//! What the checker is pointed at: the state directory of a process of a cloud, and the network that the process is in.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Outcome;
use super::book::Book;

/// A process's state directory, and what it was last told.
#[derive(Clone, Debug)]
pub struct Place {
    pub dir: PathBuf,
    /// The name of the host that it is, if it is one.
    pub host: String,
    /// Its hosts are simulated: they have neither files nor processes nor links.
    pub simulated: bool,
    /// Where volumes are, beside the state directory.
    pub backends: Vec<PathBuf>,
    /// Where images are.
    pub images: PathBuf,
    /// A process in the network that it is in; the checker's own when absent.
    pub pid: Option<u32>,
    database: String,
    schema_prefix: String,
}

impl Place {
    /// Of `STATE_DIR` or `STATE_DIR@PID`.
    pub fn named(text: &str) -> Outcome<Place> {
        let with_pid = text.rsplit_once('@').and_then(|(dir, pid)| Some((dir, Some(pid.parse().ok()?))));
        let (dir, pid) = with_pid.unwrap_or((text, None));
        let dir = std::fs::canonicalize(dir).map_err(|error| format!("{dir}: {error}"))?;
        let told = std::fs::read_to_string(dir.join("run/effective.toml")).map_err(|_| format!("no cloud has run in {}", dir.display()))?;
        Ok(Place::told(dir, &told.parse()?, pid))
    }

    fn told(dir: PathBuf, told: &Table, pid: Option<u32>) -> Place {
        let text = |key: &str| told.get(key).and_then(Value::as_str).map(str::to_owned);
        let shared = text("shared_dir").map_or_else(|| dir.clone(), PathBuf::from);
        let backends = told.get("volumes").and_then(|volumes| volumes.get("backends")).and_then(Value::as_array);
        Place {
            host: text("host").unwrap_or_else(machine_name),
            simulated: told.get("sim_hosts").and_then(Value::as_integer).unwrap_or_default() > 0,
            backends: backends.into_iter().flatten().filter_map(|backend| directory(&dir, backend)).collect(),
            images: shared.join("images"),
            pid,
            database: text("database").unwrap_or_else(|| "sqlite".into()),
            schema_prefix: text("schema_prefix").unwrap_or_default(),
            dir,
        }
    }

    /// Whether guests may run there.
    pub fn is_host(&self) -> bool {
        !self.simulated && self.dir.join("instances").is_dir()
    }

    /// Whether networks may be there.
    pub fn has_networks(&self) -> bool {
        !self.simulated && self.dir.join("neutron").is_dir()
    }

    /// The directories that have volumes.
    pub fn volume_dirs(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.dir.as_path()).chain(self.backends.iter().map(PathBuf::as_path)).filter(|_| !self.simulated)
    }

    /// The database of a service, if it is this process's.
    pub async fn book(&self, service: &str) -> Outcome<Option<Book>> {
        match self.database.as_str() {
            "sqlite" => Book::file(&self.dir.join("db").join(format!("{service}.sqlite"))).await,
            url => Book::schema(url, &format!("{}{service}", self.schema_prefix)).await,
        }
    }
}

fn directory(state: &Path, backend: &Value) -> Option<PathBuf> {
    let text = |key: &str| backend.get(key).and_then(Value::as_str);
    Some(text("directory").map_or_else(|| state.join("backends").join(text("name").unwrap_or_default()), PathBuf::from))
}

fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().to_owned())
}

/// The names in a directory; none where there is no such directory.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
