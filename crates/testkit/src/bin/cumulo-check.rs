//! Says what does not fit in a cloud, a line for each thing, and exits with 1 if there is something.
//!
//! Usage: `cumulo-check [--patience SECONDS] STATE_DIR[@PID]...`; the state directories of all the cloud's processes, with the number of a
//! process in the network of each that is not in the checker's own.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use testkit::check::{self, Outcome, Place};

/// What is under way ends within it.
const PATIENCE: Duration = Duration::from_secs(60);
const USAGE: &str = "usage: cumulo-check [--patience SECONDS] STATE_DIR[@PID]...";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cumulo-check: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Vec<String>) -> Outcome<usize> {
    let (patience, dirs) = match arguments.as_slice() {
        [option, seconds, dirs @ ..] if option == "--patience" => (Duration::from_secs(seconds.parse()?), dirs),
        dirs => (PATIENCE, dirs),
    };
    if dirs.is_empty() {
        return Err(USAGE.into());
    }
    let places = dirs.iter().map(|dir| Place::named(dir)).collect::<Outcome<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let found = runtime.block_on(check::settled(&places, patience))?;
    for line in &found {
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(found.len())
}
