//! A server as a client sees it, at each version.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::microversion::{At, Microversion};
use kit::policy::Target;
use kit::{Context, Versioned};
use rpc::compute::{Flavor, NetworkInterface};
use sea_orm::FromQueryResult;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use sha2::{Digest, Sha224};

use super::instance::{Model, Spec, StoredFault};
use super::states;
use crate::microversions::{FLAVOR_EMBEDDED, HOSTNAME, IMAGE_PROPERTIES, STRICT};
use crate::os_services::HostStatuses;

/// The columns that are shown.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Shown {
    pub id: String,
    pub number: i64,
    pub project_id: String,
    pub user_id: String,
    pub name: String,
    pub hostname: String,
    pub description: Option<String>,
    pub vm_state: String,
    pub task_state: Option<String>,
    pub power_state: i64,
    pub locked: bool,
    pub locked_reason: Option<String>,
    pub host: Option<String>,
    pub node: Option<String>,
    pub availability_zone: Option<String>,
    pub image_id: Option<String>,
    pub key_name: Option<String>,
    pub config_drive: bool,
    pub disk_config: String,
    pub access_ip_v4: Option<String>,
    pub access_ip_v6: Option<String>,
    pub reservation_id: String,
    pub launch_index: i64,
    pub root_device_name: Option<String>,
    pub user_data: Option<String>,
    pub flavor: Json<Flavor>,
    pub metadata: Json<BTreeMap<String, String>>,
    pub tags: Json<Vec<String>>,
    pub security_groups: Json<Vec<String>>,
    pub network_info: Json<Vec<NetworkInterface>>,
    pub fault: Option<Json<StoredFault>>,
    /// Only at versions that show something of it.
    pub spec: Option<Json<Spec>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub launched_at: Option<Timestamp>,
    pub terminated_at: Option<Timestamp>,
}

impl From<Model> for Shown {
    fn from(row: Model) -> Shown {
        Shown {
            id: row.id,
            number: row.number,
            project_id: row.project_id,
            user_id: row.user_id,
            name: row.name,
            hostname: row.hostname,
            description: row.description,
            vm_state: row.vm_state,
            task_state: row.task_state,
            power_state: row.power_state,
            locked: row.locked,
            locked_reason: row.locked_reason,
            host: row.host,
            node: row.node,
            availability_zone: row.availability_zone,
            image_id: row.image_id,
            key_name: row.key_name,
            config_drive: row.config_drive,
            disk_config: row.disk_config,
            access_ip_v4: row.access_ip_v4,
            access_ip_v6: row.access_ip_v6,
            reservation_id: row.reservation_id,
            launch_index: row.launch_index,
            root_device_name: row.root_device_name,
            user_data: row.user_data,
            flavor: row.flavor,
            metadata: row.metadata,
            tags: row.tags,
            security_groups: row.security_groups,
            network_info: row.network_info,
            fault: row.fault,
            spec: Some(row.spec),
            created_at: row.created_at,
            updated_at: row.updated_at,
            launched_at: row.launched_at,
            terminated_at: row.terminated_at,
        }
    }
}

/// What is needed beside the rows, gathered once for a whole page.
pub struct Beside<'a> {
    pub ctx: &'a Context,
    pub volumes: HashMap<String, Vec<(String, bool)>>,
    /// How the servers' hosts are, for those who may know.
    pub host_status: Option<HostStatuses>,
    /// Server to its group, where asked for.
    pub groups: Option<HashMap<String, String>>,
    pub default_zone: &'a str,
    /// Whether the administrator's attributes are shown.
    pub extended: bool,
    /// Whether the extra specs of flavors are shown.
    pub extra_specs: bool,
}

/// Whether the caller sees where servers run.
pub fn sees_hosts(ctx: &Context, project: &str) -> bool {
    ctx.allows("os_compute_api:os-extended-server-attributes", &Target::project(project))
}

