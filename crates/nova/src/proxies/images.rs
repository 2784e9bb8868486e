//! `/images`, until 2.35: glance's images in nova's form.

use kit::clock::Timestamp;
use kit::{Context, Error, Path, Query, Reply, Result};
use sdk::image::ImageInfo;
use serde_json::{Value, json};

use crate::Nova;
use crate::servers::view::links;

/// Nova's status of an image and glance's.
const STATUSES: &[(&str, &str)] = &[("SAVING", "queued"), ("ACTIVE", "active"), ("DELETED", "deleted"), ("ERROR", "killed")];

/// An image in nova's form.
fn view(ctx: &Context, image: &ImageInfo) -> Value {
    let (status, progress) = match image.status.as_str() {
        "queued" => ("SAVING", 25),
        "saving" | "importing" | "uploading" => ("SAVING", 50),
        "active" => ("ACTIVE", 100),
        "deleted" | "pending_delete" => ("DELETED", 0),
        "killed" => ("ERROR", 0),
        _ => ("UNKNOWN", 0),
    };
    let metadata = image.properties();
    let mut links = links(ctx, "images", &image.id);
    if let Some(links) = links.as_array_mut() {
        let href = format!("{}/images/{}", ctx.base_url, image.id);
        links.push(json!({"rel": "alternate", "type": "application/vnd.openstack.image", "href": href}));
    }
    let mut view = json!({
        "id": image.id, "name": image.name, "minRam": image.min_ram, "minDisk": image.min_disk, "metadata": metadata,
        "created": image.created_at, "updated": image.updated_at, "status": status, "progress": progress,
        "OS-EXT-IMG-SIZE:size": image.size.unwrap_or(0), "links": links,
    });
    if let Some(server) = metadata.get("instance_uuid") {
        view["server"] = json!({"id": server, "links": crate::servers::view::links(ctx, "servers", server)});
    }
    view
}

/// `GET /images/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let image = sdk::found(app.cloud.image.show(&ctx.auth(), &id.0).await)?.ok_or_else(missing)?;
    Reply::ok(&json!({"image": view(&ctx, &image)}))
}

/// `GET /images`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let brief = |i: &ImageInfo| json!({"id": i.id, "name": i.name, "links": links(&ctx, "images", &i.id)});
    answer(&app, &ctx, &query, "/images", brief).await
}

/// `GET /images/detail`
pub async fn detail(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    answer(&app, &ctx, &query, "/images/detail", |image| view(&ctx, image)).await
}

async fn answer(app: &Nova, ctx: &Context, query: &Query, path: &str, view: impl Fn(&ImageInfo) -> Value) -> Result<Reply> {
    let page = kit::collection::Page::parse(query, app.config.max_limit, app.config.max_limit)?;
    let images = images(app, ctx, query, &page).await?;
    let mut body = json!({"images": images.iter().map(view).collect::<Vec<_>>()});
    if let Some(last) = images.last().filter(|_| images.len() as u64 == page.limit) {
        body["images_links"] = json!([{"rel": "next", "href": kit::collection::next_href(&ctx.link(path), query, &last.id)}]);
    }
    Reply::ok(&body)
}

/// The images that match, asked of glance in its own words.
async fn images(app: &Nova, ctx: &Context, query: &Query, page: &kit::collection::Page) -> Result<Vec<ImageInfo>> {
    let mut asked: Vec<(&str, String)> = vec![("limit", page.limit.to_string())];
    asked.extend(page.marker.clone().map(|marker| ("marker", marker)));
    for (key, value) in &query.0 {
        match key.as_str() {
            "name" => asked.push(("name", value.clone())),
            "status" => {
                let status = STATUSES.iter().find(|(nova, _)| nova.eq_ignore_ascii_case(value)).map_or("none", |(_, glance)| *glance);
                asked.push(("status", status.to_owned()));
            }
            "minRam" => asked.push(("min_ram", value.clone())),
            "minDisk" => asked.push(("min_disk", value.clone())),
            "type" => asked.push(("image_type", value.clone())),
            "server" => asked.push(("instance_uuid", crate::validate::id_of(value).to_owned())),
            "changes-since" => {
                let since = Timestamp::parse(value).ok_or_else(|| Error::bad_request("Invalid changes-since value"))?;
                asked.push(("updated_at", format!("gte:{}", since.to_seconds_z())));
            }
            property => asked.extend(property.strip_prefix("property-").map(|name| (name, value.clone()))),
        }
    }
    let asked: Vec<(&str, &str)> = asked.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Ok(app.cloud.image.page(&ctx.auth(), &asked).await?.images)
}

/// `DELETE /images/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    sdk::found(app.cloud.image.delete(&ctx.auth(), &id.0).await)?.ok_or_else(missing)?;
    Reply::no_content()
}

/// What the caller is told of an image that is not there, or not theirs to see.
pub fn missing() -> Error {
    Error::not_found("Image not found.")
}
