//! `/v3/OS-TRUST/trusts`

use kit::call::{Json, Path, Query};
use kit::clock::Timestamp;

use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Column, Entity, Model, store};
use crate::fields::Fields;
use crate::policy::scope;
use crate::reference::Reference;
use crate::tokens::delegation;
use crate::{Keystone, fault, list, projects, roles, tokens, users};

/// How often a trust can be passed on at most.
const REDELEGATIONS: i64 = 3;

/// `GET /v3/OS-TRUST/trusts`: all for who may see all, else those the query names the caller in.
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let named = |key: &str| query.get(key).unwrap_or_default().to_owned();
    let (trustor, trustee) = (named("trustor_user_id"), named("trustee_user_id"));
    ctx.authorize(&scope(&ctx).with("trust.trustor_user_id", &trustor).with("trust.trustee_user_id", &trustee))?;
    let mut select = Entity::find().filter(store::current());
    for (column, asked) in [(Column::TrustorUserId, trustor), (Column::TrusteeUserId, trustee)] {
        if !asked.is_empty() {
            select = select.filter(column.eq(asked));
        }
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |trust: &Model| &trust.id).await?;
    let items = page.rows.iter().map(|trust| view(&ctx, trust, None)).collect();
    list::envelope(&ctx, "/OS-TRUST/trusts", &query, "trusts", items, page.next)
}

/// `GET /v3/OS-TRUST/trusts/{trust_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let trust = known(&keystone, &ctx, &id).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    Reply::ok(&json!({"trust": view(&ctx, &trust, Some(&reference))}))
}

/// `DELETE /v3/OS-TRUST/trusts/{trust_id}`
pub async fn delete(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let trust = known(&keystone, &ctx, &id).await?;
    keystone.write(move |tx| Box::pin(async move { store::end(tx, vec![trust.id]).await })).await?;
    Reply::no_content()
}

/// `GET /v3/OS-TRUST/trusts/{trust_id}/roles`
pub async fn roles(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let trust = known(&keystone, &ctx, &id).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let items = of_trust(&trust, &reference).map(|role| roles::api::view(&ctx, role)).collect();
    list::whole(&ctx, &format!("/OS-TRUST/trusts/{id}/roles"), &query, "roles", items)
}

/// `GET` and `HEAD /v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}`
pub async fn role(keystone: Keystone, ctx: Context, Path((id, role_id)): Path<(String, String)>) -> Result<Reply> {
    let trust = known(&keystone, &ctx, &id).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let role = of_trust(&trust, &reference).find(|role| role.id == role_id).ok_or_else(|| fault::could_not_find("role", &role_id))?;
    Reply::ok(&json!({"role": roles::api::view(&ctx, role)}))
}

/// `POST /v3/OS-TRUST/trusts`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    delegation::no_trusts(&keystone, &ctx).await?;
    let mut fields = Fields::of(body, "trust")?;
    let (trustor, trustee) = (fields.required("trustor_user_id")?, fields.required("trustee_user_id")?);
    let impersonation = fields.flag("impersonation")?.ok_or_else(|| Error::bad_request("'impersonation' is a required property"))?;
    ctx.authorize(&scope(&ctx).with("trust.trustor_user_id", &trustor))?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let asked = fields.list("roles")?.unwrap_or_default();
    let trust = Model {
        id: ids::hex(),
        trustor_user_id: trustor,
        trustee_user_id: trustee,
        project_id: fields.text("project_id")?.flatten(),
        impersonation,
        roles: kit::db::Json(named_roles(&reference, &asked)?),
        expires_at: fields.text("expires_at")?.flatten().map(|text| end(&text)).transpose()?,
        remaining_uses: uses(&mut fields)?,
        redelegated_trust_id: None,
        redelegation_count: redelegations(&mut fields)?,
        deleted_at: None,
        extra: fields.extra(),
    };
    if trust.remaining_uses.is_some() && trust.redelegation_count > 0 {
        return Err(Error::bad_request("remaining_uses must not be set if redelegation is allowed"));
    }
    let trust = passed_on(&keystone, &ctx, trust).await?;
    users::store::fetch(keystone.db.read(), &trust.trustee_user_id).await?;
    held(&keystone, &reference, &trust).await?;
    let trust = keystone.write(move |tx| Box::pin(store::insert(tx, trust))).await?;
    Reply::created(&json!({"trust": view(&ctx, &trust, Some(&reference))}))
}

/// Roles by id or name.
fn named_roles(reference: &Reference, asked: &[Value]) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    for role in asked {
        let text = |key: &str| role.get(key).and_then(Value::as_str);
        let found = match (text("id"), text("name")) {
            (Some(id), _) => reference.role(id).ok_or_else(|| fault::could_not_find("role", id))?,
            (None, Some(name)) => reference.global_role(name).ok_or_else(|| fault::could_not_find("role", name))?,
            (None, None) => return Err(Error::bad_request("Invalid input for field 'roles': a role needs an id or a name")),
        };
        if !ids.contains(&found.id) {
            ids.push(found.id.clone());
        }
    }
    Ok(ids)
}

