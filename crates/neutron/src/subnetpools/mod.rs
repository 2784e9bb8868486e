//! Subnet pools: prefixes out of which subnets get theirs.

mod allocate;
mod prefixes;

use ipnet::IpNet;
use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

pub use allocate::{Wanted, allocate, default_of, no_default, none_chosen};
pub use prefixes::{add, onboard, remove};

use crate::agents::Touched;
use crate::attributes::{Attribute, Checked};
use crate::fault::{bad_request, conflict, invalid_input};
use crate::plain::Plain;
use crate::resource::{Resource, Seen, extend, seen, standard_view, with};
use crate::values::Kind;
use crate::{Tx, address_scopes, sql};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "subnetpools")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub name: String,
    pub description: String,
    pub ip_version: i64,
    pub prefixes: Json<Vec<IpNet>>,
    pub default_prefixlen: i64,
    pub min_prefixlen: i64,
    pub max_prefixlen: i64,
    /// What one project may have of it: addresses, or /64 prefixes.
    pub default_quota: Option<i64>,
    pub address_scope_id: Option<String>,
    pub is_default: bool,
    pub tags: Json<Vec<String>>,
    pub revision_number: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "subnetpool";
    const PLURAL: &'static str = "subnetpools";
    const TABLE: &'static str = "subnetpools";
    const NOUN: &'static str = "Subnet pool";
    const NOT_FOUND: &'static str = "SubnetPoolNotFound";
    const SHARED_AS: Option<&'static str> = Some("subnetpool");
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::writable("name", Kind::Text(255)),
        Attribute::writable("prefixes", Kind::Cidrs).composite().required(),
        Attribute::writable("default_prefixlen", Kind::Int(0, 128)),
        Attribute::writable("min_prefixlen", Kind::Int(0, 128)),
        Attribute::writable("max_prefixlen", Kind::Int(0, 128)),
        Attribute::writable("default_quota", Kind::IntOrNull(0, i64::MAX)),
        Attribute::writable("address_scope_id", Kind::UuidOrNull),
        Attribute::writable("is_default", Kind::Bool).ruled(),
        Attribute::fixed("shared", Kind::Bool).composite().ruled(),
        Attribute::shown("ip_version", Kind::IpVersion),
    ];

    crate::standard!();

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let mut view = standard_view(&self.id, &self.project_id, &self.description, self.revision_number, self.created_at, self.updated_at);
        extend(
            &mut view,
            json!({
                "name": self.name, "ip_version": self.ip_version, "prefixes": self.prefixes.0, "default_quota": self.default_quota,
                // neutron writes lengths as text
                "default_prefixlen": self.default_prefixlen.to_string(), "min_prefixlen": self.min_prefixlen.to_string(),
                "max_prefixlen": self.max_prefixlen.to_string(), "address_scope_id": self.address_scope_id,
                "is_default": self.is_default, "tags": self.tags.0,
            }),
        );
        view
    }
}

impl Plain for Model {
    fn new(checked: &Checked) -> Result<Model> {
        let prefixes = IpNet::aggregate(&checked.or::<Vec<IpNet>>("prefixes", Vec::new())?);
        let v4 = match prefixes.first() {
            Some(first) => first.addr().is_ipv4(),
            None => return Err(bad_request("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")),
        };
        let (shortest, longest) = if v4 { (8, 32) } else { (64, 128) };
        let min_prefixlen = checked.or("min_prefixlen", shortest)?;
        let now = Timestamp::now();
        let pool = Model {
            id: ids::uuid(),
            project_id: checked.text("project_id")?,
            name: checked.text("name")?,
            description: checked.text("description")?,
            ip_version: if v4 { 4 } else { 6 },
            prefixes: Json(prefixes),
            default_prefixlen: checked.or("default_prefixlen", min_prefixlen)?,
            min_prefixlen,
            max_prefixlen: checked.or("max_prefixlen", longest)?,
            default_quota: checked.get::<Option<i64>>("default_quota")?.flatten(),
            address_scope_id: checked.get::<Option<String>>("address_scope_id")?.flatten(),
            is_default: checked.or("is_default", false)?,
            tags: Json(Vec::new()),
            revision_number: 0,
            created_at: now,
            updated_at: now,
        };
        pool.check_lengths()?;
        Ok(pool)
    }

    fn apply(&mut self, checked: &Checked) -> Result<()> {
        checked.set("name", &mut self.name)?;
        checked.set("description", &mut self.description)?;
        checked.set("default_prefixlen", &mut self.default_prefixlen)?;
        checked.set("min_prefixlen", &mut self.min_prefixlen)?;
        checked.set("max_prefixlen", &mut self.max_prefixlen)?;
        checked.set("default_quota", &mut self.default_quota)?;
        checked.set("address_scope_id", &mut self.address_scope_id)?;
        checked.set("is_default", &mut self.is_default)?;
        if let Some(prefixes) = checked.get::<Vec<IpNet>>("prefixes")? {
            self.prefixes.0 = IpNet::aggregate(&prefixes);
        }
        self.check_lengths()
    }

    async fn inserting(&mut self, tx: &Tx<'_>, ctx: &Context) -> Result<()> {
        self.check_scope(tx, ctx).await?;
        self.check_default(tx).await
    }

