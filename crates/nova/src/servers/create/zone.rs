//! Where a new server shall go: `zone`, `zone:host`, `zone:host:node`, or since 2.74 `host` and `hypervisor_hostname`.

use kit::policy::Target;
use kit::{Context, Error, Result};

use super::request::Wanted;
use crate::{Nova, os_services};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    pub zone: Option<String>,
    /// `host` or `host:node`
    pub host: Option<String>,
}

/// Reads and checks it.
pub async fn read(app: &Nova, ctx: &Context, wanted: &Wanted) -> Result<Destination> {
    let target = Target::project(ctx.project_id()?);
    let mut destination = parse(wanted.availability_zone.as_deref())?;
    if destination.host.is_some() {
        ctx.enforce("os_compute_api:servers:create:forced_host", &target)?;
    }
    if wanted.host.is_some() || wanted.node.is_some() {
        ctx.enforce("compute:servers:create:requested_destination", &target)?;
        if destination.host.is_some() {
            return Err(Error::bad_request(
                "Forced host and requested destination cannot be used at the same time: availability_zone names a host already.",
            ));
        }
        destination.host = match (&wanted.host, &wanted.node) {
            (Some(host), Some(node)) => Some(format!("{host}:{node}")),
            (host, node) => host.clone().or_else(|| node.clone()),
        };
    }
    if destination.zone.is_none() && destination.host.is_none() {
        return Ok(destination);
    }
    let hosts = os_services::compute_hosts(app).await?;
    if let Some(zone) = &destination.zone
        && *zone != app.config.default_zone
        && !hosts.iter().any(|host| host.zone == *zone)
    {
        return Err(Error::bad_request("The requested availability zone is not available"));
    }
    if let Some(host) = &destination.host {
        let name = host.split(':').next().unwrap_or(host);
        if !hosts.iter().any(|h| h.host == name) {
            return Err(Error::bad_request(format!("Compute host {name} could not be found.")));
        }
    }
    Ok(destination)
}

fn parse(zone: Option<&str>) -> Result<Destination> {
    let Some(text) = zone else { return Ok(Destination::default()) };
    let mut parts = text.split(':');
    let (zone, host, node) = (parts.next(), parts.next(), parts.next());
    if parts.next().is_some() {
        return Err(Error::bad_request("Unable to parse availability_zone"));
    }
    let some = |part: Option<&str>| part.filter(|p| !p.is_empty()).map(str::to_owned);
    let host = match (some(host), some(node)) {
        (Some(host), Some(node)) => Some(format!("{host}:{node}")),
        (host, node) => host.or(node),
    };
    Ok(Destination { zone: some(zone), host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_may_name_host_and_node() {
        let read = |text: &str| parse(Some(text)).map(|d| (d.zone, d.host)).map_err(|e| e.message);
        assert_eq!(read("nova"), Ok((Some("nova".into()), None)));
        assert_eq!(read("nova:h1"), Ok((Some("nova".into()), Some("h1".into()))));
        assert_eq!(read("nova:h1:n1"), Ok((Some("nova".into()), Some("h1:n1".into()))));
        assert_eq!(read("nova::n1"), Ok((Some("nova".into()), Some("n1".into()))));
        assert_eq!(read("a:b:c:d"), Err("Unable to parse availability_zone".into()));
    }
}
