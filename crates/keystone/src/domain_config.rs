//! `/v3/domains/{domain_id}/config`: how a domain wants its identities kept elsewhere. Keystone keeps what it is told; its own users come
//! from its own database whatever is written here.

use std::collections::BTreeMap;

use http::StatusCode;
use kit::call::{Json, Path};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder};
use serde_json::{Map, Value, json};

use crate::policy::scope;
use crate::{DEFAULT_DOMAIN, Keystone, fault, projects};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "domain_configs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub domain_id: String,
    /// The API calls it the group.
    #[sea_orm(primary_key, auto_increment = false)]
    pub section: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub option_name: String,
    pub value: kit::db::Json<Value>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The group that is not a domain's to configure, but which clients ask about here.
const COMPLIANCE: &str = "security_compliance";

/// What can be configured, with its defaults. The password is never shown.
const DEFAULTS: &str = include_str!("domain_config.json");

fn defaults() -> Map<String, Value> {
    serde_json::from_str(DEFAULTS).unwrap_or_default()
}

/// `GET /v3/domains/{domain_id}/config`
pub async fn show(keystone: Keystone, _: Context, Path(domain): Path<String>) -> Result<Reply> {
    let rows = of_domain(&keystone, &domain, Condition::all()).await?;
    if rows.is_empty() { Err(none("any options", &domain)) } else { Reply::ok(&json!({"config": view(&rows)})) }
}

/// `GET /v3/domains/{domain_id}/config/{group}`
pub async fn show_group(keystone: Keystone, ctx: Context, Path((domain, group)): Path<(String, String)>) -> Result<Reply> {
    if group == COMPLIANCE {
        let rules = compliance(&keystone, &ctx, &domain)?;
        return Reply::ok(&json!({"config": {COMPLIANCE: rules}}));
    }
    ctx.authorize(&scope(&ctx))?;
    supported(&group, None)?;
    let rows = of_domain(&keystone, &domain, Condition::all().add(Column::Section.eq(&group))).await?;
    if rows.is_empty() { Err(none(&format!("group {group}"), &domain)) } else { Reply::ok(&json!({"config": view(&rows)})) }
}

/// `GET /v3/domains/{domain_id}/config/{group}/{option}`
pub async fn show_option(keystone: Keystone, ctx: Context, Path((domain, group, option)): Path<(String, String, String)>) -> Result<Reply> {
    if group == COMPLIANCE {
        let value = compliance(&keystone, &ctx, &domain)?.remove(&option);
        let value = value.ok_or_else(|| wrong(&format!("Option {option} in group {group} is not for everybody to see.")))?;
        return Reply::ok(&json!({"config": {option: value}}));
    }
    ctx.authorize(&scope(&ctx))?;
    supported(&group, Some(&option))?;
    let one = Condition::all().add(Column::Section.eq(&group)).add(Column::OptionName.eq(&option));
    let rows = of_domain(&keystone, &domain, one).await?;
    let row = rows.iter().find(|row| row.option_name != "password");
    let row = row.ok_or_else(|| none(&format!("option {option} in group {group}"), &domain))?;
    Reply::ok(&json!({"config": {option: row.value.0}}))
}

/// `PUT /v3/domains/{domain_id}/config`: in place of all there was.
pub async fn create(keystone: Keystone, _: Context, Path(domain): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let rows = read(&domain, whole(body)?)?;
    let before = of_domain(&keystone, &domain, Condition::all()).await?;
    let made = rows.clone();
    let delete = Condition::all().add(Column::DomainId.eq(domain));
    keystone
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_many().filter(delete).exec(tx).await?;
                store(tx, rows).await
            })
        })
        .await?;
    let status = if before.is_empty() { StatusCode::CREATED } else { StatusCode::OK };
    Reply::json(status, &json!({"config": view(&made)}))
}

/// `PATCH /v3/domains/{domain_id}/config`
pub async fn update(keystone: Keystone, ctx: Context, Path(domain): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let rows = read(&domain, whole(body)?)?;
    change(&keystone, &domain, Condition::all(), "any options", rows).await?;
    show(keystone, ctx, Path(domain)).await
}

