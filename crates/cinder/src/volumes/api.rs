//! Listing, showing and changing volumes.

use std::collections::BTreeMap;

use kit::call::Wrapper;
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result, Versioned};
use sea_orm::Set;
use serde::Deserialize;
use serde_json::json;

use super::{ActiveModel, Status, Volume, filters, store, view};
use crate::Cinder;
use crate::body::{Body, given, text};
use crate::microversions::SUMMARY_METADATA;
use crate::page::{self, Rows};

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = fetch_page(&app, &ctx, &query).await?;
    page.map(|volume| view::brief(&ctx, &volume)).reply(&ctx, &query, "/volumes", "volumes", "volumes_links")
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut page = fetch_page(&app, &ctx, &query).await?;
    let rows = view::many(&app, &ctx, page.take()).await?;
    page.with(rows).reply(&ctx, &query, "/volumes/detail", "volumes", "volumes_links")
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let volume = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"volume": view::one(&app, &ctx, volume).await?}))
}

pub async fn summary(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let volumes = filters::select(&ctx, &query)?.all(app.db().read()).await?;
    let mut summary = json!({"total_count": volumes.len(), "total_size": volumes.iter().map(|v| v.size).sum::<i64>()});
    if ctx.speaks(SUMMARY_METADATA) {
        let ids: Vec<String> = volumes.into_iter().map(|volume| volume.id).collect();
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in store::metadata_of(app.db().read(), &ids).await?.into_iter().filter(|pair| pair.kind == store::Kind::User.text()) {
            let values = values.entry(pair.key).or_default();
            if !values.contains(&pair.value) {
                values.push(pair.value);
            }
        }
        summary["metadata"] = json!(values);
    }
    Reply::ok(&json!({"volume-summary": summary}))
}

/// `PUT /volumes/{id}`
#[derive(Deserialize, Versioned)]
pub struct UpdateVolume {
    #[serde(default, deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    display_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    display_description: Option<Option<String>>,
    metadata: Option<BTreeMap<String, String>>,
}

impl Wrapper for UpdateVolume {
    const KEY: &'static str = "volume";
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<UpdateVolume>) -> Result<Reply> {
    let volume = find(&app, &ctx, &id).await?;
    let (name, description) = (body.name.or(body.display_name), body.description.or(body.display_description));
    if ctx.strict && name.is_none() && description.is_none() && body.metadata.is_none() {
        return Err(Error::bad_request(
            "Invalid input for field/attribute volume. Value: {}. {} is not valid under any of the given schemas",
        ));
    }
    if volume.status == Status::Maintenance {
        return Err(store::invalid("The volume cannot be updated during maintenance."));
    }
    let mut row = ActiveModel { ..Default::default() };
    if let Some(name) = name {
        row.name = Set(text("name", name)?);
    }
    if let Some(description) = description {
        row.description = Set(text("description", description)?);
    }
    if let Some(metadata) = body.metadata {
        super::metadata::check(&metadata)?;
        super::metadata::write(&app, &volume.id, store::Kind::User, metadata, true).await?;
    }
    store::update(&app, &volume.id, row).await?;
    let volume = store::fetch(app.db().read(), &id).await?;
    Reply::ok(&json!({"volume": view::changed(&app, &ctx, volume).await?}))
}

/// A volume that the caller may see and on which the route's rule lets the caller act.
pub async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<Volume> {
    find_for(app, ctx, id, ctx.rule).await
}

/// The same with a rule of its own; who may not even see the volume learns nothing of it.
pub async fn find_for(app: &Cinder, ctx: &Context, id: &str, rule: &str) -> Result<Volume> {
    let volume = store::fetch(app.db().read(), id).await?;
    let target = Target::project(&volume.project_id).with("user_id", &volume.user_id);
    if !ctx.allows("volume:get", &target) {
        return Err(store::not_found(id));
    }
    ctx.enforce(rule, &target)?;
    Ok(volume)
}

async fn fetch_page(app: &Cinder, ctx: &Context, query: &Query) -> Result<Rows<Volume>> {
    page::fetch(app.db().read(), ctx, query, filters::select(ctx, query)?, filters::SORTS).await
}
