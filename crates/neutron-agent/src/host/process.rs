//! Daemons that outlive us, known by a pid file, and believed only when the process's command line is what we would have started.

use std::path::Path;
use std::time::Duration;

use kit::daemons;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Error, Result};

/// How long a daemon may take to end when asked, and by force.
const PATIENCE: Duration = Duration::from_secs(4);

/// The pid in `pid_file`, if that process runs with exactly these words.
pub fn running(pid_file: &Path, command: &[String]) -> Option<Pid> {
    let pid = daemons::read_pid(pid_file)?;
    (daemons::command_line(pid)? == command).then(|| Pid::from_raw(pid))
}

/// End the process of `pid_file`, if its command line has `word` in it; whatever else bears that pid now is not ours.
pub fn end(pid_file: &Path, program: &str, word: &str) -> Result<()> {
    let Some(pid) = daemons::read_pid(pid_file) else {
        return Ok(());
    };
    let ours = |line: &[String]| daemons::is_program(line, program) && line.iter().any(|own| own.contains(word));
    match daemons::end(pid, PATIENCE, ours) {
        true => Ok(()),
        false => Err(Error::internal(format!("{program} (pid {pid}) does not end"))),
    }
}

/// SIGHUP: read the files again.
pub fn reload(pid: Pid) -> Result<()> {
    kill(pid, Signal::SIGHUP).map_err(|error| Error::internal(format!("SIGHUP to {pid}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_alone_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let mut child = std::process::Command::new("sleep").arg("60.125").spawn().unwrap();
        std::fs::write(&file, format!("{}\n", child.id())).unwrap();
        // The kernel shows the command line a moment after it let the parent go on.
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while running(&file, &["sleep".into(), "60.125".into()]).is_none() {
            assert!(std::time::Instant::now() < until);
        }
        assert!(running(&file, &["sleep".into(), "61".into()]).is_none());
        end(&file, "sleep", "something else").unwrap();
        assert!(child.try_wait().unwrap().is_none(), "a foreign process lives on");
        end(&file, "sleep", "60.125").unwrap();
        child.wait().unwrap();
    }
}
