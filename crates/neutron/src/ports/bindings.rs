//! `/ports/{port_id}/bindings`: hosts a port is bound to. One binding is in force and stands on the port itself; others wait for a guest that
//! is moving.

use kit::{Context, Error, Path, Query, Reply, Result};
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use super::{DOWN, Model, settle, turn};
use crate::agents::Touched;
use crate::attributes::{Attribute, Checked, ID, IfMatch, Input};
use crate::fault::{bad_request, conflict};
use crate::listing::select_fields;
use crate::resource::{changeable, locked, save, seen};
use crate::values::Kind;
use crate::{App, networks, sql};

const ATTRIBUTES: &[Attribute] = &[
    ID,
    Attribute::fixed("host", Kind::Text(255)).required(),
    Attribute::writable("vnic_type", Kind::OneOf(super::VNIC_TYPES)),
    Attribute::writable("profile", Kind::ObjectOrNull),
];

/// A binding that is not in force.
#[derive(Clone, Debug)]
struct Waiting {
    host: String,
    vnic_type: String,
    profile: Value,
}

fn view(host: &str, vnic_type: &str, profile: &Value, active: bool) -> Map<String, Value> {
    let view = json!({
        "host": host, "vnic_type": vnic_type, "profile": profile, "vif_type": super::vif_type(vnic_type),
        "vif_details": super::vif_details(vnic_type), "status": if active { "ACTIVE" } else { "INACTIVE" },
    });
    if let Value::Object(view) = view { view } else { Map::new() }
}

async fn waiting<C: ConnectionTrait>(db: &C, port: &str) -> Result<Vec<Waiting>> {
    let select = "SELECT host, vnic_type, profile FROM inactive_bindings WHERE port_id = $1 ORDER BY host";
    let mut all = Vec::new();
    for row in sql::query(db, select, [port.into()]).await? {
        let profile: String = row.try_get_by_index(2)?;
        all.push(Waiting { host: row.try_get_by_index(0)?, vnic_type: row.try_get_by_index(1)?, profile: serde_json::from_str(&profile)? });
    }
    Ok(all)
}

/// `GET /ports/{port_id}/bindings`
pub async fn list(app: App, ctx: Context, id: Path<String>, query: Query) -> Result<Reply> {
    let port: Model = seen(app.db().read(), &ctx, &id.0).await?;
    let mut views = Vec::new();
    if !port.host_id.is_empty() {
        views.push(view(&port.host_id, &port.vnic_type, &port.profile.0, true));
    }
    views.extend(waiting(app.db().read(), &port.id).await?.iter().map(|one| view(&one.host, &one.vnic_type, &one.profile, false)));
    for key in ["host", "status", "vnic_type", "vif_type"] {
        let wanted: Vec<&str> = query.all(key).collect();
        views.retain(|view| wanted.is_empty() || view.get(key).and_then(Value::as_str).is_some_and(|value| wanted.contains(&value)));
    }
    select_fields(&mut views, &query);
    Reply::ok(&json!({"bindings": views}))
}

/// `GET /ports/{port_id}/bindings/{host}`
pub async fn show(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    let (id, host) = path.0;
    let port: Model = seen(app.db().read(), &ctx, &id).await?;
    if port.host_id == host {
        return Reply::ok(&json!({"binding": view(&host, &port.vnic_type, &port.profile.0, true)}));
    }
    let found =
        waiting(app.db().read(), &port.id).await?.into_iter().find(|one| one.host == host).ok_or_else(|| missing(&port.id, &host))?;
    Reply::ok(&json!({"binding": view(&host, &found.vnic_type, &found.profile, false)}))
}

/// `POST /ports/{port_id}/bindings`: in force at once when the port has none.
pub async fn create(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let checked = Checked::inner(ATTRIBUTES, input.one("binding")?)?;
    let host = checked.text("host")?;
    let vnic_type = checked.or("vnic_type", "normal".to_owned())?;
    let profile = checked.get::<Value>("profile")?.filter(|profile| !profile.is_null()).unwrap_or_else(|| json!({}));
    if host.is_empty() {
        return Err(bad_request("BadRequest", "Invalid input for host. Reason: it is empty."));
    }
    let made = app.write(move |tx| {
        Box::pin(async move {
            turn(&tx, vec![id.0.clone()]).await?;
            let mut port: Model = changeable(tx.db, &ctx, "create_port_binding", &id.0).await?;
            if port.host_id == host || waiting(tx.db, &port.id).await?.iter().any(|one| one.host == host) {
                let message = format!("Binding for port {} on host {host} already exists.", port.id);
                return Err(conflict("PortBindingAlreadyExists", message));
            }
            if port.host_id.is_empty() {
                let before = port.clone();
                port.host_id.clone_from(&host);
                port.vnic_type.clone_from(&vnic_type);
                port.profile.0 = profile.clone();
                save(tx.db, &mut port).await?;
                let network: networks::Model = locked(tx.db, &port.network_id).await?;
                settle(&tx, &network, &before, &port).await?;
                return Ok(view(&host, &vnic_type, &profile, true));
            }
            let insert = "INSERT INTO inactive_bindings (port_id, host, vnic_type, profile) VALUES ($1, $2, $3, $4)";
            let values = [port.id.as_str().into(), host.as_str().into(), vnic_type.as_str().into(), profile.to_string().into()];
            sql::execute(tx.db, insert, values).await?;
            // it is wired there before the guest comes
            tx.touch(Touched::Port(port.id));
            Ok(view(&host, &vnic_type, &profile, false))
        })
    });
    Reply::created(&json!({"binding": made.await?}))
}

