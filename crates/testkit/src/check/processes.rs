//! The processes of the machine, those that serve guests: QEMU, what serves disks and volumes, DHCP servers. Those of other clouds are not looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Findings;
use super::host::Known;
use super::place::{Place, names_in};

/// A process that has told where its pid file is.
pub struct Process {
    pid: i32,
    program: String,
    pid_file: PathBuf,
    words: Vec<String>,
}

/// All there are.
pub fn all() -> Vec<Process> {
    let pids = names_in(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok());
    pids.filter_map(|pid| Process::of(pid, kit::daemons::command_line(pid)?)).collect()
}

impl Process {
    fn of(pid: i32, words: Vec<String>) -> Option<Process> {
        let program = Path::new(words.first()?).file_name()?.to_string_lossy().into_owned();
        let option = |word: &str| matches!(word.trim_start_matches('-'), "pidfile" | "pid-file");
        let after = words.iter().position(|word| option(word)).and_then(|at| words.get(at + 1));
        let within = || words.iter().find_map(|word| word.strip_prefix("--pid-file="));
        let pid_file = after.map(String::as_str).or_else(within).map(PathBuf::from)?;
        Some(Process { pid, program, pid_file, words })
    }

    /// The name below a directory of the state directory that its pid file is in.
    fn below(&self, dir: &Path) -> Option<&str> {
        self.pid_file.strip_prefix(dir).ok()?.iter().next()?.to_str()
    }

    fn is_guest(&self) -> bool {
        self.program.starts_with("qemu-system-")
    }
}

/// Those of the guests and volumes of a place.
pub fn check(processes: &[Process], place: &Place, known: &Known<'_>, findings: &mut Findings) {
    for process in processes {
        let Process { pid, program, .. } = process;
        if let Some(name) = process.below(&place.dir.join("instances")) {
            let id = name.strip_suffix("_resize").unwrap_or(name);
            match known.nova.servers.get(id) {
                None => findings.say(format!("{}: {program} {pid} is of server {id}, which there is not", place.host)),
                Some(server) if known.nova.is_settled(id) && server.host != place.host => {
                    findings.say(format!("{}: {program} {pid} is of server {id}, which is on {:?}", place.host, server.host));
                }
                Some(_) if known.nova.is_settled(id) && program == "qemu-nbd" => {
                    findings.say(format!("{}: {program} {pid} serves the disk of server {id}, which does not move", place.host));
                }
                Some(_) => {}
            }
        }
        if let Some(network) = process.below(&place.dir.join("neutron/dhcp"))
            && !known.neutron.networks.contains(network)
        {
            findings.say(format!("{}: {program} {pid} serves network {network}, which there is not", place.host));
        }
        for dir in place.volume_dirs() {
            if let Some(data) = process.below(&dir.join("volumes")) {
                match known.cinder.of_data(data) {
                    None => findings.say(format!("{}: {program} {pid} serves volume {data}, which there is not", place.host)),
                    Some((id, volume)) if !known.cinder.is_used(id, volume) => {
                        findings.say(format!("{}: {program} {pid} serves volume {data}, which nobody uses", place.host));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    for (id, server) in known.nova.servers.iter().filter(|(id, server)| server.host == place.host && known.nova.is_settled(id)) {
        let is_its = |process: &&Process| process.is_guest() && process.below(&place.dir.join("instances")) == Some(id);
        if server.runs && !processes.iter().any(|process| is_its(&process)) {
            findings.say(format!("{}: server {id} is active, and has no process", place.host));
        }
    }
}

/// Servers that run in several places, or twice in one.
pub fn check_twice(processes: &[Process], places: &[Place], known: &Known<'_>, findings: &mut Findings) {
    let mut guests: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for process in processes.iter().filter(|process| process.is_guest()) {
        let ours = places.iter().any(|place| process.below(&place.dir.join("instances")).is_some());
        let id = process.words.iter().position(|word| word == "-uuid").and_then(|at| process.words.get(at + 1));
        if let Some(id) = id.filter(|_| ours) {
            guests.entry(id).or_default().push(process.pid);
        }
    }
    for (id, pids) in guests.iter().filter(|(id, pids)| pids.len() > 1 && !known.nova.is_moving(id)) {
        findings.say(format!("server {id} runs {} times: {pids:?}", pids.len()));
    }
}
