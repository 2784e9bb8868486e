//! `/floatingips/{floatingip_id}/port_forwardings`: ports of a floating address that lead to ports of fixed ones.

use std::net::IpAddr;

use kit::{Context, Error, Path, Query, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use super::Model as FloatingIp;
use crate::agents::Touched;
use crate::attributes::{Attribute, Checked, ID, Input};
use crate::fault::{bad_request, conflict, invalid_attribute};
use crate::listing::select_fields;
use crate::ports::{self, DOWN};
use crate::resource::{Resource, Seen, changeable, fetch, insert, remove, save, seen, with};
use crate::values::Kind;
use crate::{App, Tx, routers, sql};

const PROTOCOLS: &[&str] = &["tcp", "udp", "sctp", "dccp"];

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "port_forwardings")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub floatingip_id: String,
    pub description: String,
    pub protocol: String,
    pub external_first: i64,
    pub external_last: i64,
    pub internal_port_id: String,
    pub internal_ip_address: String,
    pub internal_first: i64,
    pub internal_last: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "port_forwarding";
    const PLURAL: &'static str = "port_forwardings";
    const TABLE: &'static str = "port_forwardings";
    const NOUN: &'static str = "Port Forwarding";
    const NOT_FOUND: &'static str = "PortForwardingNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        Attribute::writable("description", Kind::Text(255)),
        Attribute::writable("protocol", Kind::OneOf(PROTOCOLS)).required(),
        Attribute::writable("internal_port_id", Kind::Uuid).required(),
        Attribute::writable("internal_ip_address", Kind::IpOrNull),
        Attribute::writable("internal_port", Kind::Int(1, 65_535)),
        Attribute::writable("internal_port_range", Kind::PortRange),
        Attribute::writable("external_port", Kind::Int(1, 65_535)),
        Attribute::writable("external_port_range", Kind::PortRange),
    ];

    type Table = Entity;

    fn id(&self) -> &str {
        &self.id
    }

    /// Its floating IP's.
    fn project_id(&self) -> &str {
        ""
    }

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let single = |first: i64, last: i64| (first == last).then_some(first);
        let view = json!({
            "id": self.id, "description": self.description, "protocol": self.protocol, "internal_port_id": self.internal_port_id,
            "internal_ip_address": self.internal_ip_address, "internal_port": single(self.internal_first, self.internal_last),
            "internal_port_range": format!("{}:{}", self.internal_first, self.internal_last),
            "external_port": single(self.external_first, self.external_last),
            "external_port_range": format!("{}:{}", self.external_first, self.external_last),
        });
        let Value::Object(mut view) = view else { return Map::new() };
        view.retain(|_, value| !value.is_null());
        view
    }
}

impl Model {
    /// As its floating IP shows it.
    pub fn in_floating_ip(&self) -> Value {
        let mut view = self.view(&Seen { admin: false, project: String::new() });
        view.remove("description");
        for port in ["internal_port", "external_port"] {
            if view.contains_key(port) {
                view.remove(&format!("{port}_range"));
            }
        }
        Value::Object(view)
    }
}

/// `GET .../port_forwardings`
pub async fn list(app: App, ctx: Context, floating: Path<String>, query: Query) -> Result<Reply> {
    let db = app.db().read();
    seen::<FloatingIp, _>(db, &ctx, &floating.0).await?;
    let mut rows: Vec<Model> = with(db, "floatingip_id", &[floating.0]).await?;
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    let mut views: Vec<Map<String, Value>> = rows.iter().map(|row| row.view(&Seen::from(&ctx))).collect();
    for key in ["id", "protocol", "internal_port_id", "internal_ip_address", "internal_port", "external_port"] {
        let wanted: Vec<&str> = query.all(key).collect();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        views.retain(|view| wanted.is_empty() || view.get(key).is_some_and(|value| wanted.contains(&text(value).as_str())));
    }
    select_fields(&mut views, &query);
    Reply::ok(&json!({"port_forwardings": views}))
}

/// `GET .../port_forwardings/{port_forwarding_id}`
pub async fn show(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (floating, id) = path.0;
    seen::<FloatingIp, _>(app.db().read(), &ctx, &floating).await?;
    let row = fetch::<Model, _>(app.db().read(), &id).await?.filter(|row| row.floatingip_id == floating).ok_or_else(|| unknown(&id))?;
    Reply::ok(&json!({"port_forwarding": row.view(&Seen::from(&ctx))}))
}

