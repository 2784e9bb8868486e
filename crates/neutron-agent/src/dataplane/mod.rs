//! What makes a host be as desired: [`linux`] with real links and packets, [`sim`] without.

pub mod linux;
pub mod sim;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use crate::Result;
use crate::desired::{Desired, Dirty};
use crate::metering::Count;

pub use linux::Linux;
pub use sim::Sim;

/// What came of an attempt to make the host as desired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Ports whose traffic flows, and floating IPs that lead to theirs: where nothing changed, the very set of before.
    pub wired: Arc<BTreeSet<String>>,
    /// False when something could not be done (it is in the log) and should be tried again.
    pub complete: bool,
}

/// The network of one host.
pub trait Dataplane: Send + 'static {
    /// Make the host as desired. May be repeated at any time; what is right already is not touched.
    fn apply(&mut self, desired: &Desired, dirty: &Dirty) -> impl Future<Output = Result<Outcome>> + Send;

    /// What the routers counted under metering labels since they were asked last.
    fn counts(&mut self, desired: &Desired) -> impl Future<Output = Vec<Count>> + Send;

    /// Waits until something happened on the host that may want another [`Dataplane::apply`], such as a new tap.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}
