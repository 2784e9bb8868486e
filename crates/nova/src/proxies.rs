//! The old proxies, until 2.35: clients of that time ask nova for images and networks, and nova asks the neighbour with their token.

use kit::{Context, Error, Path, Query, Reply, Result};
use sdk::image::ImageInfo;
use serde_json::{Value, json};

use crate::Nova;
use crate::servers::view::links;

/// An image in nova's form.
fn image_view(ctx: &Context, image: &ImageInfo) -> Value {
    let (status, progress) = match image.status.as_str() {
        "queued" => ("SAVING", 25),
        "saving" | "importing" | "uploading" => ("SAVING", 50),
        "active" => ("ACTIVE", 100),
        "deleted" | "pending_delete" => ("DELETED", 0),
        "killed" => ("ERROR", 0),
        _ => ("UNKNOWN", 0),
    };
    json!({
        "id": image.id, "name": image.name, "minRam": image.min_ram, "minDisk": image.min_disk, "metadata": image.properties(),
        "created": image.created_at, "updated": image.updated_at, "status": status, "progress": progress,
        "OS-EXT-IMG-SIZE:size": image.size.unwrap_or(0), "links": links(ctx, "images", &image.id),
    })
}

/// `GET /images/{id}`
pub async fn show_image(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let image = sdk::found(app.cloud.image.show(&ctx.auth(), &id.0).await)?;
    let image = image.ok_or_else(|| Error::not_found("Image not found."))?;
    Reply::ok(&json!({"image": image_view(&ctx, &image)}))
}

/// `GET /images`
pub async fn list_images(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let images = images(&app, &ctx, &query).await?;
    let brief: Vec<Value> = images.iter().map(|i| json!({"id": i.id, "name": i.name, "links": links(&ctx, "images", &i.id)})).collect();
    Reply::ok(&json!({"images": brief}))
}

/// `GET /images/detail`
pub async fn detail_images(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let images = images(&app, &ctx, &query).await?;
    Reply::ok(&json!({"images": images.iter().map(|image| image_view(&ctx, image)).collect::<Vec<_>>()}))
}

async fn images(app: &Nova, ctx: &Context, query: &Query) -> Result<Vec<ImageInfo>> {
    let name: Vec<(&str, &str)> = query.get("name").map(|name| ("name", name)).into_iter().collect();
    Ok(app.cloud.image.list(&ctx.auth(), &name).await?)
}

/// `DELETE /images/{id}`
pub async fn delete_image(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    match sdk::found(app.cloud.image.delete(&ctx.auth(), &id.0).await)? {
        Some(()) => Reply::no_content(),
        None => Err(Error::not_found("Image not found.")),
    }
}

/// `GET /os-networks` and `/os-tenant-networks`
pub async fn list_networks(app: Nova, ctx: Context) -> Result<Reply> {
    let networks = app.cloud.network.usable_networks(&ctx.auth(), ctx.project_id()?).await?;
    let networks: Vec<Value> = networks.iter().map(|n| json!({"id": n.id, "label": n.name, "cidr": "None"})).collect();
    Reply::ok(&json!({"networks": networks}))
}

/// `GET /os-networks/{id}`
pub async fn show_network(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let network = app.cloud.network.network(&ctx.auth(), &id.0).await?;
    let network = network.ok_or_else(|| Error::not_found(format!("Network {} could not be found.", id.0)))?;
    Reply::ok(&json!({"network": {"id": network.id, "label": network.name, "cidr": "None"}}))
}

/// `GET /os-floating-ip-pools`
pub async fn floating_ip_pools(app: Nova, ctx: Context) -> Result<Reply> {
    let pools = app.cloud.network.networks(&ctx.auth(), &[("router:external", "True")]).await?;
    Reply::ok(&json!({"floating_ip_pools": pools.iter().map(|n| json!({"name": n.name})).collect::<Vec<_>>()}))
}

/// `GET /os-floating-ips`
pub async fn list_floating_ips(app: Nova, ctx: Context) -> Result<Reply> {
    let all = app.cloud.network.floating_ips(&ctx.auth(), &[("project_id", ctx.project_id()?)]).await?;
    let ports: Vec<String> = all.iter().filter_map(|ip| ip.port_id.clone()).collect();
    let mut shown = Vec::new();
    for ip in &all {
        let server = match &ip.port_id {
            Some(port) if ports.contains(port) => app.cloud.network.port(&ctx.auth(), port).await?.map(|port| port.device_id),
            _ => None,
        };
        shown.push(json!({
            "id": ip.id, "ip": ip.floating_ip_address, "fixed_ip": ip.fixed_ip_address, "pool": ip.floating_network_id,
            "instance_id": server.filter(|id| !id.is_empty()),
        }));
    }
    Reply::ok(&json!({"floating_ips": shown}))
}

/// `GET /os-security-groups`
pub async fn list_security_groups(app: Nova, ctx: Context) -> Result<Reply> {
    let groups = app.cloud.network.security_groups(&ctx.auth(), &[("project_id", ctx.project_id()?)]).await?;
    let groups: Vec<Value> = groups
        .iter()
        .map(|g| json!({"id": g.id, "name": g.name, "description": g.description, "tenant_id": g.project_id, "rules": []}))
        .collect();
    Reply::ok(&json!({"security_groups": groups}))
}