/// `PATCH /v3/domains/{domain_id}/config/{group}`
pub async fn update_group(
    keystone: Keystone,
    ctx: Context,
    Path((domain, group)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Result<Reply> {
    supported(&group, None)?;
    let config = whole(body)?;
    if config.keys().any(|key| *key != group) || config.is_empty() {
        return Err(wrong(&format!("The group(s) specified in the request do not match the group {group} in the URL.")));
    }
    let there = Condition::all().add(Column::Section.eq(&group));
    change(&keystone, &domain, there, &format!("group {group}"), read(&domain, config)?).await?;
    show(keystone, ctx, Path(domain)).await
}

/// `PATCH /v3/domains/{domain_id}/config/{group}/{option}`
pub async fn update_option(
    keystone: Keystone,
    ctx: Context,
    Path((domain, group, option)): Path<(String, String, String)>,
    Json(body): Json<Value>,
) -> Result<Reply> {
    supported(&group, Some(&option))?;
    let mut config = whole(body)?;
    let (Some(value), true) = (config.remove(&option), config.is_empty()) else {
        return Err(wrong(&format!("The option(s) specified in the request do not match the option {option} in the URL.")));
    };
    let there = Condition::all().add(Column::Section.eq(&group)).add(Column::OptionName.eq(&option));
    let row = Model { domain_id: domain.clone(), section: group.clone(), option_name: option.clone(), value: kit::db::Json(value) };
    change(&keystone, &domain, there, &format!("option {option} in group {group}"), vec![row]).await?;
    show(keystone, ctx, Path(domain)).await
}

/// `DELETE /v3/domains/{domain_id}/config`
pub async fn delete(keystone: Keystone, _: Context, Path(domain): Path<String>) -> Result<Reply> {
    remove(&keystone, &domain, Condition::all(), "any options").await
}

/// `DELETE /v3/domains/{domain_id}/config/{group}`
pub async fn delete_group(keystone: Keystone, _: Context, Path((domain, group)): Path<(String, String)>) -> Result<Reply> {
    supported(&group, None)?;
    remove(&keystone, &domain, Condition::all().add(Column::Section.eq(&group)), &format!("group {group}")).await
}

/// `DELETE /v3/domains/{domain_id}/config/{group}/{option}`
pub async fn delete_option(keystone: Keystone, _: Context, Path((domain, group, option)): Path<(String, String, String)>) -> Result<Reply> {
    supported(&group, Some(&option))?;
    let one = Condition::all().add(Column::Section.eq(&group)).add(Column::OptionName.eq(&option));
    remove(&keystone, &domain, one, &format!("option {option} in group {group}")).await
}

/// `GET /v3/domains/config/default`
pub async fn default(_: Keystone, _: Context) -> Result<Reply> {
    let all: Map<String, Value> = defaults().into_iter().map(|(group, options)| (group, shown(options))).collect();
    Reply::ok(&json!({"config": all}))
}

/// `GET /v3/domains/config/{group}/default`
pub async fn default_group(_: Keystone, _: Context, Path(group): Path<String>) -> Result<Reply> {
    supported(&group, None)?;
    let options = defaults().remove(&group).map(shown);
    Reply::ok(&json!({"config": {group: options}}))
}

/// `GET /v3/domains/config/{group}/{option}/default`
pub async fn default_option(_: Keystone, _: Context, Path((group, option)): Path<(String, String)>) -> Result<Reply> {
    supported(&group, Some(&option))?;
    let value = defaults().get(&group).and_then(|options| options.get(&option).cloned());
    Reply::ok(&json!({"config": {option: value}}))
}

/// What everybody may know of the rules for passwords, which are those of the default domain.
fn compliance(keystone: &Keystone, ctx: &Context, domain: &str) -> Result<Map<String, Value>> {
    ctx.enforce("identity:get_security_compliance_domain_config", &Target::new())?;
    if domain != DEFAULT_DOMAIN {
        return Err(wrong("Security compliance is only configured for the default domain."));
    }
    let security = &keystone.config.security;
    let rules = [("password_regex", &security.password_regex), ("password_regex_description", &security.password_regex_description)];
    Ok(rules.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

async fn of_domain(keystone: &Keystone, domain: &str, wanted: Condition) -> Result<Vec<Model>> {
    let db = keystone.db.read();
    projects::store::domain(db, domain).await?;
    let select = Entity::find().filter(Column::DomainId.eq(domain)).filter(wanted);
    Ok(select.order_by_asc(Column::Section).order_by_asc(Column::OptionName).all(db).await?)
}

/// Changes what is there already.
async fn change(keystone: &Keystone, domain: &str, there: Condition, what: &str, rows: Vec<Model>) -> Result<()> {
    if of_domain(keystone, domain, there).await?.is_empty() {
        return Err(none(what, domain));
    }
    keystone.write(move |tx| Box::pin(store(tx, rows))).await
}

async fn remove(keystone: &Keystone, domain: &str, there: Condition, what: &str) -> Result<Reply> {
    if of_domain(keystone, domain, there.clone()).await?.is_empty() {
        return Err(none(what, domain));
    }
    let gone = there.add(Column::DomainId.eq(domain));
    keystone.write(move |tx| Box::pin(async move { Ok(Entity::delete_many().filter(gone).exec(tx).await.map(drop)?) })).await?;
    Reply::no_content()
}

async fn store(tx: &DatabaseTransaction, rows: Vec<Model>) -> Result<()> {
    for row in rows {
        Entity::delete_by_id((row.domain_id.clone(), row.section.clone(), row.option_name.clone())).exec(tx).await?;
        row.into_active_model().insert(tx).await?;
    }
    Ok(())
}

/// The object under `config`.
fn whole(body: Value) -> Result<Map<String, Value>> {
    match body {
        Value::Object(mut body) => match body.remove("config") {
            Some(Value::Object(config)) => Ok(config),
            Some(other) => Err(Error::bad_request(format!("Invalid input for field 'config': {other} is not of type 'object'"))),
            None => Err(Error::bad_request("'config' is a required property")),
        },
        _ => Err(Error::bad_request("The request body is not a JSON object.")),
    }
}

fn read(domain: &str, config: Map<String, Value>) -> Result<Vec<Model>> {
    if config.is_empty() {
        return Err(wrong("No options specified."));
    }
    let mut rows = Vec::new();
    for (group, options) in config {
        supported(&group, None)?;
        let Value::Object(options) = options else { return Err(wrong(&format!("Group {group} has no options."))) };
        for (option, value) in options {
            supported(&group, Some(&option))?;
            rows.push(Model { domain_id: domain.to_owned(), section: group.clone(), option_name: option, value: kit::db::Json(value) });
        }
    }
    Ok(rows)
}

fn supported(group: &str, option: Option<&str>) -> Result<()> {
    match (defaults().get(group), option) {
        (None, _) => Err(wrong(&format!("Group {group} is not supported for domain specific configurations."))),
        (Some(options), Some(option)) if options.get(option).is_none() => {
            Err(wrong(&format!("Option {option} in group {group} is not supported for domain specific configurations.")))
        }
        (Some(_), _) => Ok(()),
    }
}

fn view(rows: &[Model]) -> Value {
    let mut config: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.option_name != "password") {
        config.entry(&row.section).or_default().insert(row.option_name.clone(), row.value.0.clone());
    }
    json!(config)
}

fn shown(mut options: Value) -> Value {
    if let Value::Object(map) = &mut options {
        map.remove("password");
    }
    options
}

fn wrong(why: &str) -> Error {
    Error::forbidden(format!("Invalid domain specific configuration: {why}"))
}

fn none(what: &str, domain: &str) -> Error {
    fault::could_not_find(&format!("{what} in domain configuration for domain"), domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_read() {
        assert!(defaults().contains_key("identity") && defaults().contains_key("ldap"));
    }
}
