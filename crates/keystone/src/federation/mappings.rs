//! `/v3/OS-FEDERATION/mappings`: rules by which the words of an identity provider become users, groups and projects here.

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::{chosen_id, taken};
use crate::fields::Fields;
use crate::{Keystone, fault, list};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mappings")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub rules: kit::db::Json<Vec<Value>>,
    pub schema_version: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a rule may say of somebody here.
const LOCAL: &[&str] = &["user", "projects", "group", "groups", "group_ids", "domain"];
/// What it may ask of a word from there, one of these.
const CONDITIONS: &[&str] = &["any_one_of", "not_any_of", "blacklist", "whitelist"];

/// `GET /v3/OS-FEDERATION/mappings`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let page = list::page(keystone.db.read(), Entity::find(), Column::Id, &query, |mapping: &Model| &mapping.id).await?;
    let items = page.rows.iter().map(|mapping| view(&ctx, mapping)).collect();
    list::envelope(&ctx, "/OS-FEDERATION/mappings", &query, "mappings", items, page.next)
}

/// `GET /v3/OS-FEDERATION/mappings/{mapping_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let mapping = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"mapping": view(&ctx, &mapping)}))
}

/// `PUT /v3/OS-FEDERATION/mappings/{mapping_id}`
pub async fn create(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    chosen_id(&id)?;
    let mut fields = Fields::of(body, "mapping")?;
    let rules = rules(&mut fields)?.ok_or_else(|| Error::bad_request("'rules' is a required property"))?;
    let mapping = Model { id, rules, schema_version: version(&mut fields)?.unwrap_or_else(|| "1.0".into()) };
    // clients say in the body, too, what the path says
    fields.take("id");
    fields.none_left()?;
    let insert = keystone.write(move |tx| {
        Box::pin(async move {
            let id = mapping.id.clone();
            mapping.into_active_model().insert(tx).await.map_err(|error| taken(error, "mapping", &id))
        })
    });
    Reply::created(&json!({"mapping": view(&ctx, &insert.await?)}))
}

/// `PATCH /v3/OS-FEDERATION/mappings/{mapping_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let old = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "mapping")?;
    let rules = rules(&mut fields)?.unwrap_or(old.rules);
    let mapping = Model { id, rules, schema_version: version(&mut fields)?.unwrap_or(old.schema_version) };
    fields.none_left()?;
    let mapping = keystone.write(move |tx| Box::pin(async move { Ok(mapping.into_active_model().reset_all().update(tx).await?) })).await?;
    Reply::ok(&json!({"mapping": view(&ctx, &mapping)}))
}

/// `DELETE /v3/OS-FEDERATION/mappings/{mapping_id}`
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("mapping", id))
}

fn version(fields: &mut Fields) -> Result<Option<String>> {
    match fields.text("schema_version")?.flatten() {
        Some(version) if version != "1.0" && version != "2.0" => {
            Err(Error::bad_request(format!("Invalid input for field 'schema_version': '{version}' is not one of ['1.0', '2.0']")))
        }
        version => Ok(version),
    }
}

fn rules(fields: &mut Fields) -> Result<Option<kit::db::Json<Vec<Value>>>> {
    let Some(rules) = fields.list("rules")? else { return Ok(None) };
    match rules.iter().find(|rule| !is_rule(rule)) {
        Some(rule) => {
            Err(Error::bad_request(format!("Invalid input for field 'rules': {rule} is not valid under any of the given schemas")))
        }
        None if rules.is_empty() => Err(Error::bad_request("Invalid input for field 'rules': [] is too short")),
        None => Ok(Some(kit::db::Json(rules))),
    }
}

/// `{"local": [{...}], "remote": [{"type": "...", ...}]}`
fn is_rule(rule: &Value) -> bool {
    let Some(rule) = rule.as_object() else { return false };
    let (local, remote) = (rule.get("local").and_then(Value::as_array), rule.get("remote").and_then(Value::as_array));
    let is_local = |item: &Value| item.as_object().is_some_and(|item| item.keys().all(|key| LOCAL.contains(&key.as_str())));
    rule.len() == 2
        && local.is_some_and(|items| items.iter().all(is_local))
        && remote.is_some_and(|items| !items.is_empty() && items.iter().all(is_remote))
}

/// A word from there, by its type, with at most one condition.
fn is_remote(item: &Value) -> bool {
    let Some(item) = item.as_object() else { return false };
    let fits = |(key, value): (&String, &Value)| match key.as_str() {
        "type" => value.as_str().is_some_and(|name| !name.is_empty()),
        "regex" => value.is_boolean(),
        key => CONDITIONS.contains(&key) && value.is_array(),
    };
    let conditions = item.keys().filter(|key| CONDITIONS.contains(&key.as_str())).count();
    item.contains_key("type") && item.iter().all(fits) && conditions <= 1 && (conditions == 1 || !item.contains_key("regex"))
}

fn view(ctx: &Context, mapping: &Model) -> Value {
    json!({
        "id": mapping.id, "rules": mapping.rules.0, "schema_version": mapping.schema_version,
        "links": {"self": list::link(ctx, &format!("/OS-FEDERATION/mappings/{}", mapping.id))},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_join_words_from_there_to_somebody_here() {
        let rule = |remote: Value| is_rule(&json!({"local": [{"user": {"name": "{0}"}}], "remote": remote}));
        assert!(rule(json!([{"type": "REMOTE_USER"}, {"type": "groups", "any_one_of": ["a.*"], "regex": true}])));
        assert!(!rule(json!([])) && !rule(json!([{"any_one_of": ["a"]}])) && !rule(json!([{"type": "x", "regex": true}])));
        assert!(!rule(json!([{"type": "x", "whitelist": [], "blacklist": []}])));
        assert!(!is_rule(&json!({"local": [{"users": 1}], "remote": [{"type": "x"}]})) && !is_rule(&json!({"local": []})));
    }
}
