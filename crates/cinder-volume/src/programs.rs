//! The programs that a storage is driven with. Each ends within a time of its own, and says what went wrong in its own words.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kit::{Error, Result};
use serde_json::Value;
use tokio::process::Command;

use crate::file::disk::Environment;

/// How long a look or a small change may take, and one that goes through all of a disk.
pub const SOON: Duration = Duration::from_secs(60);
pub const LONG: Duration = Duration::from_secs(3600);

/// How a program ended.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// 0 is success.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Whoever runs programs: the host, or a test.
pub trait Run: Send + Sync + 'static {
    fn run<'a>(&'a self, program: &'a str, arguments: &'a [&'a str]) -> BoxFuture<'a, Result<Output>>;
}

#[derive(Clone)]
pub struct Programs(Arc<dyn Run>);

impl Programs {
    /// Those of this host, with this environment.
    pub fn of_host(environment: Environment) -> Programs {
        Programs(Arc::new(Host(environment)))
    }

    pub fn run_by(runner: Arc<dyn Run>) -> Programs {
        Programs(runner)
    }

    /// Runs one to its end, whatever that is.
    pub async fn run(&self, patience: Duration, program: &str, arguments: &[&str]) -> Result<Output> {
        let ended = tokio::time::timeout(patience, self.0.run(program, arguments)).await;
        ended.map_err(|_| Error::unavailable(format!("{program} did not end within {} s.", patience.as_secs())))?
    }

    /// Runs one that must succeed; answers what it printed.
    pub async fn must(&self, patience: Duration, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.run(patience, program, arguments).await?;
        if output.code == 0 { Ok(output.stdout) } else { Err(failed(program, arguments, &output)) }
    }

    /// Runs one that must print JSON.
    pub async fn json(&self, program: &str, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.must(SOON, program, arguments).await?)?)
    }
}

/// A program's last words as an error.
pub fn failed(program: &str, arguments: &[&str], output: &Output) -> Error {
    let words: String = output.stderr.trim().chars().rev().take(500).collect::<Vec<_>>().into_iter().rev().collect();
    Error::internal(format!("{program} {} failed ({}): {words}", arguments.join(" "), output.code))
}

struct Host(Environment);

impl Run for Host {
    fn run<'a>(&'a self, program: &'a str, arguments: &'a [&'a str]) -> BoxFuture<'a, Result<Output>> {
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").envs(self.0.iter().cloned()).stdin(Stdio::null()).kill_on_drop(true);
        async move {
            let output = command.output().await.map_err(|error| Error::unavailable(format!("{program} cannot be run: {error}")))?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            // one that a signal ended has no code
            Ok(Output { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) })
        }
        .boxed()
    }
}

#[cfg(test)]
pub mod recorded {
    //! Programs that are not run: what they are told is noted, and what they answer is given.

    use std::sync::{Mutex, PoisonError};

    use futures::future::ready;

    use super::*;

    type Answer = Box<dyn Fn(&str) -> Option<Output> + Send + Sync>;

    /// Answers each line with what its function says, or with nothing and success.
    pub struct Recorded {
        answer: Answer,
        lines: Mutex<Vec<String>>,
    }

    impl Recorded {
        pub fn new(answer: impl Fn(&str) -> Option<Output> + Send + Sync + 'static) -> Arc<Recorded> {
            Arc::new(Recorded { answer: Box::new(answer), lines: Mutex::default() })
        }

        /// What was told since the last time, looks aside.
        pub fn changes(&self, looks: &[&str]) -> Vec<String> {
            let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
            lines.into_iter().filter(|line| !looks.iter().any(|look| line.contains(look))).collect()
        }
    }

    impl Run for Recorded {
        fn run<'a>(&'a self, program: &'a str, arguments: &'a [&'a str]) -> BoxFuture<'a, Result<Output>> {
            let line = format!("{program} {}", arguments.join(" "));
            let output = (self.answer)(&line).unwrap_or_default();
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            ready(Ok(output)).boxed()
        }
    }

    pub fn printed(text: impl Into<String>) -> Option<Output> {
        Some(Output { stdout: text.into(), ..Output::default() })
    }

    pub fn refused(code: i32, words: &str) -> Option<Output> {
        Some(Output { code, stderr: words.into(), ..Output::default() })
    }
}
