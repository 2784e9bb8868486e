//! `/v3/users/{user_id}/application_credentials`

use kit::call::{Json, Path, Query};
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use super::{Entity, Model, access_rules, store};
use crate::fields::Fields;
use crate::policy::scope;
use crate::reference::Reference;
use crate::tokens::claims::new_audit_id;
use crate::tokens::delegation;
use crate::{Keystone, fault, list};

/// `GET /v3/users/{user_id}/application_credentials`
pub async fn list(keystone: Keystone, ctx: Context, Path(user): Path<String>, query: Query) -> Result<Reply> {
    ctx.authorize(&owner(&ctx, &user))?;
    let mut rows = store::of_user(keystone.db.read(), &user).await?;
    rows.retain(|row| query.get("name").is_none_or(|name| row.name == name));
    let reference = keystone.reference.now(&keystone.db).await?;
    let items = rows.iter().map(|row| view(&ctx, &reference, row)).collect();
    list::whole(&ctx, &format!("/users/{user}/application_credentials"), &query, "application_credentials", items)
}

/// `GET /v3/users/{user_id}/application_credentials/{application_credential_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path((user, id)): Path<(String, String)>) -> Result<Reply> {
    let row = known(&keystone, &ctx, &user, &id).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    Reply::ok(&json!({"application_credential": view(&ctx, &reference, &row)}))
}

/// `POST /v3/users/{user_id}/application_credentials`: for the project of the token. The answer alone shows the secret.
pub async fn create(keystone: Keystone, ctx: Context, Path(user): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    ctx.authorize(&owner(&ctx, &user))?;
    delegation::no_application_credentials(&keystone, &ctx).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let mut fields = Fields::of(body, "application_credential")?;
    let access_rules = match fields.list("access_rules")? {
        Some(sent) => Some(kit::db::Json(access_rules::read(keystone.db.read(), &user, &sent).await?)),
        None => None,
    };
    let secret = fields.text("secret")?.flatten().unwrap_or_else(|| format!("{}{}", new_audit_id(), new_audit_id()));
    let row = Model {
        id: ids::hex(),
        name: fields.name("name", 255)?.ok_or_else(|| Error::bad_request("'name' is a required property"))?,
        user_id: user,
        project_id: ctx.project_id()?.to_owned(),
        secret_hash: String::new(),
        description: fields.text("description")?.flatten(),
        expires_at: fields.text("expires_at")?.flatten().map(|text| end(&text)).transpose()?,
        unrestricted: fields.flag("unrestricted")?.unwrap_or(false),
        roles: kit::db::Json(roles(&ctx, &reference, fields.list("roles")?)?),
        access_rules,
    };
    let row = Model { secret_hash: keystone.passwords.hash(&secret).await?, ..row };
    let row = keystone
        .write(move |tx| {
            Box::pin(async move {
                access_rules::keep(tx, &row).await?;
                store::insert(tx, row).await
            })
        })
        .await?;
    let mut object = view(&ctx, &reference, &row);
    if let Value::Object(map) = &mut object {
        map.insert("secret".into(), secret.into());
    }
    Reply::created(&json!({"application_credential": object}))
}

/// `DELETE /v3/users/{user_id}/application_credentials/{application_credential_id}`
pub async fn delete(keystone: Keystone, ctx: Context, Path((user, id)): Path<(String, String)>) -> Result<Reply> {
    known(&keystone, &ctx, &user, &id).await?;
    delegation::no_application_credentials(&keystone, &ctx).await?;
    keystone
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_by_id(id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// A credential the caller may know of: one of the user in the path, whoever's it really is.
async fn known(keystone: &Keystone, ctx: &Context, user: &str, id: &str) -> Result<Model> {
    let found = Entity::find_by_id(id).one(keystone.db.read()).await?;
    ctx.authorize(&owner(ctx, found.as_ref().map_or(user, |row| &row.user_id)))?;
    found.filter(|row| row.user_id == user).ok_or_else(|| fault::could_not_find("Application Credential", id))
}

/// Ids of the roles asked for, each of which the token has; all of the token's when none are named.
fn roles(ctx: &Context, reference: &Reference, asked: Option<Vec<Value>>) -> Result<Vec<String>> {
    let identity = ctx.identity()?;
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(identity.role_ids.clone()) };
    let find = |role: &Value| {
        let text = |key: &str| role.get(key).and_then(Value::as_str);
        let mut held = identity.role_ids.iter();
        let id = match (text("id"), text("name")) {
            (Some(id), _) => held.find(|held| *held == id),
            (None, name) => held.find(|held| reference.role(held).map(|role| role.name.as_str()) == name),
        };
        id.cloned().ok_or_else(|| Error::bad_request(format!("Invalid application credential: could not find role assignment for {role}.")))
    };
    asked.iter().map(find).collect()
}

fn end(text: &str) -> Result<Timestamp> {
    let end = Timestamp::parse(text).filter(|end| *end > Timestamp::now());
    end.ok_or_else(|| Error::bad_request(format!("Invalid input for field 'expires_at': '{text}' is not a time in the future")))
}

fn owner(ctx: &Context, user: &str) -> Target {
    scope(ctx).with("user.id", user)
}

fn view(ctx: &Context, reference: &Reference, row: &Model) -> Value {
    let roles = row.roles.0.iter().filter_map(|id| reference.role(id));
    let roles: Vec<Value> = roles.map(|role| json!({"id": role.id, "name": role.name, "domain_id": null})).collect();
    let mut object = json!({
        "id": row.id, "name": row.name, "description": row.description, "project_id": row.project_id, "user_id": row.user_id,
        "expires_at": row.expires_at.map(Timestamp::to_micros), "unrestricted": row.unrestricted, "roles": roles, "system": null,
        "links": {"self": list::link(ctx, &format!("/users/{}/application_credentials/{}", row.user_id, row.id))},
    });
    if let (Some(rules), Value::Object(map)) = (&row.access_rules, &mut object) {
        map.insert("access_rules".into(), json!(rules.0));
    }
    object
}
