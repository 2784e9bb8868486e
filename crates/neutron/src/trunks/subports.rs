//! `add_subports`, `remove_subports` and `get_subports`.

use kit::{Context, Error, Path, Reply, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Model, SUBPORT, check_unused, of, place};
use crate::attributes::Input;
use crate::fault::{bad_request, conflict, invalid_attribute};
use crate::ports::{self, DOWN};
use crate::resource::{Resource, Seen, changeable, fetch, locked, save, seen};
use crate::values::{Kind, normalize};
use crate::{App, Tx, networks, sql};

/// Tags a subport may have.
const VLANS: std::ops::RangeInclusive<i64> = 1..=4094;

/// A port that shall be part of a trunk.
#[derive(Clone, Debug, Deserialize)]
pub struct Wanted {
    pub port_id: String,
    #[serde(default)]
    pub segmentation_type: Option<String>,
    #[serde(default)]
    pub segmentation_id: Option<i64>,
}

fn wanted(input: Input) -> Result<Vec<Wanted>> {
    let subports = input.into_body().get("sub_ports").cloned().unwrap_or(Value::Null);
    let checked = normalize(Kind::SubPorts, subports).map_err(|reason| invalid_attribute("sub_ports", reason))?;
    serde_json::from_value(checked).map_err(|error| invalid_attribute("sub_ports", error))
}

/// `PUT /trunks/{trunk_id}/add_subports`: answers with the trunk itself.
pub async fn add(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let wanted = wanted(input)?;
    let by = ctx.clone();
    let trunk = app.write(move |tx| {
        Box::pin(async move {
            let parent = fetch::<Model, _>(tx.db, &id.0).await?.map(|trunk| trunk.port_id);
            ports::turn(&tx, wanted.iter().map(|wish| wish.port_id.clone()).chain(parent).collect()).await?;
            let mut trunk: Model = changeable(tx.db, &by, "add_subports", &id.0).await?;
            check_enabled(&trunk)?;
            let parent: ports::Model = locked(tx.db, &trunk.port_id).await?;
            join(&tx, &by, &trunk, &parent, wanted).await?;
            trunk.status = DOWN.into();
            save(tx.db, &mut trunk).await?;
            Ok(trunk)
        })
    });
    answer(&app, &ctx, trunk.await?).await
}

/// `PUT /trunks/{trunk_id}/remove_subports`
pub async fn remove(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let gone = wanted(input)?;
    let by = ctx.clone();
    let trunk = app.write(move |tx| {
        Box::pin(async move {
            ports::turn(&tx, gone.iter().map(|subport| subport.port_id.clone()).collect()).await?;
            let mut trunk: Model = changeable(tx.db, &by, "remove_subports", &id.0).await?;
            check_enabled(&trunk)?;
            for subport in gone {
                leave(&tx, &trunk, &subport.port_id).await?;
            }
            save(tx.db, &mut trunk).await?;
            Ok(trunk)
        })
    });
    answer(&app, &ctx, trunk.await?).await
}

/// `GET /trunks/{trunk_id}/get_subports`
pub async fn list(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    let trunk: Model = seen(app.db().read(), &ctx, &id.0).await?;
    let subports: Vec<Value> = of(app.db().read(), &[trunk.id]).await?.iter().map(super::Subport::view).collect();
    Reply::ok(&json!({"sub_ports": subports}))
}

async fn answer(app: &App, ctx: &Context, trunk: Model) -> Result<Reply> {
    let mut views = Model::views(app.db().read(), vec![trunk], &Seen::from(ctx)).await?;
    Reply::ok(&views.pop())
}

/// Frames of different subports of one request have different tags, and every tag says what kind it is.
pub fn check_told_apart(wanted: &[Wanted]) -> Result<()> {
    let mut tags = Vec::with_capacity(wanted.len());
    for wish in wanted.iter().filter(|wish| wish.segmentation_type.as_deref() != Some("inherit")) {
        let (Some(kind), Some(id)) = (&wish.segmentation_type, wish.segmentation_id) else {
            let message =
                format!("Invalid input for operation: Invalid subport details for port {}: missing segmentation details.", wish.port_id);
            return Err(bad_request("InvalidInput", message));
        };
        if tags.contains(&(kind, id)) {
            let message = format!("Invalid input for operation: segmentation_type {kind} and segmentation_id {id} are not unique.");
            return Err(bad_request("InvalidInput", message));
        }
        tags.push((kind, id));
    }
    Ok(())
}

