//! The calls that Cumulo's parts make to the network API: what nova and its hosts need of networks, ports and their addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Auth, Endpoint, Error, Result, found};

/// Ids asked for in one request, so that its line stays short.
const IDS: usize = 100;

/// Neutron.
#[derive(Clone)]
pub struct Network(pub Endpoint);

/// A network, as far as its users care.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    pub id: String,
    pub name: String,
    pub project_id: String,
    pub status: String,
    pub admin_state_up: bool,
    pub mtu: u32,
    pub shared: bool,
    #[serde(rename = "router:external")]
    pub external: bool,
    #[serde(default)]
    pub port_security_enabled: Option<bool>,
    #[serde(default)]
    pub dns_domain: String,
    /// Ids.
    pub subnets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub id: String,
    pub name: String,
    pub network_id: String,
    pub ip_version: u8,
    /// `10.0.0.0/24`
    pub cidr: String,
    pub gateway_ip: Option<IpAddr>,
    pub enable_dhcp: bool,
    pub dns_nameservers: Vec<IpAddr>,
    pub host_routes: Vec<HostRoute>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    pub destination: String,
    pub nexthop: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub id: String,
    pub name: String,
    pub network_id: String,
    /// Empty for ports that belong to the cloud.
    pub project_id: String,
    pub mac_address: String,
    pub fixed_ips: Vec<FixedIp>,
    pub security_groups: Vec<String>,
    /// `ACTIVE`, `DOWN`, `BUILD`, `ERROR`
    pub status: String,
    pub admin_state_up: bool,
    /// The server or router that uses it; empty when nobody does.
    pub device_id: String,
    pub device_owner: String,
    #[serde(default)]
    pub dns_name: String,
    #[serde(default)]
    pub port_security_enabled: Option<bool>,
    /// The binding is shown to administrators and services only.
    #[serde(rename = "binding:host_id", default)]
    pub host_id: Option<String>,
    #[serde(rename = "binding:vif_type", default)]
    pub vif_type: Option<String>,
    #[serde(rename = "binding:vnic_type", default)]
    pub vnic_type: Option<String>,
    #[serde(rename = "binding:profile", default)]
    pub profile: Option<Value>,
    #[serde(rename = "binding:vif_details", default)]
    pub vif_details: Option<Value>,
    /// What it needs of its host; shown to administrators and services only.
    #[serde(default)]
    pub resource_request: Option<ResourceRequest>,
}

/// What a port needs of its host: each group of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRequest {
    pub request_groups: Vec<RequestGroup>,
    pub same_subtree: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestGroup {
    pub id: String,
    /// Traits.
    pub required: Vec<String>,
    /// Resource class to amount.
    pub resources: BTreeMap<String, i64>,
}

impl Port {
    pub fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedIp {
    pub subnet_id: String,
    pub ip_address: IpAddr,
}

/// A port to make; what is absent neutron chooses.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CreatePort {
    pub network_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// `compute:<availability zone>`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_ips: Option<Vec<WantedIp>>,
    /// Ids; the project's default group when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// For administrators and services.
    #[serde(rename = "binding:host_id", skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    #[serde(rename = "binding:profile", skip_serializing_if = "Option::is_none")]
    pub profile: Option<Value>,
}

/// An address to ask for: a certain one, or any of a subnet.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WantedIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<IpAddr>,
}

/// What to change of a port; what is absent stays.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UpdatePort {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An empty one frees the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
    /// For administrators and services; an empty one unbinds.
    #[serde(rename = "binding:host_id", skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    #[serde(rename = "binding:profile", skip_serializing_if = "Option::is_none")]
    pub profile: Option<Value>,
}

