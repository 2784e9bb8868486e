//! One decision: candidates, filters, weighers, claim, alternates (steps 9 to 11 of the boot flow).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use kit::Result;
use kit::clock::Timestamp;
use rand::Rng;
use rpc::compute::Instance;
use rpc::conductor::Event;
use rpc::numa::Limits;
use rpc::scheduler::{Destination, FilterResult, SelectDestinations, Selection};
use sdk::placement::{Resources, Wanted};
use serde_json::Value;

use super::bandwidth::{self, Asked};
use super::cache::Candidate;
use super::filters::{self, Choice, Group, Request};
use super::{granular, request_filter, weighers};
use crate::conductor::claims;
use crate::instance_actions::record::Span;
use crate::servers::store;
use crate::{Nova, numa, server_groups};

/// Hosts named beside the chosen one.
const ALTERNATES: usize = 4;
/// Candidates asked for at once.
const CANDIDATES: u64 = 1000;

/// Chooses a host and claims it.
pub async fn select(app: &Nova, message: SelectDestinations) -> Result<Selection> {
    let filtering = Span::begin("scheduler_filter_hosts", "nova-scheduler", "placement");
    let instance = &message.instance;
    let request = request(app, instance, message.ignore_hosts.clone()).await?;
    let resources = claims::resources(&instance.flavor, &instance.image_properties, &instance.block_devices);
    let granular = granular::of_flavor(&instance.flavor.extra_specs);
    let mut asked = bandwidth::of_flavor(&granular);
    asked.extend(bandwidth::asked(app, instance).await?);
    let mut wanted = wanted(app, &request, instance, &resources, &asked).await?;
    wanted.group_policy.clone_from(&granular.policy);
    let wanted = (!granular.is_refused()).then_some(wanted);
    let mut selection = Selection { selected: None, alternates: Vec::new(), filters: Vec::new() };
    // what is remembered may be wrong; before saying no, ask
    for fresh in [false, true] {
        let choices = remaining(app, wanted.as_ref(), &request, fresh, &mut selection.filters).await?;
        let choices = weighers::order(choices, &request, || rand::rng().random());
        let (filtered, claiming) = (Timestamp::now(), Span::begin("scheduler_claim_host", "nova-scheduler", "placement"));
        if claim_first(app, instance, &choices, (&resources, &asked), &mut selection).await? {
            let host = selection.selected.as_ref().map(|d| d.host.clone());
            let filtered = Event { details: Some(describe(&selection.filters)), ..filtering.done_at(filtered) };
            app.events.push(&instance.id, &message.caller.request_id, [filtered, claiming.done(host)]);
            return Ok(selection);
        }
    }
    let described = describe(&selection.filters);
    app.events.push(&instance.id, &message.caller.request_id, [filtering.end(Some(described))]);
    Ok(selection)
}

/// What the filters say of a server's own host when the server gets another image; it needs no more room.
pub async fn on_rebuild(app: &Nova, instance: &Instance) -> Result<Vec<FilterResult>> {
    let hosts = app.hosts.hosts(app).await?;
    let own = instance.host.as_ref().and_then(|host| hosts.named(host));
    let candidate = |provider: &str| Candidate::new(provider, Resources::new(), BTreeMap::new());
    let choices = own.map(|host| Choice { host: host.clone(), candidate: Arc::new(candidate(&host.provider)) }).into_iter().collect();
    let mut results = Vec::new();
    filters::apply_of_images(choices, &request(app, instance, Vec::new()).await?, &mut results);
    Ok(results)
}

/// The hosts that have room and pass the filters; none without a question that placement would answer.
async fn remaining(
    app: &Nova,
    wanted: Option<&Wanted>,
    request: &Request,
    fresh: bool,
    results: &mut Vec<FilterResult>,
) -> Result<Vec<Choice>> {
    results.clear();
    let hosts = if fresh { app.hosts.fresh_hosts(app).await? } else { app.hosts.hosts(app).await? };
    let choices = match wanted {
        Some(wanted) => app.hosts.choices(app, wanted, &hosts, fresh).await?,
        None => Vec::new(),
    };
    results.push(FilterResult { filter: "PlacementResources".into(), start: hosts.all.len(), end: choices.len() });
    Ok(filters::apply(choices, request, results))
}

/// Claims the best host that lets itself be claimed; the next ones are alternates.
async fn claim_first(
    app: &Nova,
    instance: &Instance,
    choices: &[Choice],
    (resources, asked): (&Resources, &[Asked]),
    selection: &mut Selection,
) -> Result<bool> {
    for (index, choice) in choices.iter().enumerate() {
        let destination = destination(choice, asked);
        if !claims::claim(app, &instance.id, (&instance.project_id, &instance.user_id), &destination, resources).await? {
            continue;
        }
        app.hosts.claimed(&choice.candidate.provider, resources);
        selection.selected = Some(destination);
        selection.alternates = choices.iter().skip(index + 1).take(ALTERNATES).map(|choice| self::destination(choice, asked)).collect();
        return Ok(true);
    }
    if !choices.is_empty() {
        selection.filters.push(FilterResult { filter: "PlacementClaim".into(), start: choices.len(), end: 0 });
    }
    Ok(false)
}

