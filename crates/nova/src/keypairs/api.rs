//! `/os-keypairs`.

use kit::call::{Wrapped, Wrapper};
use kit::clock::Timestamp;
use kit::collection::{Page, cut, next_href};
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result, Versioned};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Model, keys, store, x509};
use crate::microversions::{KEYPAIR_IMPORT_ONLY, KEYPAIR_PAGES, KEYPAIR_TYPES, KEYPAIR_USER, STRICT};
use crate::{Nova, quotas, validate};

/// `GET /os-keypairs`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["user_id", "limit", "marker"])?;
    let user = user(&ctx, query.get("user_id"))?;
    let paged = ctx.speaks(KEYPAIR_PAGES);
    let asked = if paged { query.clone() } else { Query::default() };
    let page = Page::parse(&asked, app.config.max_limit, app.config.max_limit)?;
    let mut rows = store::page(app.db.read(), &user, &page).await?;
    let more = cut(&mut rows, page.limit) || (page.limited && page.limit > 0 && rows.len() as u64 == page.limit);
    let keypairs: Vec<Value> = rows.iter().map(|row| json!({"keypair": view(&ctx, row)})).collect();
    let mut body = json!({"keypairs": keypairs});
    if let (true, true, Some(last)) = (paged, more, rows.last()) {
        body["keypairs_links"] = json!([{"rel": "next", "href": next_href(&ctx.link("/os-keypairs"), &query, &last.name)}]);
    }
    Reply::ok(&body)
}

/// `GET /os-keypairs/{name}`
pub async fn show(app: Nova, ctx: Context, Path(name): Path<String>, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["user_id"])?;
    let user = user(&ctx, query.get("user_id"))?;
    let row = store::fetch(app.db.read(), &user, &name).await?.ok_or_else(|| missing(&user, &name))?;
    let mut keypair = view(&ctx, &row);
    for (key, value) in [
        ("user_id", json!(row.user_id)),
        ("id", json!(row.number)),
        ("created_at", json!(row.created_at.to_micros())),
        ("deleted", json!(false)),
        ("deleted_at", Value::Null),
        ("updated_at", Value::Null),
    ] {
        keypair[key] = value;
    }
    Reply::ok(&json!({"keypair": keypair}))
}

/// The body of `POST /os-keypairs`.
#[derive(Deserialize, Serialize, Versioned)]
pub struct CreateKeypair {
    name: String,
    #[serde(default)]
    public_key: Option<String>,
    #[since(2.2)]
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[since(2.10)]
    #[serde(default)]
    user_id: Option<String>,
}

impl Wrapper for CreateKeypair {
    const KEY: &'static str = "keypair";
    const EXACT: bool = true;
}

/// `POST /os-keypairs`: imports a key, or makes one and answers its private half this once.
pub async fn create(app: Nova, ctx: Context, body: Wrapped<CreateKeypair>) -> Result<Reply> {
    let asked = body.inner;
    let user = user(&ctx, asked.user_id.as_deref())?;
    check_name(&ctx, &asked.name)?;
    let kind = asked.kind.unwrap_or_else(|| "ssh".into());
    if !matches!(kind.as_str(), "ssh" | "x509") {
        return Err(validate::invalid("type", &kind, format!("'{kind}' is not one of ['ssh', 'x509']")));
    }
    let (public_key, private_key) = match asked.public_key {
        Some(public) => (public, None),
        None if ctx.speaks(KEYPAIR_IMPORT_ONLY) => {
            return Err(Error::bad_request("Invalid input for field/attribute keypair. 'public_key' is a required property"));
        }
        None => {
            let (x509, owner) = (kind == "x509", user.clone());
            let make = move || if x509 { x509::generate(&owner) } else { keys::generate("Generated-by-Nova") };
            let (public, private) = tokio::task::spawn_blocking(make).await.map_err(Error::internal)??;
            (public, Some(private))
        }
    };
    let fingerprint = if kind == "x509" { keys::certificate_fingerprint(&public_key)? } else { keys::fingerprint(&public_key)? };
    let row = Model { user_id: user, name: asked.name, number: 0, public_key, fingerprint, key_type: kind, created_at: Timestamp::now() };
    let stored = insert(&app, &ctx, row).await?;
    let mut keypair = view(&ctx, &stored);
    keypair["user_id"] = json!(stored.user_id);
    if let Some(private) = private_key {
        keypair["private_key"] = json!(private);
    }
    let status = if ctx.speaks(KEYPAIR_TYPES) { http::StatusCode::CREATED } else { http::StatusCode::OK };
    Reply::json(status, &json!({"keypair": keypair}))
}

/// Checks the quota and inserts, in one transaction, so that many at once do not pass it together.
async fn insert(app: &Nova, ctx: &Context, mut row: Model) -> Result<Model> {
    let project = ctx.project_id()?.to_owned();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let limit = quotas::limits::of(tx, &project, "key_pairs").await?;
                if limit >= 0 && store::count(tx, &row.user_id).await? >= limit {
                    return Err(Error::forbidden("Quota exceeded, too many key pairs."));
                }
                row.number = crate::servers::store::next_numbers(tx, "keypairs", 1).await?;
                store::insert(tx, row.clone()).await?;
                Ok(row)
            })
        })
        .await
}

/// `DELETE /os-keypairs/{name}`
pub async fn delete(app: Nova, ctx: Context, Path(name): Path<String>, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["user_id"])?;
    let user = user(&ctx, query.get("user_id"))?;
    let (owner, key) = (user.clone(), name.clone());
    if !app.db.write(move |tx| Box::pin(async move { store::delete(tx, &owner, &key).await })).await? {
        return Err(missing(&user, &name));
    }
    Ok(Reply::empty(if ctx.speaks(KEYPAIR_TYPES) { http::StatusCode::NO_CONTENT } else { http::StatusCode::ACCEPTED }))
}

/// Whose keypairs are meant: the caller's own, or, for an administrator who speaks 2.10, another user's.
fn user(ctx: &Context, asked: Option<&str>) -> Result<String> {
    let own = ctx.user_id()?;
    let asked = asked.filter(|_| ctx.speaks(KEYPAIR_USER)).unwrap_or(own);
    ctx.enforce(ctx.rule, &Target::new().with("user_id", asked))?;
    Ok(asked.to_owned())
}

/// Letters, digits and a few signs, of which some came late.
fn check_name(ctx: &Context, name: &str) -> Result<()> {
    let signs = if ctx.speaks(KEYPAIR_IMPORT_ONLY) { "@._- " } else { "_- " };
    let known = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    if name.is_empty() {
        return Err(validate::invalid("name", name, "'' is too short"));
    }
    validate::length("name", name, 255)?;
    if !name.chars().all(known) || name.trim() != name {
        let words = format!("Only expected characters: [{signs}] beside letters and digits, and no blanks around them");
        return Err(validate::invalid("name", name, words));
    }
    Ok(())
}

fn view(ctx: &Context, row: &Model) -> Value {
    let mut keypair = json!({"name": row.name, "public_key": row.public_key, "fingerprint": row.fingerprint});
    if ctx.speaks(KEYPAIR_TYPES) {
        keypair["type"] = json!(row.key_type);
    }
    keypair
}

fn missing(user: &str, name: &str) -> Error {
    Error::not_found(format!("Keypair {name} not found for user {user}"))
}