/// A disabled trunk stays as it is.
pub fn check_enabled(trunk: &Model) -> Result<()> {
    if trunk.admin_state_up {
        return Ok(());
    }
    Err(conflict("TrunkDisabled", format!("Trunk {} is currently disabled.", trunk.id)))
}

/// Makes ports part of a trunk.
pub async fn join(tx: &Tx<'_>, ctx: &Context, trunk: &Model, parent: &ports::Model, wanted: Vec<Wanted>) -> Result<()> {
    let carrier: networks::Model = locked(tx.db, &parent.network_id).await?;
    for wish in wanted {
        let port: ports::Model = changeable(tx.db, ctx, "update_port", &wish.port_id).await?;
        check_unused(tx, &port.id).await?;
        if !port.device_id.is_empty() || !port.host_id.is_empty() {
            let message = format!("Port {} is currently in use and is not eligible for use as a subport.", port.id);
            return Err(conflict("PortInUse", message));
        }
        let network: networks::Model = locked(tx.db, &port.network_id).await?;
        if network.mtu > carrier.mtu {
            let message = format!(
                "MTU {} of subport {} cannot be greater than MTU {} of trunk port {}.",
                network.mtu, port.id, carrier.mtu, parent.id
            );
            return Err(conflict("SubPortMtuGreaterThanTrunkPortMtu", message));
        }
        let (kind, tag) = tag(&wish, &network)?;
        let insert =
            "INSERT INTO subports (port_id, trunk_id, segmentation_type, segmentation_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let values = [port.id.as_str().into(), trunk.id.as_str().into(), kind.into(), tag.into()];
        if sql::execute(tx.db, insert, values).await? == 0 {
            let message = format!("segmentation_type {kind} and segmentation_id {tag} already in use on trunk {}.", trunk.id);
            return Err(conflict("DuplicateSubPort", message));
        }
        place(tx, port, &parent.host_id, SUBPORT, &trunk.id).await?;
    }
    Ok(())
}

/// The tag that is asked for, or that of the port's own network.
fn tag(wish: &Wanted, network: &networks::Model) -> Result<(&'static str, i64)> {
    let (kind, id) = match (wish.segmentation_type.as_deref(), wish.segmentation_id) {
        (Some("inherit"), _) if network.network_type == "vlan" => ("vlan", network.segmentation_id.unwrap_or_default()),
        (Some("vlan"), Some(id)) => ("vlan", id),
        (Some("vlan" | "inherit") | None, _) => {
            let message = "Invalid input for operation: Invalid subport details: missing segmentation information. \
                           Must specify both segmentation_id and segmentation_type.";
            return Err(bad_request("InvalidInput", message));
        }
        (Some(other), _) => {
            let message = format!("Invalid input for operation: Unknown segmentation type: {other}.");
            return Err(bad_request("InvalidInput", message));
        }
    };
    if !VLANS.contains(&id) {
        return Err(bad_request("InvalidInput", format!("Invalid input for operation: Invalid segmentation id: {id}.")));
    }
    Ok((kind, id))
}

async fn leave(tx: &Tx<'_>, trunk: &Model, port: &str) -> Result<()> {
    let delete = "DELETE FROM subports WHERE port_id = $1 AND trunk_id = $2";
    if sql::execute(tx.db, delete, [port.into(), trunk.id.as_str().into()]).await? == 0 {
        let message = format!("SubPort {port} on trunk {} could not be found.", trunk.id);
        return Err(Error::not_found(message).code("SubPortNotFound"));
    }
    match crate::resource::fetch::<ports::Model, _>(tx.db, port).await? {
        Some(port) => place(tx, port, "", "", "").await,
        None => Ok(()),
    }
}

/// Frees all subports.
pub async fn leave_all(tx: &Tx<'_>, trunk: &Model) -> Result<()> {
    for subport in of(tx.db, std::slice::from_ref(&trunk.id)).await? {
        leave(tx, trunk, &subport.port_id).await?;
    }
    Ok(())
}