    async fn changing(&mut self, before: &Model, tx: &Tx<'_>, ctx: &Context) -> Result<()> {
        // what was given out of it stays within it
        if before.prefixes.0.iter().any(|old| !self.prefixes.0.iter().any(|new| new.contains(old))) {
            let message = "Illegal update to prefixes: A pool may only be extended with additional prefixes.";
            return Err(bad_request("IllegalSubnetPoolPrefixUpdate", message));
        }
        if self.address_scope_id != before.address_scope_id || self.prefixes != before.prefixes {
            self.check_scope(tx, ctx).await?;
            self.check_scope_is_own(before, tx, ctx).await?;
        }
        if self.address_scope_id != before.address_scope_id {
            self.touch_routers(tx).await?;
        }
        if self.is_default && !before.is_default { self.check_default(tx).await } else { Ok(()) }
    }

    async fn removing(&self, tx: &Tx<'_>, _: &Context) -> Result<()> {
        if sql::exists(tx.db, "SELECT 1 FROM subnets WHERE subnetpool_id = $1 LIMIT 1", [self.id.as_str().into()]).await? {
            return Err(conflict("SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations."));
        }
        Ok(())
    }
}

impl Model {
    pub fn is_v4(&self) -> bool {
        self.ip_version == 4
    }

    /// The routers on the pool's subnets shall hear in which address scope they are.
    pub async fn touch_routers(&self, tx: &Tx<'_>) -> Result<()> {
        let on = "SELECT DISTINCT r.id FROM routers r JOIN ports p ON p.device_id = r.id JOIN ip_allocations a ON a.port_id = p.id \
                  JOIN subnets s ON s.id = a.subnet_id WHERE s.subnetpool_id = $1";
        for router in sql::texts(tx.db, on, [self.id.as_str().into()]).await? {
            tx.touch(Touched::Router(router));
        }
        Ok(())
    }

    fn check_lengths(&self) -> Result<()> {
        if self.prefixes.0.iter().any(|prefix| prefix.addr().is_ipv4() != self.is_v4()) {
            return Err(bad_request("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool."));
        }
        let (min, default, max) = (self.min_prefixlen, self.default_prefixlen, self.max_prefixlen);
        let longest = if self.is_v4() { 32 } else { 128 };
        let illegal = |a: &str, x: i64, b: &str, y: i64| {
            bad_request("IllegalSubnetPoolPrefixBounds", format!("Illegal prefix bounds: {a}={x}, {b}={y}."))
        };
        if max > longest {
            return Err(illegal("max_prefixlen", max, "ip_version_max", longest));
        }
        if min > max {
            return Err(illegal("min_prefixlen", min, "max_prefixlen", max));
        }
        if default < min {
            return Err(illegal("default_prefixlen", default, "min_prefixlen", min));
        }
        if default > max {
            return Err(illegal("default_prefixlen", default, "max_prefixlen", max));
        }
        Ok(())
    }

    /// Within a scope prefixes are of one version and do not overlap.
    async fn check_scope(&self, tx: &Tx<'_>, ctx: &Context) -> Result<()> {
        let Some(id) = &self.address_scope_id else { return Ok(()) };
        let scope: address_scopes::Model = seen(tx.db, ctx, id).await?;
        if scope.ip_version != self.ip_version {
            let message = format!(
                "Illegal subnetpool association: subnetpool {} cannot associate with address scope {id} because subnetpool ip_version is not {}.",
                self.id, scope.ip_version
            );
            return Err(bad_request("IllegalSubnetPoolIpVersionToAddressScope", message));
        }
        let others: Vec<Model> = with(tx.db, "address_scope_id", std::slice::from_ref(id)).await?;
        let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        let mut theirs = others.iter().filter(|other| other.id != self.id).flat_map(|other| &other.prefixes.0);
        if theirs.any(|b| self.prefixes.0.iter().any(|a| overlaps(a, b))) {
            let message = "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.";
            return Err(conflict("AddressScopePrefixConflict", message));
        }
        Ok(())
    }

    /// What is in a scope is for its owner to say.
    async fn check_scope_is_own(&self, before: &Model, tx: &Tx<'_>, ctx: &Context) -> Result<()> {
        let Some(id) = &before.address_scope_id else { return Ok(()) };
        let scope: address_scopes::Model = seen(tx.db, ctx, id).await?;
        if ctx.is_admin() || ctx.project_id().is_ok_and(|project| project == scope.project_id) {
            return Ok(());
        }
        let message =
            format!("Illegal subnetpool update : subnetpool {} is associated with the address scope {id} of another project.", self.id);
        Err(bad_request("IllegalSubnetPoolUpdate", message))
    }

    /// There is one default pool of a version.
    async fn check_default(&self, tx: &Tx<'_>) -> Result<()> {
        let other = "SELECT 1 FROM subnetpools WHERE is_default AND ip_version = $1 AND id <> $2";
        if self.is_default && sql::exists(tx.db, other, [self.ip_version.into(), self.id.as_str().into()]).await? {
            return Err(invalid_input(
                "A default subnetpool for this IP family has already been set. Only one default may exist per IP family",
            ));
        }
        Ok(())
    }
}