impl UpdatePort {
    /// Leaves the port to nobody, on no host.
    pub fn unbind() -> UpdatePort {
        UpdatePort {
            device_id: Some(String::new()),
            device_owner: Some(String::new()),
            host_id: Some(String::new()),
            profile: Some(json!({})),
            ..UpdatePort::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIp {
    pub id: String,
    pub floating_ip_address: IpAddr,
    pub fixed_ip_address: Option<IpAddr>,
    pub floating_network_id: String,
    pub port_id: Option<String>,
    pub router_id: Option<String>,
    /// `ACTIVE`, `DOWN`, `ERROR`
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: String,
    pub name: String,
    pub project_id: String,
    #[serde(default)]
    pub description: String,
}

/// `{limit, used, reserved}` of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaDetail {
    /// -1 is without limit.
    pub limit: i64,
    pub used: i64,
    pub reserved: i64,
}

impl Network {
    pub fn new(endpoint: Endpoint) -> Network {
        Network(endpoint)
    }

    /// The networks a project may put servers on: its own, then the shared ones; external ones of others are not among them.
    pub async fn usable_networks(&self, auth: &Auth, project_id: &str) -> Result<Vec<NetworkInfo>> {
        let mut networks: Vec<NetworkInfo> = self.list(auth, "networks", &[("project_id", project_id), ("shared", "False")]).await?;
        networks.extend(self.list::<NetworkInfo>(auth, "networks", &[("shared", "True")]).await?);
        Ok(networks)
    }

    /// The network that neutron makes for a project that just wants to be connected, or made before.
    pub async fn allocate_topology(&self, auth: &Auth, project_id: &str) -> Result<String> {
        let answer = self.0.get(auth, &format!("/v2.0/auto-allocated-topology/{project_id}")).await?;
        let topology: Value = answer.take("auto_allocated_topology")?;
        let id = topology["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| Error::silent("the auto-allocated topology has no network"))
    }

    /// Whether neutron could make one: nothing is made.
    pub async fn can_allocate_topology(&self, auth: &Auth, project_id: &str) -> Result<bool> {
        match self.0.get(auth, &format!("/v2.0/auto-allocated-topology/{project_id}?fields=dry-run")).await {
            Ok(_) => Ok(true),
            Err(error) if (400..500).contains(&error.status) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Networks by query: `[("name", "private")]`, repeated keys mean or.
    pub async fn networks(&self, auth: &Auth, query: &[(&str, &str)]) -> Result<Vec<NetworkInfo>> {
        self.list(auth, "networks", query).await
    }

    pub async fn network(&self, auth: &Auth, id: &str) -> Result<Option<NetworkInfo>> {
        self.show(auth, "networks", "network", id).await
    }

    pub async fn subnet(&self, auth: &Auth, id: &str) -> Result<Option<Subnet>> {
        self.show(auth, "subnets", "subnet", id).await
    }

    /// Subnets by query; `[("network_id", id)]` for those of a network.
    pub async fn subnets(&self, auth: &Auth, query: &[(&str, &str)]) -> Result<Vec<Subnet>> {
        self.list(auth, "subnets", query).await
    }

    pub async fn port(&self, auth: &Auth, id: &str) -> Result<Option<Port>> {
        self.show(auth, "ports", "port", id).await
    }

    /// Ports by query.
    pub async fn ports(&self, auth: &Auth, query: &[(&str, &str)]) -> Result<Vec<Port>> {
        self.list(auth, "ports", query).await
    }

    /// The ports of servers (or routers), by their ids.
    pub async fn ports_of(&self, auth: &Auth, device_ids: &[String]) -> Result<Vec<Port>> {
        self.by_ids(auth, "ports", "device_id", device_ids).await
    }

    pub async fn create_port(&self, auth: &Auth, port: &CreatePort) -> Result<Port> {
        self.0.post(auth, "/v2.0/ports", &json!({"port": port})).await?.take("port")
    }

    pub async fn update_port(&self, auth: &Auth, id: &str, change: &UpdatePort) -> Result<Port> {
        self.0.put(auth, &format!("/v2.0/ports/{}", encode(id)), &json!({"port": change})).await?.take("port")
    }

    /// A binding of a port on one more host, which waits for the guest to come; what the port is and was given goes with it. It may be there
    /// already.
    pub async fn bind_ahead(&self, auth: &Auth, port: &Port, host: &str) -> Result<()> {
        let bindings = format!("/v2.0/ports/{}/bindings", encode(&port.id));
        let mut binding = json!({"vnic_type": port.vnic_type.as_deref().unwrap_or("normal"), "profile": port.profile.clone().unwrap_or_else(|| json!({}))});
        let again = json!({"binding": binding});
        binding["host"] = json!(host);
        match self.0.post(auth, &bindings, &json!({"binding": binding})).await {
            Err(error) if error.is_conflict() => self.0.put(auth, &format!("{bindings}/{}", encode(host)), &again).await.map(drop),
            made => made.map(drop),
        }
    }

    /// The guest is there now: the binding on this host is in force. It may be so already, or there may be none that waits.
    pub async fn activate_binding(&self, auth: &Auth, port: &str, host: &str) -> Result<()> {
        let path = format!("/v2.0/ports/{}/bindings/{}/activate", encode(port), encode(host));
        let done = self.0.put(auth, &path, &Value::Null).await;
        done.map(drop).or_else(|error| if error.is_conflict() || error.is_not_found() { Ok(()) } else { Err(error) })
    }

    /// Removes a binding that is not in force; it is no error that there is none.
    pub async fn unbind_ahead(&self, auth: &Auth, port: &str, host: &str) -> Result<()> {
        found(self.0.delete(auth, &format!("/v2.0/ports/{}/bindings/{}", encode(port), encode(host))).await).map(drop)
    }

    /// Deletes a port; it is no error that there is none.
    pub async fn delete_port(&self, auth: &Auth, id: &str) -> Result<()> {
        found(self.0.delete(auth, &format!("/v2.0/ports/{}", encode(id))).await).map(drop)
    }

    /// The floating IPs that lead to these ports.
    pub async fn floating_ips_of(&self, auth: &Auth, port_ids: &[String]) -> Result<Vec<FloatingIp>> {
        self.by_ids(auth, "floatingips", "port_id", port_ids).await
    }

    /// Floating IPs by query.
    pub async fn floating_ips(&self, auth: &Auth, query: &[(&str, &str)]) -> Result<Vec<FloatingIp>> {
        self.list(auth, "floatingips", query).await
    }

    /// Leads a floating IP to a port (and one of its addresses), or with `None` to nobody.
    pub async fn associate(&self, auth: &Auth, id: &str, port: Option<&str>, fixed_ip: Option<IpAddr>) -> Result<FloatingIp> {
        let mut change = Map::from_iter([("port_id".to_owned(), json!(port))]);
        if let Some(address) = fixed_ip {
            change.insert("fixed_ip_address".into(), json!(address));
        }
        self.0.put(auth, &format!("/v2.0/floatingips/{}", encode(id)), &json!({"floatingip": change})).await?.take("floatingip")
    }

    /// A project's security groups that have this name or this id.
    pub async fn security_groups_named(&self, auth: &Auth, project_id: &str, name_or_id: &str) -> Result<Vec<SecurityGroup>> {
        let fields = ("fields", "id");
        let query = [("project_id", project_id), ("name", name_or_id), fields, ("fields", "name"), ("fields", "project_id")];
        let named: Vec<SecurityGroup> = self.list(auth, "security-groups", &query).await?;
        if !named.is_empty() {
            return Ok(named);
        }
        self.list(auth, "security-groups", &[("id", name_or_id)]).await
    }

    /// Security groups by query.
    pub async fn security_groups(&self, auth: &Auth, query: &[(&str, &str)]) -> Result<Vec<SecurityGroup>> {
        self.list(auth, "security-groups", query).await
    }

    /// A project's limits and use, by resource: `port`, `network`, `floatingip` ...
    pub async fn quota(&self, auth: &Auth, project_id: &str) -> Result<std::collections::BTreeMap<String, QuotaDetail>> {
        self.0.get(auth, &format!("/v2.0/quotas/{}/details", encode(project_id))).await?.take("quota")
    }

    /// Whether neutron offers an extension.
    pub async fn has_extension(&self, auth: &Auth, alias: &str) -> Result<bool> {
        Ok(found(self.0.get(auth, &format!("/v2.0/extensions/{}", encode(alias))).await)?.is_some())
    }

    async fn show<T: serde::de::DeserializeOwned>(&self, auth: &Auth, plural: &str, key: &str, id: &str) -> Result<Option<T>> {
        match found(self.0.get(auth, &format!("/v2.0/{plural}/{}", encode(id))).await)? {
            Some(answer) => answer.take(key).map(Some),
            None => Ok(None),
        }
    }

    async fn list<T: serde::de::DeserializeOwned>(&self, auth: &Auth, plural: &str, query: &[(&str, &str)]) -> Result<Vec<T>> {
        let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let answer = self.0.get(auth, &format!("/v2.0/{plural}?{}", query.join("&"))).await?;
        answer.take(&plural.replace('-', "_"))
    }

    async fn by_ids<T: serde::de::DeserializeOwned>(&self, auth: &Auth, plural: &str, key: &str, ids: &[String]) -> Result<Vec<T>> {
        let mut all = Vec::new();
        for some in ids.chunks(IDS) {
            let query: Vec<(&str, &str)> = some.iter().map(|id| (key, id.as_str())).collect();
            all.extend(self.list::<T>(auth, plural, &query).await?);
        }
        Ok(all)
    }
}

/// Encodes what a query value or a path segment cannot carry.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
