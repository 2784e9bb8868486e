//! What a server has of placement while its ports are bound: when one of them gets another policy, that changes first, and back when the port
//! stays as it was.

use std::collections::BTreeMap;

use kit::auth::ServiceSession;
use kit::policy::Target;
use kit::{Context, Error, Result};
use sdk::placement::{Placement, Share, stale};

use super::policies;
use super::promises::{self, Change, More};
use crate::attributes::Checked;
use crate::fault::conflict;
use crate::resource::{enforce_on, fetch, seen};
use crate::{App, networks, ports};

/// How often a change is tried again because something else changed at the same time.
const TRIES: usize = 5;

/// Speaks to placement as neutron.
pub struct Claims {
    placement: Placement,
    session: ServiceSession,
}

/// Changes what the server of a port has, when the caller wishes for another policy; answers what was changed.
pub async fn claim(app: &App, ctx: &Context, id: &str, wish: &Checked) -> Result<Option<Change>> {
    let Some(policy) = wish.get::<Option<String>>("qos_policy_id")? else { return Ok(None) };
    let db = app.db().read();
    let port: ports::Model = seen(db, ctx, id).await?;
    enforce_on(ctx, "update_port", &port.project_id, &Target::project(&port.project_id))?;
    if let Some(policy) = &policy {
        seen::<policies::Model, _>(db, ctx, policy).await?;
    }
    let Some(network) = fetch::<networks::Model, _>(db, &port.network_id).await? else { return Ok(None) };
    let change = promises::change(db, &network, &port, policy.as_ref()).await?;
    if let Some(change) = &change {
        app.claims().change(&ctx.request_id, &change.server, &change.more, 1).await?;
    }
    Ok(change)
}

impl Claims {
    pub fn new(placement: Placement, session: ServiceSession) -> Claims {
        Claims { placement, session }
    }

    /// The port stayed as it was.
    pub async fn give_back(&self, request_id: &str, change: &Change) {
        if let Err(error) = self.change(request_id, &change.server, &change.more, -1).await {
            tracing::error!(server = change.server, %error, "placement counts what a port was not given");
        }
    }

    /// 409 when a provider has not enough left.
    async fn change(&self, request_id: &str, server: &str, more: &More, times: i64) -> Result<()> {
        let auth = self.session.auth(request_id).await?;
        for _ in 0..TRIES {
            let mut have = self.placement.allocations(&auth, server).await?;
            add(&mut have.allocations, more, times);
            match self.placement.put_allocations(&auth, server, &have).await {
                Ok(()) => return Ok(()),
                Err(error) if stale(&error) => {}
                // no provider has as much as is no number of placement's
                Err(error) if error.is_conflict() || error.status == 400 => return Err(refused(server, more)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused(server, more))
    }
}

/// Adds so much, so often, to what a consumer has; what comes to nothing is not mentioned.
fn add(have: &mut BTreeMap<String, Share>, more: &More, times: i64) {
    for (provider, resources) in more {
        let share = have.entry(provider.clone()).or_default();
        for (class, amount) in resources {
            *share.resources.entry((*class).to_owned()).or_default() += times * amount;
        }
        share.resources.retain(|_, amount| *amount > 0);
    }
    have.retain(|_, share| !share.resources.is_empty());
}

fn refused(server: &str, more: &More) -> Error {
    let message = format!("Updating placement allocation with {more:?} for consumer {server} failed");
    conflict("QosPlacementAllocationUpdateConflict", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_as_if_it_had_not_been_taken() {
        let share =
            |amounts: &[(&str, i64)]| Share { resources: amounts.iter().map(|(class, amount)| ((*class).into(), *amount)).collect() };
        let before = BTreeMap::from([("host".to_owned(), share(&[("VCPU", 1)])), ("link".to_owned(), share(&[("IN", 5)]))]);
        let more = BTreeMap::from([("link".to_owned(), BTreeMap::from([("IN", -5), ("OUT", 7)]))]);
        let mut have = before.clone();
        add(&mut have, &more, 1);
        assert_eq!(have["link"], share(&[("OUT", 7)]));
        add(&mut have, &more, -1);
        assert_eq!(have, before);
        add(&mut have, &BTreeMap::from([("link".to_owned(), BTreeMap::from([("IN", -5)]))]), 1);
        assert_eq!(have.len(), 1);
    }
}
