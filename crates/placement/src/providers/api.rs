//! `/resource_providers`

use std::collections::HashSet;

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Error, Path, Query, Reply, Result, ids};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::filters::{Needs, has_room, member_of, required, resources};
use super::store;
use crate::entity::provider;
use crate::input::{Body, only, query_uuid, uuid};
use crate::{Placement, answer, classes, microversions as mv, traits};

/// Body of `POST /resource_providers`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateProvider {
    name: String,
    uuid: Option<String>,
    parent_provider_uuid: Option<String>,
}

/// Body of `PUT /resource_providers/{uuid}`. Absent and null parents differ.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateProvider {
    name: String,
    #[serde(default, deserialize_with = "present")]
    parent_provider_uuid: Option<Option<String>>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub async fn list(app: Placement, ctx: Context, query: Query) -> Result<Reply> {
    let mut known = vec!["name", "uuid"];
    for (key, since) in
        [("member_of", mv::MEMBER_OF), ("resources", mv::RESOURCES), ("in_tree", mv::NESTED), ("required", mv::REQUIRED_PROVIDERS)]
    {
        if ctx.speaks(since) {
            known.push(key);
        }
    }
    only(&query, &known)?;
    let mut needs = Needs::default();
    for text in required(&query, "required", ctx.speaks(mv::ANY_TRAITS)) {
        needs.require(text, ctx.speaks(mv::ANY_TRAITS), ctx.speaks(mv::FORBIDDEN_TRAITS))?;
    }
    for text in member_of(&query, "member_of", ctx.speaks(mv::REPEATED_MEMBER_OF))? {
        needs.belong("member_of", text, ctx.speaks(mv::FORBIDDEN_AGGREGATES))?;
    }
    traits::check_known(app.db.read(), needs.traits()).await?;
    let mut condition = needs.condition();
    if let Some(name) = query.get("name") {
        condition = condition.add(provider::Column::Name.eq(name));
    }
    if let Some(text) = query.get("uuid") {
        condition = condition.add(provider::Column::Uuid.eq(query_uuid("uuid", text)?));
    }
    if let Some(text) = query.get("in_tree") {
        condition = condition.add(match provider::Entity::find_by_id(query_uuid("in_tree", text)?).one(app.db.read()).await? {
            Some(member) => provider::Column::RootUuid.eq(member.root_uuid),
            None => return answer::ok(&ctx, Timestamp::now(), &json!({"resource_providers": []})),
        });
    }
    if let Some(text) = query.get("resources") {
        let wanted = resources(text)?;
        classes::check_known(app.db.read(), wanted.keys()).await?;
        condition = wanted.iter().fold(condition, |all, (class, amount)| all.add(has_room(class, *amount)));
    }
    let rows = fetch_all(&app, condition).await?;
    let modified = rows.iter().map(|row| row.updated_at).max().unwrap_or_else(Timestamp::now);
    let views: Vec<Value> = rows.iter().map(|row| view(&ctx, row)).collect();
    answer::ok(&ctx, modified, &json!({"resource_providers": views}))
}

async fn fetch_all(app: &Placement, condition: Condition) -> Result<Vec<provider::Model>> {
    Ok(provider::Entity::find().filter(condition).order_by_asc(provider::Column::Name).all(app.db.read()).await?)
}

pub async fn show(app: Placement, ctx: Context, id: Path<String>) -> Result<Reply> {
    let provider = store::fetch(app.db.read(), &id.0).await?;
    answer::ok(&ctx, provider.updated_at, &view(&ctx, &provider))
}

pub async fn create(app: Placement, ctx: Context, body: Body<CreateProvider>) -> Result<Reply> {
    let CreateProvider { name, uuid: own, parent_provider_uuid } = body.0;
    check_name(&name)?;
    if parent_provider_uuid.is_some() {
        nested(&ctx)?;
    }
    let own = own.map(|text| uuid("uuid", &text)).transpose()?.unwrap_or_else(ids::uuid);
    let parent = parent_provider_uuid.map(|text| uuid("parent_provider_uuid", &text)).transpose()?;
    let provider = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let root_uuid = match &parent {
                    Some(parent) => parent_of(store::fetch(tx, parent).await)?.root_uuid,
                    None => own.clone(),
                };
                let now = Timestamp::now();
                let provider =
                    provider::Model { uuid: own, name, generation: 0, root_uuid, parent_uuid: parent, created_at: now, updated_at: now };
                store::insert(tx, provider.clone()).await?;
                Ok(provider)
            })
        })
        .await?;
    let location = ctx.link(&format!("/resource_providers/{}", provider.uuid));
    let reply = if ctx.speaks(mv::CREATED_BODY) {
        answer::ok(&ctx, provider.updated_at, &view(&ctx, &provider))?
    } else {
        Reply::empty(StatusCode::CREATED)
    };
    Ok(reply.header("location", &location))
}