fn end(text: &str) -> Result<Timestamp> {
    let wrong = || Error::bad_request(format!("Invalid input for field 'expires_at': '{text}' is no time"));
    let end = Timestamp::parse(text).ok_or_else(wrong)?;
    if end <= Timestamp::now() {
        return Err(Error::bad_request("The 'expires_at' must not be before now."));
    }
    Ok(end)
}

fn uses(fields: &mut Fields) -> Result<Option<i64>> {
    match fields.number("remaining_uses")? {
        Some(uses) if uses < 1 => {
            Err(Error::bad_request("Invalid input for field 'remaining_uses': it must be a positive integer or null."))
        }
        uses => Ok(uses),
    }
}

fn redelegations(fields: &mut Fields) -> Result<i64> {
    let allowed = fields.flag("allow_redelegation")?.unwrap_or(false);
    let count = fields.number("redelegation_count")?;
    match count {
        Some(count) if !(0..=REDELEGATIONS).contains(&count) => {
            Err(fault::refused(&format!("Requested redelegation depth of {count} is greater than allowed {REDELEGATIONS}")))
        }
        count => Ok(if allowed { count.unwrap_or(REDELEGATIONS) } else { 0 }),
    }
}

/// A trust made with a trust's token passes that trust on, and can be no wider.
async fn passed_on(keystone: &Keystone, ctx: &Context, trust: Model) -> Result<Model> {
    let standing = tokens::standing(keystone, &ctx.token).await?.ok_or_else(Error::unauthorized)?;
    let Some(source) = &standing.trust else { return Ok(trust) };
    if !source.impersonation && trust.impersonation {
        return Err(fault::refused("Impersonation is not allowed because redelegated trust does not specify impersonation."));
    }
    if source.redelegation_count < 1 {
        return Err(fault::refused("Redelegation allowed for delegated by trust only"));
    }
    if !trust.roles.0.iter().all(|id| source.roles.0.contains(id)) {
        return Err(fault::refused("Some of requested roles are not in redelegated trust"));
    }
    let longer = |end: Timestamp| trust.expires_at.is_none_or(|own| own > end);
    if source.expires_at.is_some_and(longer) {
        return Err(fault::refused("Requested expiration time is more than redelegated trust can provide"));
    }
    let redelegation_count = trust.redelegation_count.min(source.redelegation_count - 1);
    Ok(Model { redelegated_trust_id: Some(source.id.clone()), redelegation_count, ..trust })
}

/// The trustor has the roles that are given.
async fn held(keystone: &Keystone, reference: &Reference, trust: &Model) -> Result<()> {
    let Some(project_id) = &trust.project_id else {
        return if trust.roles.0.is_empty() { Ok(()) } else { Err(Error::bad_request("'roles' need a 'project_id'")) };
    };
    let db = keystone.db.read();
    projects::store::fetch(db, project_id).await?;
    if trust.roles.0.is_empty() {
        return Err(fault::refused("At least one role should be specified"));
    }
    let held = tokens::scopes::role_ids(db, &trust.trustor_user_id, project_id).await?;
    let held = reference.expand(held.iter().map(String::as_str));
    match trust.roles.0.iter().find(|id| !held.iter().any(|role| role.id == **id)) {
        Some(missing) => Err(fault::could_not_find("role", missing)),
        None => Ok(()),
    }
}

/// A trust the caller is part of, or may see anyway.
async fn known(keystone: &Keystone, ctx: &Context, id: &str) -> Result<Model> {
    let trust = store::fetch(keystone.db.read(), id).await?;
    let target = scope(ctx).with("trust.trustor_user_id", &trust.trustor_user_id);
    ctx.authorize(&target.with("trust.trustee_user_id", &trust.trustee_user_id))?;
    Ok(trust)
}

fn of_trust<'r>(trust: &'r Model, reference: &'r Reference) -> impl Iterator<Item = &'r roles::Model> {
    trust.roles.0.iter().filter_map(|id| reference.role(id))
}

/// A trust as the API shows it; lists leave its roles out.
fn view(ctx: &Context, trust: &Model, reference: Option<&Reference>) -> Value {
    let path = format!("/OS-TRUST/trusts/{}", trust.id);
    let known = json!({
        "id": trust.id, "trustor_user_id": trust.trustor_user_id, "trustee_user_id": trust.trustee_user_id,
        "project_id": trust.project_id, "impersonation": trust.impersonation,
        "expires_at": trust.expires_at.map(Timestamp::to_micros_z), "remaining_uses": trust.remaining_uses, "deleted_at": null,
        "redelegated_trust_id": trust.redelegated_trust_id, "redelegation_count": trust.redelegation_count,
    });
    let mut object = list::object(ctx, &path, known, &trust.extra);
    if let (Some(reference), Value::Object(map)) = (reference, &mut object) {
        let place = list::link(ctx, &format!("{path}/roles"));
        map.insert("roles".into(), of_trust(trust, reference).map(|role| roles::api::view(ctx, role)).collect());
        map.insert("roles_links".into(), json!({"self": place, "previous": null, "next": null}));
    }
    object
}