/// `PUT /ports/{port_id}/bindings/{host}`
pub async fn update(app: App, ctx: Context, path: Path<(String, String)>, input: Input) -> Result<Reply> {
    let checked = Checked::update(ATTRIBUTES, input.one("binding")?)?;
    let changed = app.write(move |tx| {
        Box::pin(async move {
            let (id, host) = path.0;
            let mut port: Model = changeable(tx.db, &ctx, "update_port_binding", &id).await?;
            let profile = checked.get::<Value>("profile")?.map(|profile| if profile.is_null() { json!({}) } else { profile });
            if port.host_id == host {
                checked.set("vnic_type", &mut port.vnic_type)?;
                port.profile.0 = profile.unwrap_or_else(|| port.profile.0.clone());
                save(tx.db, &mut port).await?;
                return Ok(view(&host, &port.vnic_type, &port.profile.0, true));
            }
            let found = waiting(tx.db, &port.id).await?.into_iter().find(|one| one.host == host);
            let mut found = found.ok_or_else(|| missing(&port.id, &host))?;
            checked.set("vnic_type", &mut found.vnic_type)?;
            found.profile = profile.unwrap_or(found.profile);
            let update = "UPDATE inactive_bindings SET vnic_type = $1, profile = $2 WHERE port_id = $3 AND host = $4";
            let values = [found.vnic_type.as_str().into(), found.profile.to_string().into(), port.id.as_str().into(), host.as_str().into()];
            sql::execute(tx.db, update, values).await?;
            Ok(view(&host, &found.vnic_type, &found.profile, false))
        })
    });
    Reply::ok(&json!({"binding": changed.await?}))
}

/// `PUT /ports/{port_id}/bindings/{host}/activate`: the guest is there now; the binding that was in force waits from now on.
pub async fn activate(app: App, ctx: Context, path: Path<(String, String)>) -> Result<Reply> {
    let active = app.write(move |tx| {
        Box::pin(async move {
            let (id, host) = path.0;
            turn(&tx, vec![id.clone()]).await?;
            let mut port: Model = changeable(tx.db, &ctx, "update_port_binding", &id).await?;
            if port.host_id == host {
                let message = format!("Binding for port {} on host {host} is already active.", port.id);
                return Err(conflict("PortBindingAlreadyActive", message));
            }
            let found = waiting(tx.db, &port.id).await?.into_iter().find(|one| one.host == host);
            let found = found.ok_or_else(|| missing(&port.id, &host))?;
            let before = port.clone();
            sql::execute(
                tx.db,
                "DELETE FROM inactive_bindings WHERE port_id = $1 AND host = $2",
                [port.id.as_str().into(), host.as_str().into()],
            )
            .await?;
            if !before.host_id.is_empty() {
                let insert = "INSERT INTO inactive_bindings (port_id, host, vnic_type, profile) VALUES ($1, $2, $3, $4)";
                let values = [
                    port.id.as_str().into(),
                    before.host_id.as_str().into(),
                    before.vnic_type.as_str().into(),
                    before.profile.0.to_string().into(),
                ];
                sql::execute(tx.db, insert, values).await?;
            }
            port.host_id = found.host;
            port.vnic_type = found.vnic_type;
            port.profile.0 = found.profile;
            port.status = DOWN.into();
            save(tx.db, &mut port).await?;
            let network: networks::Model = locked(tx.db, &port.network_id).await?;
            settle(&tx, &network, &before, &port).await?;
            Ok(view(&port.host_id, &port.vnic_type, &port.profile.0, true))
        })
    });
    Reply::ok(&json!({"binding": active.await?}))
}

/// `DELETE /ports/{port_id}/bindings/{host}`: of the binding in force, too: the port is then on no host.
pub async fn delete(app: App, ctx: Context, path: Path<(String, String)>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let (id, host) = path.0;
            turn(&tx, vec![id.clone()]).await?;
            let mut port: Model = changeable(tx.db, &ctx, "delete_port_binding", &id).await?;
            if_match.check(port.revision_number)?;
            if port.host_id == host && !host.is_empty() {
                let before = port.clone();
                port.host_id.clear();
                port.status = DOWN.into();
                save(tx.db, &mut port).await?;
                let network: networks::Model = locked(tx.db, &port.network_id).await?;
                return settle(&tx, &network, &before, &port).await;
            }
            let delete = "DELETE FROM inactive_bindings WHERE port_id = $1 AND host = $2";
            match sql::execute(tx.db, delete, [port.id.as_str().into(), host.as_str().into()]).await? {
                0 => Err(missing(&port.id, &host)),
                _ => {
                    tx.touch(Touched::Port(port.id));
                    Ok(())
                }
            }
        })
    })
    .await?;
    Reply::no_content()
}

fn missing(port: &str, host: &str) -> Error {
    Error::not_found(format!("Binding for port {port} for host {host} could not be found.")).code("PortBindingNotFound")
}
