//! The calls that Cumulo's parts make to the placement API, all at one version.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::query::{encode, query};
use crate::{Answer, Auth, Endpoint, Error, Result, found};

/// The version these types are written in.
const VERSION: &[(&str, &str)] = &[("openstack-api-version", "placement 1.39")];
/// How often a write is tried again after somebody else's write came first.
const TRIES: usize = 5;

/// Placement.
#[derive(Clone)]
pub struct Placement(pub Endpoint);

/// Something that has resources: a host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Provider {
    pub uuid: String,
    pub name: String,
    pub generation: i64,
    #[serde(default)]
    pub parent_provider_uuid: Option<String>,
    pub root_provider_uuid: String,
}

/// How much of one resource class a provider has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    pub total: i64,
    #[serde(default)]
    pub reserved: i64,
    #[serde(default = "one")]
    pub min_unit: i64,
    #[serde(default = "most")]
    pub max_unit: i64,
    #[serde(default = "one")]
    pub step_size: i64,
    #[serde(default = "even")]
    pub allocation_ratio: f64,
}

/// Resource class to inventory.
pub type InventoryMap = BTreeMap<String, Inventory>;
/// Resource class to amount.
pub type Resources = BTreeMap<String, i64>;

/// A provider's inventories at a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventories {
    pub inventories: InventoryMap,
    pub resource_provider_generation: i64,
}

/// A provider's traits at a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    pub traits: Vec<String>,
    pub resource_provider_generation: i64,
}

/// What a consumer has of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub resources: Resources,
}

/// What a consumer has. To claim for a new consumer, `consumer_generation` is `None`; to change, it is the one that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocations {
    /// Provider to share.
    pub allocations: BTreeMap<String, Share>,
    #[serde(default)]
    pub project_id: String,
    #[serde(default)]
    pub user_id: String,
    #[serde(default)]
    pub consumer_generation: Option<i64>,
    /// `INSTANCE`, `MIGRATION`
    #[serde(default)]
    pub consumer_type: String,
}

/// One way to fulfil a request: a body for a claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AllocationRequest {
    pub allocations: BTreeMap<String, Share>,
    /// By group, who gives what it asks for.
    #[serde(default)]
    pub mappings: BTreeMap<String, Vec<String>>,
}

/// What is known of a provider that takes part.
#[derive(Clone, Debug, Deserialize)]
pub struct ProviderSummary {
    pub resources: BTreeMap<String, Usage>,
    #[serde(default)]
    pub traits: Vec<String>,
    #[serde(default)]
    pub parent_provider_uuid: Option<String>,
    #[serde(default)]
    pub root_provider_uuid: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Usage {
    pub capacity: i64,
    pub used: i64,
}

/// Who could fulfil a request.
#[derive(Clone, Debug, Deserialize)]
pub struct Candidates {
    pub allocation_requests: Vec<AllocationRequest>,
    pub provider_summaries: BTreeMap<String, ProviderSummary>,
}

/// What candidates must have.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub resources: Resources,
    /// Traits; `!TRAIT` forbids one.
    pub required: Vec<String>,
    /// Each entry `aggregate`, `in:a,b` or `!aggregate`.
    pub member_of: Vec<String>,
    /// Only the tree of this provider.
    pub in_tree: Option<String>,
    pub limit: Option<u64>,
    /// What single providers of the tree must have, beside what the tree has together.
    pub groups: Vec<Group>,
    /// Whether groups must have a provider each, `isolate`; they need not when nothing is said.
    pub group_policy: Option<String>,
}

/// What one provider must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Tells it apart: an id.
    pub suffix: String,
    pub resources: Resources,
    pub required: Vec<String>,
}

/// What a provider gives to its consumers.
#[derive(Clone, Debug, Deserialize)]
pub struct ProviderAllocations {
    /// Consumer to share.
    pub allocations: BTreeMap<String, Share>,
    pub resource_provider_generation: i64,
}

impl Inventory {
    /// `total` of a class, with nothing reserved and no overcommitment.
    pub fn of(total: i64) -> Inventory {
        Inventory { total, reserved: 0, min_unit: one(), max_unit: total, step_size: one(), allocation_ratio: even() }
    }
}

impl Placement {
    pub fn new(endpoint: Endpoint) -> Placement {
        Placement(endpoint)
    }

