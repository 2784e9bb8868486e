//! Where a test makes what brings bytes to an image fail or stop dead: after each of its steps.

use kit::flow::Probe;
use kit::{Error, Result};

use crate::Glance;

/// The steps, in their order: noted, taken in, kept as staged data, converted, in the stores, the image's.
pub const STEPS: [&str; 6] = ["begin", "receive", "keep", "convert", "put", "activate"];

/// A step is done.
pub async fn after(app: &Glance, step: &'static str) -> Result<()> {
    match app.probe.as_ref().map_or(Probe::Go, |probe| probe("transfer", step)) {
        Probe::Go => Ok(()),
        Probe::Fail => Err(Error::internal(format!("{step} was made to fail"))),
        // as in a process that is gone, nothing comes after it
        Probe::Crash => std::future::pending().await,
    }
}