/// The wire form, in nova's order.
#[derive(Serialize, Versioned)]
struct ServerView<'a> {
    id: &'a str,
    name: &'a str,
    status: &'static str,
    tenant_id: &'a str,
    user_id: &'a str,
    metadata: &'a BTreeMap<String, String>,
    #[serde(rename = "hostId")]
    host_id: String,
    image: Image<'a>,
    flavor: FlavorView<'a>,
    created: String,
    updated: String,
    addresses: Addresses<'a>,
    #[serde(rename = "accessIPv4")]
    access_ip_v4: &'a str,
    #[serde(rename = "accessIPv6")]
    access_ip_v6: &'a str,
    links: Links<'a>,
    #[serde(rename = "OS-DCF:diskConfig")]
    disk_config: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u8>,
    #[serde(rename = "OS-EXT-AZ:availability_zone")]
    availability_zone: &'a str,
    config_drive: &'static str,
    key_name: Option<&'a str>,
    #[serde(rename = "OS-SRV-USG:launched_at")]
    launched_at: Option<String>,
    #[serde(rename = "OS-SRV-USG:terminated_at")]
    terminated_at: Option<String>,
    #[serde(rename = "OS-EXT-SRV-ATTR:host", skip_serializing_if = "Option::is_none")]
    host: Option<Option<&'a str>>,
    #[serde(rename = "OS-EXT-SRV-ATTR:instance_name", skip_serializing_if = "Option::is_none")]
    instance_name: Option<String>,
    #[serde(rename = "OS-EXT-SRV-ATTR:hypervisor_hostname", skip_serializing_if = "Option::is_none")]
    hypervisor_hostname: Option<Option<&'a str>>,
    #[since(2.3)]
    #[serde(rename = "OS-EXT-SRV-ATTR:reservation_id", skip_serializing_if = "Option::is_none")]
    reservation_id: Option<&'a str>,
    #[since(2.3)]
    #[serde(rename = "OS-EXT-SRV-ATTR:launch_index", skip_serializing_if = "Option::is_none")]
    launch_index: Option<i64>,
    #[since(2.3)]
    #[serde(rename = "OS-EXT-SRV-ATTR:hostname", skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[since(2.3)]
    #[serde(rename = "OS-EXT-SRV-ATTR:kernel_id", skip_serializing_if = "Option::is_none")]
    kernel_id: Option<&'a str>,
    #[since(2.3)]
    #[serde(rename = "OS-EXT-SRV-ATTR:ramdisk_id", skip_serializing_if = "Option::is_none")]
    ramdisk_id: Option<&'a str>,
    #[since(2.3)]
    #[serde(rename = "OS-EXT-SRV-ATTR:root_device_name", skip_serializing_if = "Option::is_none")]
    root_device_name: Option<Option<&'a str>>,
    #[since(2.3)]
    #[serde(rename = "OS-EXT-SRV-ATTR:user_data", skip_serializing_if = "Option::is_none")]
    user_data: Option<Option<&'a str>>,
    #[serde(rename = "OS-EXT-STS:task_state")]
    task_state: Option<&'a str>,
    #[serde(rename = "OS-EXT-STS:vm_state")]
    vm_state: &'a str,
    #[serde(rename = "OS-EXT-STS:power_state")]
    power_state: i64,
    #[serde(rename = "os-extended-volumes:volumes_attached")]
    volumes_attached: Vec<Volume<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_groups: Option<Vec<Named<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultView<'a>>,
    #[since(2.9)]
    locked: bool,
    #[since(2.16)]
    #[serde(skip_serializing_if = "Option::is_none")]
    host_status: Option<&'static str>,
    #[since(2.19)]
    description: Option<&'a str>,
    #[since(2.26)]
    tags: &'a [String],
    #[since(2.63)]
    trusted_image_certificates: Option<&'a [String]>,
    #[since(2.71)]
    #[serde(skip_serializing_if = "Option::is_none")]
    server_groups: Option<Vec<&'a str>>,
    #[since(2.73)]
    locked_reason: Option<&'a str>,
    #[since(2.96)]
    pinned_availability_zone: Option<&'a str>,
    #[since(2.100)]
    scheduler_hints: Option<&'a Value>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Volume<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_on_termination: Option<bool>,
}

#[derive(Serialize)]
struct FaultView<'a> {
    code: u16,
    created: String,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
}

/// A page or one server, written straight from its rows.
pub struct Detailed<'a>(pub &'a Shown, pub &'a Beside<'a>);

impl Serialize for Detailed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Detailed(row, beside) = self;
        At(&view(row, beside), beside.ctx.version).serialize(serializer)
    }
}

