//! Programs that outlive the process that started them: known by a pid file, and believed only while their command line tells that they
//! are what was started, for the number of one that ended is another's some day.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The pid in a file.
pub fn read_pid(file: &Path) -> Option<i32> {
    // neither 0, the group, nor 1, init, is ever meant
    std::fs::read_to_string(file).ok()?.trim().parse().ok().filter(|pid| *pid > 1)
}

/// The words of a running process, which has some; of one that has ended and waits for its parent the kernel tells none.
pub fn command_line(pid: i32) -> Option<Vec<String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&bytes);
    (!line.is_empty()).then(|| line.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
}

/// Whether a command line is a program's, wherever that was found.
pub fn is_program(line: &[String], program: &str) -> bool {
    line.first().is_some_and(|first| Path::new(first).file_name().is_some_and(|name| name == program))
}

/// Whether there is such a program, on the PATH or where root's are, which is not on everybody's.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Into::into));
    dirs.into_iter().any(|dir| dir.join(program).is_file())
}

/// Ends a process while its command line is `ours`: half of `patience` by SIGTERM, by SIGKILL then. Answers whether it is gone. Blocks.
pub fn end(pid: i32, patience: Duration, ours: impl Fn(&[String]) -> bool) -> bool {
    let began = Instant::now();
    let mut last = None;
    while command_line(pid).is_some_and(|line| ours(&line)) {
        if began.elapsed() >= patience {
            return false;
        }
        let signal = if began.elapsed() < patience / 2 { Signal::SIGTERM } else { Signal::SIGKILL };
        if last.replace(signal) != Some(signal) {
            // it may end between the look and the signal
            let _ = kill(Pid::from_raw(pid), signal);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process whose command line is there: the kernel shows it a moment after the parent goes on.
    fn started(command: &mut Command, word: &str) -> (Child, i32) {
        let child = command.spawn().unwrap();
        let pid = child.id() as i32;
        while !command_line(pid).is_some_and(|line| line.iter().any(|own| own == word)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        (child, pid)
    }

    #[test]
    fn only_what_is_ours_is_ended() {
        let (mut child, pid) = started(Command::new("sleep").arg("60.125"), "60.125");
        let ours = |line: &[String]| is_program(line, "sleep") && line[1..] == ["60.125"];
        assert!(end(pid, Duration::from_secs(10), |line| line[1..] == ["61"]));
        assert!(child.try_wait().unwrap().is_none(), "a foreign process lives on");
        assert!(end(pid, Duration::from_secs(10), ours));
        child.wait().unwrap();
        assert!(command_line(pid).is_none());
    }

    #[test]
    fn what_does_not_want_to_end_is_killed() {
        let (mut child, pid) = started(Command::new("sh").args(["-c", "trap '' TERM; while :; do sleep 0.01; done", "deaf"]), "deaf");
        std::thread::sleep(Duration::from_millis(50));
        assert!(end(pid, Duration::from_millis(400), |line| is_program(line, "sh")));
        child.wait().unwrap();
    }

    #[test]
    fn a_pid_file_names_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        assert_eq!(read_pid(&file), None);
        for (text, pid) in [("4711\n", Some(4711)), ("1", None), ("0", None), ("-4", None), ("x", None)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_pid(&file), pid);
        }
    }
}
