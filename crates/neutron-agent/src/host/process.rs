//! Daemons that outlive us, known by a pid file, and believed only when the process's command line is what we would have started.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Error, Result};

/// How long a daemon may take to end when asked.
const GRACE: Duration = Duration::from_secs(2);

/// The pid in `pid_file`, if that process runs with exactly these words.
pub fn running(pid_file: &Path, command: &[String]) -> Option<Pid> {
    let pid = read(pid_file)?;
    (command_line(pid)? == command).then_some(pid)
}

/// End the process of `pid_file`, if its command line has `word` in it; whatever else bears that pid now is not ours.
pub fn end(pid_file: &Path, program: &str, word: &str) -> Result<()> {
    let Some(pid) = read(pid_file) else {
        return Ok(());
    };
    let ours = || {
        command_line(pid)
            .is_some_and(|line| line.first().is_some_and(|first| first.ends_with(program)) && line.iter().any(|w| w.contains(word)))
    };
    if !ours() {
        return Ok(());
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let _ = kill(pid, signal);
        let until = std::time::Instant::now() + GRACE;
        while std::time::Instant::now() < until {
            if !ours() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Err(Error::internal(format!("{program} (pid {pid}) does not end")))
}

/// SIGHUP: read the files again.
pub fn reload(pid: Pid) -> Result<()> {
    kill(pid, Signal::SIGHUP).map_err(|error| Error::internal(format!("SIGHUP to {pid}: {error}")))
}

/// Is this program on the PATH, or where administrators' programs are?
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn read(pid_file: &Path) -> Option<Pid> {
    let pid: i32 = std::fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    (pid > 1).then(|| Pid::from_raw(pid))
}

/// Of a zombie it is empty, so that counts as ended.
fn command_line(pid: Pid) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&bytes).into_owned();
    (!line.is_empty()).then(|| line.trim_end_matches('\0').split('\0').map(Into::into).collect())
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
