//! `/v3/projects`

use kit::call::{Json, Path, Query};
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Column, Entity, Model, OPTIONS, store, tags, tree, view};
use crate::fields::{Extra, Fields, options};
use crate::policy::scope;
use crate::{Keystone, domains, fault, list};

/// `GET /v3/projects`; domains only with `is_domain=true`.
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let domain = domains::asked_for(&ctx, &query)?;
    ctx.authorize(&Target::new().with("domain_id", domain.as_deref().unwrap_or_default()))?;
    let domains_wanted = query.flag("is_domain");
    let mut select = Entity::find()
        .filter(list::by_text(&query, "name", Column::Name))
        .filter(list::by_flag(&query, "enabled", Column::Enabled))
        .filter(Column::IsDomain.eq(domains_wanted));
    // domains are in none
    if let Some(domain) = if domains_wanted { Some(String::new()) } else { domain } {
        select = select.filter(Column::DomainId.eq(domain));
    }
    if let Some(parent) = query.get("parent_id") {
        select = select.filter(Column::ParentId.eq(parent));
    }
    select = select.filter(tags::wanted(&query)?);
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |project: &Model| &project.id).await?;
    let items = page.rows.iter().map(|project| view::project(&ctx, project)).collect();
    list::envelope(&ctx, "/projects", &query, "projects", items, page.next)
}

/// `GET /v3/projects/{project_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let project = known(&keystone, &ctx, &id).await?;
    let mut object = view::project(&ctx, &project);
    tree::add(keystone.db.read(), &ctx, &query, &project, &mut object).await?;
    Reply::ok(&json!({"project": object}))
}

/// `POST /v3/projects`: below a parent, or at the top of a domain.
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = domains::fields_of_new(&ctx, body, "project")?;
    if fields.flag("is_domain")?.unwrap_or(false) {
        ctx.enforce("identity:create_domain", &scope(&ctx))?;
        let domain = domains::new_domain(fields)?;
        let domain = keystone.write(move |tx| Box::pin(store::insert(tx, domain))).await?;
        return Reply::created(&json!({"project": view::project(&ctx, &domain)}));
    }
    let parent_id = fields.text("parent_id")?.flatten();
    let parent = match &parent_id {
        Some(id) => Some(Entity::find_by_id(id).one(keystone.db.read()).await?.ok_or_else(|| fault::could_not_find("project", id))?),
        None => None,
    };
    let of_parent = parent.as_ref().map(|parent| if parent.is_domain { parent.id.clone() } else { parent.domain_id.clone() });
    let domain_id = match fields.text("domain_id")?.flatten().or_else(|| of_parent.clone()) {
        Some(id) => id,
        None => domains::of_new(&ctx, None)?,
    };
    ctx.authorize(&Target::new().with("domain_id", &domain_id))?;
    if of_parent.is_some_and(|of_parent| of_parent != domain_id) {
        return Err(Error::bad_request("Cannot create project, since it specifies its domain_id as another than its parent's."));
    }
    let project = Model {
        id: ids::hex(),
        name: fields.name("name", 64)?.ok_or_else(|| Error::bad_request("'name' is a required property"))?,
        parent_id: Some(parent_id.unwrap_or_else(|| domain_id.clone())),
        domain_id,
        is_domain: false,
        description: fields.text("description")?.flatten().unwrap_or_default(),
        enabled: fields.flag("enabled")?.unwrap_or(true),
        tokens_valid_from: Timestamp::default(),
        tags: kit::db::Json(tags::checked(&fields.list("tags")?.unwrap_or_default())?),
        options: options(fields.object("options")?, &Extra::default(), OPTIONS)?,
        extra: fields.extra(),
    };
    let project = keystone.write(move |tx| Box::pin(insert(tx, project))).await?;
    Reply::created(&json!({"project": view::project(&ctx, &project)}))
}

/// `PATCH /v3/projects/{project_id}`: disabling makes the tokens for it void.
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let project = known(&keystone, &ctx, &id).await?;
    let before = project.enabled;
    let project = changed(project, Fields::of(body, "project")?)?;
    let project = keystone
        .write(move |tx| {
            Box::pin(async move {
                if project.enabled != before && !project.is_domain {
                    tree::can_turn(tx, &project).await?;
                }
                store::update(tx, project).await
            })
        })
        .await?;
    Reply::ok(&json!({"project": view::project(&ctx, &project)}))
}

