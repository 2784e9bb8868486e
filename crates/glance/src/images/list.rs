//! `GET /images`: a page of what the caller sees.

mod filter;
mod order;

use kit::collection::{Page, cut, next_href};
use kit::{Context, Error, Query, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Value, json};

use super::{seen, store, view};
use crate::Glance;
use crate::entity::image;

const PAGE: u64 = 25;
const PAGE_MAX: u64 = 1000;

pub async fn list(app: Glance, ctx: Context, query: Query) -> Result<Reply> {
    let page = Page::parse(&query, PAGE, PAGE_MAX)?;
    if query.has("changes-since") {
        return Err(Error::bad_request("The \"changes-since\" filter is no longer available on v2."));
    }
    let sort = order::columns(&page, &query)?;
    let mut condition = filter::visible(&ctx, &query)?;
    for (key, value) in &query.0 {
        if let Some(more) = filter::condition(key, value)? {
            condition = condition.add(more);
        }
    }
    if !query.has("os_hidden") {
        condition = condition.add(image::Column::OsHidden.eq(false));
    }
    if let Some(marker) = &page.marker {
        let (image, _) = seen(&app, &ctx, marker).await.map_err(|error| Error::bad_request(error.message))?;
        condition = condition.add(order::behind(&sort, &image.row));
    }
    let mut select = image::Entity::find().filter(condition).limit(page.limit + 1);
    for (column, ascending) in &sort {
        select = select.order_by(order::expression(*column), if *ascending { Order::Asc } else { Order::Desc });
    }
    let mut rows = select.all(app.db.read()).await?;
    let more = cut(&mut rows, page.limit);
    let images = store::complete(app.db.read(), rows).await?;
    let views: Vec<Value> = images.iter().map(|image| view::view(&app, &ctx, image)).collect();
    let rest = query.without(&["marker"]);
    let first = if rest.is_empty() { "/v2/images".to_owned() } else { format!("/v2/images?{rest}") };
    let mut body = json!({"images": views, "first": first, "schema": "/v2/schemas/images"});
    if let (true, Some(last), Some(body)) = (more, images.last(), body.as_object_mut()) {
        body.insert("next".into(), next_href("/v2/images", &query, &last.row.id).into());
    }
    Reply::ok(&body)
}