/// `POST .../port_forwardings`
pub async fn create(app: App, ctx: Context, floating: Path<String>, input: Input) -> Result<Reply> {
    let mut body = input.one(Model::KEY)?;
    body.remove("tenant_id");
    body.remove("project_id");
    let checked = Checked::inner(Model::ATTRIBUTES, body)?;
    let by = ctx.clone();
    let row = app.write(move |tx| {
        Box::pin(async move {
            let mut floating: FloatingIp = changeable(tx.db, &by, "create_floatingip_port_forwarding", &floating.0).await?;
            let mut row = Model {
                id: ids::uuid(),
                floatingip_id: floating.id.clone(),
                description: String::new(),
                protocol: String::new(),
                external_first: 0,
                external_last: 0,
                internal_port_id: String::new(),
                internal_ip_address: String::new(),
                internal_first: 0,
                internal_last: 0,
            };
            apply(&mut row, &checked)?;
            check(&tx, &by, &mut floating, &mut row).await?;
            insert(tx.db, &row).await?;
            save(tx.db, &mut floating).await?;
            Ok(row)
        })
    });
    Reply::created(&json!({"port_forwarding": row.await?.view(&Seen::from(&ctx))}))
}

/// `PUT .../port_forwardings/{port_forwarding_id}`
pub async fn update(app: App, ctx: Context, path: Path<(String, String)>, input: Input) -> Result<Reply> {
    let checked = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    let by = ctx.clone();
    let row = app.write(move |tx| {
        Box::pin(async move {
            let (floating, id) = path.0;
            let mut floating: FloatingIp = changeable(tx.db, &by, "update_floatingip_port_forwarding", &floating).await?;
            let before = fetch::<Model, _>(tx.db, &id).await?.filter(|row| row.floatingip_id == floating.id).ok_or_else(|| unknown(&id))?;
            let mut row = before.clone();
            apply(&mut row, &checked)?;
            if row != before {
                check(&tx, &by, &mut floating, &mut row).await?;
                save(tx.db, &mut row).await?;
            }
            Ok(row)
        })
    });
    Reply::ok(&json!({"port_forwarding": row.await?.view(&Seen::from(&ctx))}))
}

/// `DELETE .../port_forwardings/{port_forwarding_id}`
pub async fn delete(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let (floating, id) = path.0;
            let floating: FloatingIp = changeable(tx.db, &ctx, "delete_floatingip_port_forwarding", &floating).await?;
            let row = fetch::<Model, _>(tx.db, &id).await?.filter(|row| row.floatingip_id == floating.id).ok_or_else(|| unknown(&id))?;
            drop_row(&tx, &row).await
        })
    })
    .await?;
    Reply::no_content()
}

/// Removes one; a floating IP without any leads nowhere.
async fn drop_row(tx: &Tx<'_>, row: &Model) -> Result<()> {
    remove::<Model, _>(tx.db, &row.id).await?;
    let Some(mut floating) = fetch::<FloatingIp, _>(tx.db, &row.floatingip_id).await? else { return Ok(()) };
    if let Some(router) = &floating.router_id {
        tx.touch(Touched::Router(router.clone()));
    }
    let others: Vec<Model> = with(tx.db, "floatingip_id", std::slice::from_ref(&floating.id)).await?;
    if others.is_empty() {
        floating.router_id = None;
        floating.status = DOWN.into();
        save(tx.db, &mut floating).await?;
    }
    Ok(())
}

/// A port, or an address of it, is about to go: so do forwardings to it.
pub async fn port_changed(tx: &Tx<'_>, port: &ports::Model, gone: bool) -> Result<()> {
    for row in with::<Model, _>(tx.db, "internal_port_id", std::slice::from_ref(&port.id)).await? {
        let kept = !gone && port.fixed_ips.0.iter().any(|fixed| fixed.ip_address.to_string() == row.internal_ip_address);
        if !kept {
            drop_row(tx, &row).await?;
        }
    }
    Ok(())
}

fn apply(row: &mut Model, checked: &Checked) -> Result<()> {
    checked.set("description", &mut row.description)?;
    checked.set("protocol", &mut row.protocol)?;
    checked.set("internal_port_id", &mut row.internal_port_id)?;
    if let Some(Some(ip)) = checked.get::<Option<IpAddr>>("internal_ip_address")? {
        row.internal_ip_address = ip.to_string();
    }
    if let Some((first, last)) = range(checked, "internal")? {
        (row.internal_first, row.internal_last) = (first, last);
    }
    if let Some((first, last)) = range(checked, "external")? {
        (row.external_first, row.external_last) = (first, last);
    }
    for (name, first) in [("internal_port", row.internal_first), ("external_port", row.external_first)] {
        if first == 0 {
            return Err(Error::bad_request(format!("Failed to parse request. Required attribute '{name}' not specified")));
        }
    }
    let (outer, inner) = (row.external_last - row.external_first, row.internal_last - row.internal_first);
    if inner != 0 && inner != outer {
        let message = "Bad port_forwarding request: The size of the internal and external port ranges must be the same.";
        return Err(bad_request("BadRequest", message));
    }
    Ok(())
}

