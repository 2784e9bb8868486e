//! The `cumulo` binary: a whole OpenStack-compatible cloud in one process, and the commands that look after it.
//!
//! This crate is the only place that sees every part: `up` reads the configuration, checks the machine, puts the services together and
//! serves them; `cli` is what a person runs beside it.

mod apis;
mod bucket;
mod cli;
mod compute;
mod config;
mod identity;
mod images;
mod join;
mod network;
mod roles;
mod state;
mod tls;
mod up;
mod volumes;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(sentence) => {
            cli::complain(&sentence);
            ExitCode::FAILURE
        }
    }
}