fn destination(choice: &Choice, asked: &[Asked]) -> Destination {
    Destination {
        host: choice.host.host.clone(),
        node: choice.host.node.clone(),
        resource_provider_id: choice.host.provider.clone(),
        ports: bandwidth::shares(asked, &choice.candidate.givers),
    }
}

/// The question to placement: resources, the traits that flavor and image require or forbid, what groups and ports ask for, and a host or zone where an
/// answer could not hold all that may be meant.
async fn wanted(app: &Nova, request: &Request, instance: &Instance, resources: &Resources, asked: &[Asked]) -> Result<Wanted> {
    let mut wanted = Wanted {
        resources: resources.clone(),
        required: request_filter::required(&instance.flavor.extra_specs, &instance.image_properties),
        limit: Some(CANDIDATES),
        groups: asked.iter().map(|asked| asked.group.clone()).collect(),
        ..Wanted::default()
    };
    let hosts = app.hosts.hosts(app).await?;
    if hosts.all.len() as u64 <= CANDIDATES {
        return Ok(wanted);
    }
    if let Some(forced) = &request.forced_host {
        let name = forced.split(':').next().unwrap_or(forced);
        wanted.in_tree = hosts.named(name).map(|host| host.provider.clone());
    } else if let Some(zone) = &request.zone {
        wanted.member_of = match hosts.zones.get(zone) {
            Some(aggregates) => vec![format!("in:{}", aggregates.join(","))],
            // the default zone: hosts that are in no other
            None => hosts.zones.values().flatten().map(|aggregate| format!("!{aggregate}")).collect(),
        };
    }
    Ok(wanted)
}

/// What the server asks of its host.
async fn request(app: &Nova, instance: &Instance, ignore_hosts: Vec<String>) -> Result<Request> {
    let hints = &instance.scheduler_hints;
    let mut request = Request {
        zone: instance.availability_zone.clone(),
        forced_host: instance.forced_host.clone(),
        ignore_hosts,
        image: instance.image_id.clone(),
        image_properties: instance.image_properties.clone(),
        extra_specs: instance.flavor.extra_specs.clone(),
        project_id: instance.project_id.clone(),
        flavor: instance.flavor.name.clone(),
        query: query(hints),
        near: near(hints),
        max_instances_per_host: app.config.max_instances_per_host,
        max_io_ops_per_host: app.config.max_io_ops_per_host,
        settings: app.config.filter_scheduler.clone(),
        numa: numa::of_server(&instance.flavor, &instance.image_properties),
        numa_limits: Some(Limits { cpu_ratio: app.config.cpu_allocation_ratio, ram_ratio: app.config.ram_allocation_ratio }),
        ..Request::default()
    };
    if let Some(group) = server_groups::of_hints(hints) {
        request.group = server_groups::spread(app.db.read(), &group, &instance.id).await?.map(|spread| Group {
            policy: spread.policy,
            max_per_host: spread.max_per_host,
            members: spread.members,
        });
    }
    let same = ids(hints, "same_host");
    if !same.is_empty() {
        request.same_hosts = Some(hosts_of(app, &same).await?);
    }
    request.different_hosts = hosts_of(app, &ids(hints, "different_host")).await?;
    Ok(request)
}

/// The hint `query`, which clients send as text.
fn query(hints: &Value) -> Option<Value> {
    match hints.get("query")? {
        Value::String(text) if text.is_empty() => None,
        // text that is no expression is one that nobody fulfils
        Value::String(text) => Some(serde_json::from_str(text).unwrap_or(Value::Bool(false))),
        other => Some(other.clone()),
    }
}

/// The hints `build_near_host_ip` and `cidr`; without the second, a network of 24 bits.
fn near(hints: &Value) -> Option<(IpAddr, u8)> {
    let text = |key: &str| hints.get(key).and_then(Value::as_str);
    let bits = text("cidr").and_then(|cidr| cidr.trim_start_matches('/').parse().ok()).unwrap_or(24);
    Some((text("build_near_host_ip")?.parse().ok()?, bits))
}

/// A hint that is one id or several.
fn ids(hints: &Value, key: &str) -> Vec<String> {
    match hints.get(key) {
        Some(Value::String(id)) => vec![id.clone()],
        Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

async fn hosts_of(app: &Nova, servers: &[String]) -> Result<Vec<String>> {
    let mut hosts = Vec::new();
    for id in servers {
        hosts.extend(store::load(app.db.read(), id).await?.and_then(|server| server.host));
    }
    Ok(hosts)
}

/// `PlacementResources 3 -> 2, ComputeFilter 2 -> 1`
fn describe(filters: &[FilterResult]) -> String {
    filters.iter().map(|f| format!("{} {} -> {}", f.filter, f.start, f.end)).collect::<Vec<_>>().join(", ")
}