fn view<'a>(row: &'a Shown, beside: &'a Beside<'a>) -> ServerView<'a> {
    let ctx = beside.ctx;
    let status = states::status(&row.vm_state, row.task_state.as_deref());
    let admin = beside.extended;
    let faulty = matches!(status, "ERROR" | "DELETED");
    let booted = |id: fn(&Spec) -> &Option<String>| row.spec.as_ref().and_then(|spec| id(&spec.0).as_deref()).unwrap_or_default();
    ServerView {
        id: &row.id,
        name: &row.name,
        status,
        tenant_id: &row.project_id,
        user_id: &row.user_id,
        metadata: &row.metadata.0,
        host_id: host_id(&row.project_id, row.host.as_deref()),
        image: Image(ctx, row.image_id.as_deref(), row.spec.as_ref().map(|spec| &spec.0.image_properties)),
        flavor: FlavorView(ctx, &row.flavor.0, beside.extra_specs),
        created: row.created_at.to_seconds_z(),
        updated: row.updated_at.to_seconds_z(),
        addresses: Addresses(&row.network_info.0, true),
        access_ip_v4: row.access_ip_v4.as_deref().unwrap_or_default(),
        access_ip_v6: row.access_ip_v6.as_deref().unwrap_or_default(),
        links: Links(ctx, "servers", &row.id),
        disk_config: &row.disk_config,
        progress: shows_progress(status).then_some(0),
        availability_zone: row.availability_zone.as_deref().unwrap_or(if row.host.is_some() { beside.default_zone } else { "" }),
        config_drive: if row.config_drive { "True" } else { "" },
        key_name: row.key_name.as_deref(),
        launched_at: row.launched_at.map(Timestamp::to_micros),
        terminated_at: row.terminated_at.map(Timestamp::to_micros),
        host: admin.then_some(row.host.as_deref()),
        instance_name: admin.then(|| format!("instance-{:08x}", row.number)),
        hypervisor_hostname: admin.then_some(row.node.as_deref()),
        reservation_id: admin.then_some(&row.reservation_id),
        launch_index: admin.then_some(row.launch_index),
        hostname: (admin || ctx.speaks(HOSTNAME)).then_some(&row.hostname),
        kernel_id: admin.then(|| booted(|spec| &spec.kernel_id)),
        ramdisk_id: admin.then(|| booted(|spec| &spec.ramdisk_id)),
        root_device_name: admin.then_some(row.root_device_name.as_deref()),
        user_data: admin.then_some(row.user_data.as_deref()),
        task_state: row.task_state.as_deref(),
        vm_state: &row.vm_state,
        power_state: row.power_state,
        volumes_attached: volumes(beside, &row.id),
        // a server that never got its ports has no groups to show
        security_groups: (!row.security_groups.0.is_empty()).then(|| row.security_groups.0.iter().map(|name| Named { name }).collect()),
        fault: row.fault.as_ref().filter(|_| faulty).map(|fault| fault_view(&fault.0, ctx.is_admin())),
        locked: row.locked,
        host_status: beside.host_status.as_ref().and_then(|statuses| statuses.of(row.host.as_deref())),
        description: row.description.as_deref(),
        tags: &row.tags.0,
        trusted_image_certificates: row.spec.as_ref().and_then(|spec| spec.0.trusted_image_certificates.as_deref()),
        server_groups: beside.groups.as_ref().map(|groups| groups.get(&row.id).map(String::as_str).into_iter().collect()),
        locked_reason: row.locked_reason.as_deref(),
        scheduler_hints: row.spec.as_ref().map(|spec| &spec.0.scheduler_hints),
        pinned_availability_zone: row.spec.as_ref().and_then(|spec| spec.0.requested_zone.as_deref()),
    }
}

/// Only states in which something may still come.
fn shows_progress(status: &str) -> bool {
    matches!(status, "ACTIVE" | "BUILD" | "REBUILD" | "RESIZE" | "VERIFY_RESIZE" | "MIGRATING")
}

fn volumes<'a>(beside: &'a Beside<'a>, id: &str) -> Vec<Volume<'a>> {
    let shows = beside.ctx.speaks(Microversion(2, 3));
    let all = beside.volumes.get(id).map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|(id, ends)| Volume { id, delete_on_termination: shows.then_some(*ends) }).collect()
}

fn fault_view(fault: &StoredFault, admin: bool) -> FaultView<'_> {
    let details = (admin || fault.code != 500) && !fault.details.is_empty();
    FaultView {
        code: fault.code,
        created: fault.created.to_seconds_z(),
        message: &fault.message,
        details: details.then_some(&fault.details),
    }
}

/// Tells a project's servers on one host apart from those on another, without telling the host.
pub fn host_id(project: &str, host: Option<&str>) -> String {
    let Some(host) = host else { return String::new() };
    hex(&Sha224::digest(format!("{project}{host}").as_bytes()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `self` with the version, `bookmark` without.
pub struct Links<'a>(pub &'a Context, pub &'static str, pub &'a str);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Links(ctx, kind, id) = self;
        let mut seq = serializer.serialize_seq(Some(2))?;
        seq.serialize_element(&Link { rel: "self", href: ctx.link(&format!("/{kind}/{id}")) })?;
        seq.serialize_element(&Link { rel: "bookmark", href: bookmark(ctx, kind, id) })?;
        seq.end()
    }
}

