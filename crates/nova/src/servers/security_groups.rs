//! The security groups of a server: those of its ports, which are neutron's.

use kit::db::Json;
use kit::{Context, Error, Path, Reply, Result};
use sdk::network::{Port, SecurityGroup, UpdatePort};
use sea_orm::Set;
use serde_json::{Value, json};

use super::actions::{Action, accepted};
use super::instance::{ActiveModel, Model};
use super::states::rules::SECURITY_GROUPS;
use super::store::{self, Guard};
use crate::Nova;

/// `{"addSecurityGroup": {"name": "web"}}`
pub async fn add(action: Action) -> Result<Reply> {
    change(action, |groups, id| {
        if !groups.iter().any(|g| g == id) {
            groups.push(id.to_owned());
        }
        true
    })
    .await
}

/// `{"removeSecurityGroup": {"name": "web"}}`
pub async fn remove(action: Action) -> Result<Reply> {
    change(action, |groups, id| {
        let before = groups.len();
        groups.retain(|group| group != id);
        groups.len() < before
    })
    .await
}

/// Changes the groups of all ports of the server, with the user's token; `edit` says whether it found what it looked for.
async fn change(action: Action, edit: fn(&mut Vec<String>, &str) -> bool) -> Result<Reply> {
    action.only(&["name"])?;
    let name = action.text("name")?.to_owned();
    let Action { app, ctx, server, .. } = action;
    SECURITY_GROUPS.check(&server, ctx.is_admin())?;
    let group = find(&app, &ctx, &name).await?;
    let mut found = false;
    for port in ports(&app, &ctx, &server).await?.into_iter().filter(|port| port.port_security_enabled != Some(false)) {
        let mut groups = port.security_groups.clone();
        found |= edit(&mut groups, &group.id);
        if groups != port.security_groups {
            let update = UpdatePort { security_groups: Some(groups), ..UpdatePort::default() };
            app.cloud.network.update_port(&ctx.auth(), &port.id, &update).await?;
        }
    }
    if !found {
        return Err(Error::not_found(format!("Security group {name} not associated with the instance {}", server.id)));
    }
    let mut shown = server.security_groups.0.clone();
    edit(&mut shown, &group.name);
    let change = ActiveModel { security_groups: Set(Json(shown)), ..Default::default() };
    store::save(&app, &server.id, Guard::default(), change).await?;
    Ok(accepted())
}

async fn find(app: &Nova, ctx: &Context, name: &str) -> Result<SecurityGroup> {
    let mut found = app.cloud.network.security_groups_named(&ctx.auth(), ctx.project_id()?, name).await?;
    match (found.pop(), found.is_empty()) {
        (Some(group), true) => Ok(group),
        (Some(_), false) => {
            Err(Error::conflict(format!("Multiple security groups found matching '{name}'. Use an ID to be more specific.")))
        }
        (None, _) => Err(Error::not_found(format!("Security group {name} not found for project {}.", ctx.project_id()?))),
    }
}

async fn ports(app: &Nova, ctx: &Context, server: &Model) -> Result<Vec<Port>> {
    Ok(app.cloud.network.ports(&ctx.auth(), &[("device_id", &server.id)]).await?)
}

/// `GET /servers/{id}/os-security-groups`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let mut ids: Vec<String> = ports(&app, &ctx, &server).await?.into_iter().flat_map(|port| port.security_groups).collect();
    ids.sort();
    ids.dedup();
    let query: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).collect();
    let groups = if query.is_empty() { Vec::new() } else { app.cloud.network.security_groups(&ctx.auth(), &query).await? };
    let groups: Vec<Value> = groups
        .iter()
        .map(|g| json!({"id": g.id, "name": g.name, "description": g.description, "tenant_id": g.project_id, "rules": []}))
        .collect();
    Reply::ok(&json!({"security_groups": groups}))
}