pub async fn update(app: Placement, ctx: Context, id: Path<String>, body: Body<UpdateProvider>) -> Result<Reply> {
    let UpdateProvider { name, parent_provider_uuid } = body.0;
    check_name(&name)?;
    if parent_provider_uuid.is_some() {
        nested(&ctx)?;
    }
    let parent = match parent_provider_uuid {
        Some(Some(text)) => Some(Some(uuid("parent_provider_uuid", &text)?)),
        Some(None) => Some(None),
        None => None,
    };
    let freely = ctx.speaks(mv::REPARENT);
    let provider = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let provider = store::fetch(tx, &id.0).await?;
                if name != provider.name {
                    store::rename(tx, &provider.uuid, &name).await?;
                }
                if let Some(parent) = parent
                    && parent != provider.parent_uuid
                {
                    reparent(tx, &provider, parent, freely).await?;
                }
                // neither moves the generation: it is of what the provider has, not of what it is called
                store::fetch(tx, &provider.uuid).await
            })
        })
        .await?;
    answer::ok(&ctx, provider.updated_at, &view(&ctx, &provider))
}

/// Moves a provider and what hangs on it under another parent, or makes it a root.
async fn reparent(tx: &sea_orm::DatabaseTransaction, moved: &provider::Model, parent: Option<String>, freely: bool) -> Result<()> {
    if !freely && moved.parent_uuid.is_some() {
        let what = if parent.is_none() {
            "un-parenting a provider is not currently allowed."
        } else {
            "re-parenting a provider is not currently allowed."
        };
        return Err(Error::bad_request(format!(
            "Unable to save resource provider '{}': Object action update failed because: {what}",
            moved.uuid
        )));
    }
    let tree = store::trees(tx, std::slice::from_ref(&moved.root_uuid)).await?;
    let below = below(&tree, &moved.uuid);
    let root = match &parent {
        Some(parent) if below.contains(parent) => {
            return Err(Error::bad_request(format!(
                "Unable to save resource provider '{}': Object action update failed because: creating loop in the provider tree is not allowed.",
                moved.uuid
            )));
        }
        Some(parent) => parent_of(store::fetch(tx, parent).await)?.root_uuid,
        None => moved.uuid.clone(),
    };
    store::hang(tx, &moved.uuid, parent.as_deref(), below.into_iter().collect(), &root).await
}

/// A provider and everything under it.
fn below(tree: &[provider::Model], top: &str) -> HashSet<String> {
    let mut found = HashSet::from([top.to_owned()]);
    loop {
        let before = found.len();
        let next = tree.iter().filter(|p| p.parent_uuid.as_ref().is_some_and(|parent| found.contains(parent)));
        let next: Vec<String> = next.map(|p| p.uuid.clone()).collect();
        found.extend(next);
        if found.len() == before {
            return found;
        }
    }
}

pub async fn delete(app: Placement, _: Context, id: Path<String>) -> Result<Reply> {
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let provider = store::fetch(tx, &id.0).await?;
                store::delete(tx, &provider.uuid).await
            })
        })
        .await?;
    Reply::no_content()
}

/// A provider as clients see it at their version.
pub fn view(ctx: &Context, provider: &provider::Model) -> Value {
    let own = format!("{}/resource_providers/{}", ctx.prefix, provider.uuid);
    let mut links = vec![json!({"rel": "self", "href": own})];
    let since = [
        ("inventories", mv::VERSIONS.min),
        ("usages", mv::VERSIONS.min),
        ("aggregates", mv::AGGREGATES),
        ("traits", mv::TRAITS),
        ("allocations", mv::ALLOCATIONS_LINK),
    ];
    for (rel, _) in since.iter().filter(|(_, since)| ctx.speaks(*since)) {
        links.push(json!({"rel": rel, "href": format!("{own}/{rel}")}));
    }
    let mut view = json!({"uuid": provider.uuid, "name": provider.name, "generation": provider.generation, "links": links});
    if ctx.speaks(mv::NESTED)
        && let Some(view) = view.as_object_mut()
    {
        view.insert("parent_provider_uuid".into(), json!(provider.parent_uuid));
        view.insert("root_provider_uuid".into(), json!(provider.root_uuid));
    }
    view
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::bad_request(format!("JSON does not validate: '{name}' is too long or too short (1 to 200 characters)")));
    }
    Ok(())
}

fn nested(ctx: &Context) -> Result<()> {
    if ctx.speaks(mv::NESTED) {
        return Ok(());
    }
    Err(Error::bad_request("JSON does not validate: Additional properties are not allowed ('parent_provider_uuid' was unexpected)"))
}

/// A parent that is not there is the client's mistake, not a missing page.
fn parent_of(found: Result<provider::Model>) -> Result<provider::Model> {
    found.map_err(|error| if error.is_not_found() { Error::bad_request("parent provider UUID does not exist.") } else { error })
}