/// The same as a value.
pub fn links(ctx: &Context, kind: &'static str, id: &str) -> Value {
    json!([
        {"rel": "self", "href": ctx.link(&format!("/{kind}/{id}"))},
        {"rel": "bookmark", "href": bookmark(ctx, kind, id)},
    ])
}

#[derive(Serialize)]
struct Link {
    rel: &'static str,
    href: String,
}

fn bookmark(ctx: &Context, kind: &str, id: &str) -> String {
    let project = ctx.prefix.trim_start_matches('/').split_once('/').map_or(String::new(), |(_, project)| format!("/{project}"));
    format!("{}{project}/{kind}/{id}", ctx.base_url)
}

/// `{id, links}`, since 2.98 with its properties, or an empty text when it boots from a volume.
struct Image<'a>(&'a Context, Option<&'a str>, Option<&'a BTreeMap<String, String>>);

impl Serialize for Image<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Image(ctx, Some(id), properties) = self else { return serializer.serialize_str("") };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", id)?;
        map.serialize_entry("links", &[Link { rel: "bookmark", href: bookmark(ctx, "images", id) }])?;
        if let Some(properties) = properties.filter(|_| ctx.speaks(IMAGE_PROPERTIES)) {
            map.serialize_entry("properties", properties)?;
        }
        map.end()
    }
}

/// A reference until 2.46, the flavor itself from 2.47, with its extra specs where the caller sees them.
struct FlavorView<'a>(&'a Context, &'a Flavor, bool);

impl Serialize for FlavorView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FlavorView(ctx, flavor, extra_specs) = self;
        let mut map = serializer.serialize_map(None)?;
        if ctx.speaks(FLAVOR_EMBEDDED) {
            map.serialize_entry("vcpus", &flavor.vcpus)?;
            map.serialize_entry("ram", &flavor.ram_mb)?;
            map.serialize_entry("disk", &flavor.root_gb)?;
            map.serialize_entry("ephemeral", &flavor.ephemeral_gb)?;
            map.serialize_entry("swap", &flavor.swap_mb)?;
            map.serialize_entry("original_name", &flavor.name)?;
            if *extra_specs {
                map.serialize_entry("extra_specs", &flavor.extra_specs)?;
            }
        } else {
            map.serialize_entry("id", &flavor.id)?;
            map.serialize_entry("links", &[Link { rel: "bookmark", href: bookmark(ctx, "flavors", &flavor.id) }])?;
        }
        map.end()
    }
}

/// Addresses by network; with `true`, their kind and MAC too.
pub struct Addresses<'a>(pub &'a [NetworkInterface], pub bool);

impl Serialize for Addresses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut networks: Vec<(&str, Vec<Address<'_>>)> = Vec::new();
        for nic in self.0 {
            let index = networks.iter().position(|(name, _)| *name == nic.network_name).unwrap_or_else(|| {
                networks.push((&nic.network_name, Vec::new()));
                networks.len() - 1
            });
            if let Some((_, addresses)) = networks.get_mut(index) {
                for ip in &nic.fixed_ips {
                    addresses.push(address(ip.address, "fixed", nic, self.1));
                    addresses.extend(ip.floating_ips.iter().map(|ip| address(*ip, "floating", nic, self.1)));
                }
            }
        }
        serializer.collect_map(networks)
    }
}

#[derive(Serialize)]
struct Address<'a> {
    version: u8,
    addr: IpAddr,
    #[serde(rename = "OS-EXT-IPS:type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(rename = "OS-EXT-IPS-MAC:mac_addr", skip_serializing_if = "Option::is_none")]
    mac: Option<&'a str>,
}

fn address<'a>(ip: IpAddr, kind: &'static str, nic: &'a NetworkInterface, full: bool) -> Address<'a> {
    Address { version: if ip.is_ipv4() { 4 } else { 6 }, addr: ip, kind: full.then_some(kind), mac: full.then_some(&nic.mac_address) }
}

/// `{id, name, links}`
pub struct Brief<'a>(pub &'a Context, pub &'a str, pub &'a str);

impl Serialize for Brief<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Brief(ctx, id, name) = self;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("id", id)?;
        map.serialize_entry("name", name)?;
        map.serialize_entry("links", &Links(ctx, "servers", id))?;
        map.end()
    }
}

/// Whether an update answers the whole server.
pub fn whole_answers(ctx: &Context) -> bool {
    ctx.speaks(STRICT)
}