/// A single port or a range, not both.
fn range(checked: &Checked, side: &str) -> Result<Option<(i64, i64)>> {
    let (port, range) = (format!("{side}_port"), format!("{side}_port_range"));
    match (checked.get::<i64>(&port)?, checked.get::<String>(&range)?) {
        (Some(_), Some(_)) => {
            Err(bad_request("BadRequest", format!("Bad port_forwarding request: {port} and {range} cannot both be specified.")))
        }
        (Some(port), None) => Ok(Some((port, port))),
        (None, Some(text)) => {
            let parsed = text.split_once(':').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
            parsed.map(Some).ok_or_else(|| invalid_attribute(&range, format!("'{text}' is not a valid port range")))
        }
        (None, None) => Ok(None),
    }
}

/// The inner address exists and can be reached, and nobody else has the outer ports.
async fn check(tx: &Tx<'_>, ctx: &Context, floating: &mut FloatingIp, row: &mut Model) -> Result<()> {
    if let Some(port) = &floating.port_id {
        let message = format!(
            "Floating IP {} ({}) is associated with port {port} and cannot forward ports.",
            floating.floating_ip_address, floating.id
        );
        return Err(conflict("FloatingIPPortAlreadyAssociated", message));
    }
    let port: ports::Model = seen(tx.db, ctx, &row.internal_port_id).await?;
    if row.internal_ip_address.is_empty() {
        let first = port.fixed_ips.0.iter().find(|fixed| fixed.ip_address.is_ipv4());
        row.internal_ip_address = first.map(|fixed| fixed.ip_address.to_string()).unwrap_or_default();
    }
    let inner = port.fixed_ips.0.iter().map(|fixed| fixed.ip_address).find(|ip| ip.is_ipv4() && ip.to_string() == row.internal_ip_address);
    let Some(inner) = inner else {
        let message = format!(
            "Bad port_forwarding request: Requested internal IP address '{}' is not one of port {}.",
            row.internal_ip_address, port.id
        );
        return Err(bad_request("BadRequest", message));
    };
    let bound = "SELECT 1 FROM floatingips WHERE port_id = $1 AND fixed_ip_address = $2";
    if sql::exists(tx.db, bound, [port.id.as_str().into(), inner.to_string().into()]).await? {
        let message = format!(
            "Cannot create port forwarding to floating IP {} ({}) with port {} using fixed IP {inner}, as that port already has a binding floating IP.",
            floating.floating_ip_address, floating.id, port.id
        );
        return Err(conflict("PortHasBindingFloatingIP", message));
    }
    let router = routers::reaching(tx, &port, inner, &floating.floating_network_id).await?;
    let reachable = router.filter(|router| floating.router_id.as_ref().is_none_or(|id| *id == router.id));
    let router = reachable.ok_or_else(|| super::unreachable(floating, &port, inner))?;
    check_unique(tx, row).await?;
    floating.router_id = Some(router.id.clone());
    tx.touch(Touched::Router(router.id));
    Ok(())
}

async fn check_unique(tx: &Tx<'_>, row: &Model) -> Result<()> {
    let others: Vec<Model> = with(tx.db, "floatingip_id", std::slice::from_ref(&row.floatingip_id)).await?;
    let taken = others.iter().any(|other| {
        let outer = other.external_first <= row.external_last && row.external_first <= other.external_last;
        let inner = other.internal_first <= row.internal_last && row.internal_first <= other.internal_last;
        let same = (&other.internal_port_id, &other.internal_ip_address) == (&row.internal_port_id, &row.internal_ip_address);
        other.id != row.id && other.protocol == row.protocol && (outer || (same && inner))
    });
    if taken {
        let message = format!(
            "Bad port_forwarding request: A duplicate port forwarding entry with same attributes already exists, conflicting values are \
             {{'floatingip_id': '{}', 'external_port': {}, 'protocol': '{}'}}.",
            row.floatingip_id, row.external_first, row.protocol
        );
        return Err(bad_request("BadRequest", message));
    }
    Ok(())
}

fn unknown(id: &str) -> Error {
    crate::resource::missing::<Model>(id)
}