    pub async fn providers(&self, auth: &Auth, filters: &[(&str, &str)]) -> Result<Vec<Provider>> {
        self.get(auth, &format!("/resource_providers{}", query(filters))).await?.take("resource_providers")
    }

    pub async fn provider(&self, auth: &Auth, uuid: &str) -> Result<Provider> {
        self.get(auth, &provider(uuid)).await?.whole()
    }

    /// The provider with this uuid, made when it is not there.
    pub async fn ensure_provider(&self, auth: &Auth, uuid: &str, name: &str) -> Result<Provider> {
        if let Some(provider) = found(self.provider(auth, uuid).await)? {
            return Ok(provider);
        }
        self.make_provider(auth, uuid, &json!({"uuid": uuid, "name": name})).await
    }

    /// The same below another one.
    pub async fn ensure_child(&self, auth: &Auth, uuid: &str, name: &str, parent: &str) -> Result<Provider> {
        if let Some(provider) = found(self.provider(auth, uuid).await)? {
            return Ok(provider);
        }
        self.make_provider(auth, uuid, &json!({"uuid": uuid, "name": name, "parent_provider_uuid": parent})).await
    }

    async fn make_provider(&self, auth: &Auth, uuid: &str, body: &Value) -> Result<Provider> {
        match self.send(auth, Method::POST, "/resource_providers", Some(body)).await {
            Ok(answer) => answer.whole(),
            // somebody else was quicker; a name of another provider stays an error
            Err(error) if error.is_conflict() => found(self.provider(auth, uuid).await)?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// 409 while it has allocations or children.
    pub async fn delete_provider(&self, auth: &Auth, uuid: &str) -> Result<()> {
        self.send(auth, Method::DELETE, &provider(uuid), None::<&Value>).await.map(drop)
    }

    pub async fn inventories(&self, auth: &Auth, uuid: &str) -> Result<Inventories> {
        self.get(auth, &format!("{}/inventories", provider(uuid))).await?.whole()
    }

    /// Makes a provider's inventories what they should be; asks for nothing when they are. True when something changed.
    pub async fn set_inventories(&self, auth: &Auth, uuid: &str, wanted: &InventoryMap) -> Result<bool> {
        let path = format!("{}/inventories", provider(uuid));
        for _ in 0..TRIES {
            let have = self.inventories(auth, uuid).await?;
            if have.inventories == *wanted {
                return Ok(false);
            }
            let body = Inventories { inventories: wanted.clone(), ..have };
            match self.send(auth, Method::PUT, &path, Some(&body)).await {
                Ok(_) => return Ok(true),
                Err(error) if stale(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(busy(uuid))
    }

    pub async fn traits(&self, auth: &Auth, uuid: &str) -> Result<Vec<String>> {
        Ok(self.get(auth, &format!("{}/traits", provider(uuid))).await?.whole::<Traits>()?.traits)
    }

    /// Makes a provider's traits what they should be; custom ones are made known first. True when something changed.
    pub async fn set_traits(&self, auth: &Auth, uuid: &str, wanted: &[String]) -> Result<bool> {
        let path = format!("{}/traits", provider(uuid));
        let mut wanted = wanted.to_vec();
        wanted.sort();
        wanted.dedup();
        for _ in 0..TRIES {
            let mut have: Traits = self.get(auth, &path).await?.whole()?;
            have.traits.sort();
            if have.traits == wanted {
                return Ok(false);
            }
            for name in wanted.iter().filter(|name| name.starts_with("CUSTOM_") && !have.traits.contains(name)) {
                self.send(auth, Method::PUT, &format!("/traits/{}", encode(name)), None::<&Value>).await?;
            }
            let body = Traits { traits: wanted.clone(), ..have };
            match self.send(auth, Method::PUT, &path, Some(&body)).await {
                Ok(_) => return Ok(true),
                Err(error) if stale(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(busy(uuid))
    }

    /// Who could fulfil `wanted`.
    pub async fn candidates(&self, auth: &Auth, wanted: &Wanted) -> Result<Candidates> {
        let amounts =
            |resources: &Resources| resources.iter().map(|(class, amount)| format!("{class}:{amount}")).collect::<Vec<_>>().join(",");
        let (resources, required) = (amounts(&wanted.resources), wanted.required.join(","));
        let tree = wanted.in_tree.as_deref().unwrap_or_default();
        let grouped: Vec<(String, String)> = wanted
            .groups
            .iter()
            .flat_map(|group| {
                let required = (format!("required{}", group.suffix), group.required.join(","));
                let tree = (format!("in_tree{}", group.suffix), tree.to_owned());
                [(format!("resources{}", group.suffix), amounts(&group.resources)), required, tree]
            })
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let limit = wanted.limit.map(|n| n.to_string());
        let mut pairs = Vec::new();
        // without resources the rest would be of nothing
        if !resources.is_empty() {
            pairs.push(("resources", resources.as_str()));
            pairs.extend((!required.is_empty()).then_some(("required", required.as_str())));
            pairs.extend(wanted.member_of.iter().map(|entry| ("member_of", entry.as_str())));
            pairs.extend(wanted.in_tree.iter().map(|uuid| ("in_tree", uuid.as_str())));
        }
        pairs.extend(limit.iter().map(|n| ("limit", n.as_str())));
        pairs.extend(grouped.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        if !wanted.groups.is_empty() {
            pairs.push(("group_policy", wanted.group_policy.as_deref().unwrap_or("none")));
        }
        self.get(auth, &format!("/allocation_candidates{}", query(&pairs))).await?.whole()
    }

    /// What a consumer has; nothing, with no generation, when placement does not know it.
    pub async fn allocations(&self, auth: &Auth, consumer: &str) -> Result<Allocations> {
        self.get(auth, &allocation(consumer)).await?.whole()
    }

    /// Claims: 409 when a provider has not enough left, or when the consumer changed since it was read (see [`stale`]).
    pub async fn put_allocations(&self, auth: &Auth, consumer: &str, allocations: &Allocations) -> Result<()> {
        self.send(auth, Method::PUT, &allocation(consumer), Some(allocations)).await.map(drop)
    }

    /// Several consumers at once, all or none: to move what an instance has to its migration.
    pub async fn post_allocations(&self, auth: &Auth, consumers: &BTreeMap<String, Allocations>) -> Result<()> {
        self.send(auth, Method::POST, "/allocations", Some(consumers)).await.map(drop)
    }

    /// Gives everything of a consumer back; fine when it had nothing.
    pub async fn delete_allocations(&self, auth: &Auth, consumer: &str) -> Result<()> {
        found(self.send(auth, Method::DELETE, &allocation(consumer), None::<&Value>).await).map(drop)
    }

    pub async fn provider_allocations(&self, auth: &Auth, uuid: &str) -> Result<ProviderAllocations> {
        self.get(auth, &format!("{}/allocations", provider(uuid))).await?.whole()
    }

    pub async fn provider_usages(&self, auth: &Auth, uuid: &str) -> Result<Resources> {
        self.get(auth, &format!("{}/usages", provider(uuid))).await?.take("usages")
    }

    /// Replaces the aggregates a provider is a member of.
    pub async fn set_aggregates(&self, auth: &Auth, uuid: &str, aggregates: &[String]) -> Result<()> {
        let path = format!("{}/aggregates", provider(uuid));
        for _ in 0..TRIES {
            let generation: i64 = self.get(auth, &path).await?.take("resource_provider_generation")?;
            let body = json!({"aggregates": aggregates, "resource_provider_generation": generation});
            match self.send(auth, Method::PUT, &path, Some(&body)).await {
                Ok(_) => return Ok(()),
                Err(error) if stale(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(busy(uuid))
    }

    async fn get(&self, auth: &Auth, path: &str) -> Result<Answer> {
        self.send(auth, Method::GET, path, None::<&Value>).await
    }

    async fn send(&self, auth: &Auth, method: Method, path: &str, body: Option<&(impl Serialize + Sync)>) -> Result<Answer> {
        self.0.call_with(auth, method, path, body, VERSION).await
    }
}

/// Whether a write was refused only because somebody else's came first: read again, and retry.
pub fn stale(error: &Error) -> bool {
    error.is_conflict() && error.code.as_deref() == Some("placement.concurrent_update")
}

fn busy(uuid: &str) -> Error {
    Error {
        status: 409,
        code: Some("placement.concurrent_update".into()),
        message: format!("Resource provider {uuid} changes all the time"),
    }
}

fn provider(uuid: &str) -> String {
    format!("/resource_providers/{}", encode(uuid))
}

fn allocation(consumer: &str) -> String {
    format!("/allocations/{}", encode(consumer))
}

fn one() -> i64 {
    1
}

fn most() -> i64 {
    i64::from(i32::MAX)
}

fn even() -> f64 {
    1.0
}
