//! Where a server that exists shall go: the scheduler's choice, claimed; and its allocations, which a migration holds for it meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::{Error, Result};
use rpc::Caller;
use rpc::compute::Flavor;
use rpc::scheduler::{Destination, SelectDestinations, TOPIC};
use sdk::placement::{Allocations, stale};

use super::boot::no_valid_host;
use super::port_claims;
use crate::Nova;
use crate::instance_actions::record::Span;
use crate::servers::instance::Model;
use crate::servers::store;

/// How long the scheduler may think.
const SCHEDULING: Duration = Duration::from_secs(60);
/// How often allocations are moved again because something else changed at the same time.
const TRIES: usize = 5;

/// What the scheduler is asked beyond the server itself.
pub struct Request {
    pub flavor: Flavor,
    pub ignore_hosts: Vec<String>,
    /// Only this host.
    pub forced_host: Option<String>,
}

/// Hosts for a server, the first of them claimed; an error in nova's words when there is none.
pub async fn choose(app: &Nova, caller: &Caller, server: &Model, request: Request) -> Result<Vec<Destination>> {
    let span = Span::begin("conductor_schedule", "nova-conductor", "nova-scheduler");
    let devices = store::block_devices_of(app.db.read(), &server.id).await?;
    let mut instance = server.to_rpc(devices);
    // it keeps to the zone it was asked into, not to the one it happens to be in
    instance.availability_zone.clone_from(&server.spec.0.requested_zone);
    instance.flavor = request.flavor;
    // a host that was asked for at first was for the first boot only
    instance.forced_host = request.forced_host;
    let question = SelectDestinations { caller: caller.clone(), instance, ignore_hosts: request.ignore_hosts };
    let selection = app.bus.call(TOPIC, question, SCHEDULING).await;
    app.events.push(&server.id, &caller.request_id, [span.ended(&selection)]);
    let selection = selection?;
    match selection.selected {
        Some(selected) => Ok(std::iter::once(selected).chain(selection.alternates).collect()),
        None => Err(Error::conflict(no_valid_host(&selection.filters))),
    }
}

/// A move came to nothing: what the migration held is the server's again, and its ports are given by whom they were.
pub async fn take_back(app: &Nova, migration_id: &str, server_id: &str) -> Result<()> {
    hand_over(app, migration_id, server_id, "INSTANCE").await?;
    port_claims::tell(app, server_id).await
}

/// Moves all that one consumer has to another, in one write; what the other had is given back. Nothing happens when there is nothing to move.
pub async fn hand_over(app: &Nova, from: &str, to: &str, to_type: &str) -> Result<()> {
    let auth = app.session.auth("").await?;
    let placement = &app.cloud.placement;
    for _ in 0..TRIES {
        let have = placement.allocations(&auth, from).await?;
        if have.allocations.is_empty() {
            return Ok(());
        }
        let other = placement.allocations(&auth, to).await?;
        let given = Allocations {
            allocations: have.allocations.clone(),
            project_id: have.project_id.clone(),
            user_id: have.user_id.clone(),
            consumer_generation: other.consumer_generation,
            consumer_type: to_type.to_owned(),
        };
        let emptied = Allocations { allocations: BTreeMap::new(), ..have };
        let both = BTreeMap::from([(from.to_owned(), emptied), (to.to_owned(), given)]);
        match placement.post_allocations(&auth, &both).await {
            Ok(()) => return Ok(()),
            Err(error) if stale(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::conflict("Placement changes all the time."))
}