/// `DELETE /v3/projects/{project_id}`: one without projects below it; one that is a domain, with all that is in it.
pub async fn delete(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let project = known(&keystone, &ctx, &id).await?;
    if project.is_immutable() {
        return Err(immutable("project", &id));
    }
    if project.is_domain && project.enabled {
        let words = format!("cannot delete an enabled project acting as a domain. Please disable the project {id} first.");
        return Err(Error::bad_request(words));
    }
    keystone
        .write(move |tx| {
            Box::pin(async move {
                if store::has_children(tx, &id).await? {
                    return Err(fault::refused(&format!("cannot delete the project {id} since it is not a leaf in the hierarchy.")));
                }
                if project.is_domain { domains::remove(tx, &id).await } else { store::delete(tx, &[id]).await }
            })
        })
        .await?;
    Reply::no_content()
}

/// A project the caller may know of; to others one that is not theirs and one that does not exist are the same.
pub async fn known(keystone: &Keystone, ctx: &Context, id: &str) -> Result<Model> {
    let project = store::fetch(keystone.db.read(), id).await;
    let domain = project.as_ref().map(|project| project.domain_id.clone()).unwrap_or_default();
    ctx.authorize(&Target::new().with("project.id", id).with("domain_id", &domain))?;
    project
}

/// A project or domain with the changes of a PATCH.
pub fn changed(project: Model, mut fields: Fields) -> Result<Model> {
    let kind = if project.is_domain { "domain" } else { "project" };
    let sent_options = fields.object("options")?;
    let unlocked = sent_options.as_ref().is_some_and(|sent| matches!(sent.get("immutable"), Some(Value::Null | Value::Bool(false))));
    if project.is_immutable() && !unlocked {
        return Err(immutable(kind, &project.id));
    }
    fields.same("domain_id", &project.domain_id)?;
    fields.same("parent_id", project.parent_id.as_deref().unwrap_or_default())?;
    if fields.flag("is_domain")?.is_some_and(|is_domain| is_domain != project.is_domain) {
        return Err(Error::bad_request("Invalid input for field 'is_domain': it cannot be changed"));
    }
    let enabled = fields.flag("enabled")?.unwrap_or(project.enabled);
    if !enabled && project.id == crate::DEFAULT_DOMAIN {
        return Err(fault::refused("the default domain cannot be disabled."));
    }
    let tags = match fields.list("tags")? {
        Some(sent) => kit::db::Json(tags::checked(&sent)?),
        None => project.tags.clone(),
    };
    Ok(Model {
        name: fields.name("name", 64)?.unwrap_or_else(|| project.name.clone()),
        description: fields.text("description")?.map_or_else(|| project.description.clone(), Option::unwrap_or_default),
        enabled,
        tokens_valid_from: if enabled { project.tokens_valid_from } else { Timestamp::now() },
        tags,
        options: options(sent_options, &project.options, OPTIONS)?,
        extra: fields.extra_over(&project.extra),
        ..project
    })
}

/// 403 for what an administrator has protected.
pub fn immutable(kind: &str, id: &str) -> Error {
    fault::refused(&format!("cannot change {kind} {id}: it has the option `immutable`."))
}

/// The parent may have gone or been disabled since it was looked at.
async fn insert(tx: &DatabaseTransaction, project: Model) -> Result<Model> {
    let domain = store::domain(tx, &project.domain_id).await?;
    let parent = match &project.parent_id {
        Some(id) if *id != domain.id => store::fetch(tx, id).await?,
        Some(_) | None => domain.clone(),
    };
    if tree::depth(tx, &parent).await? >= tree::DEEPEST {
        return Err(Error::forbidden(format!("Max hierarchy depth reached for {} branch.", parent.id)));
    }
    if project.enabled && !(domain.enabled && parent.enabled) {
        return Err(fault::refused(&format!("cannot create a project under {}: it is disabled.", parent.id)));
    }
    store::insert(tx, project).await
}
