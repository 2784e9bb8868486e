//! Consoles for browsers: `remote-consoles`, the older actions that ask for one kind each, and the check of the token they hand out.

use std::time::Duration;

use kit::clock::Timestamp;
use kit::{Context, Error, Json, Kind, Path, Reply, Result};
use rpc::actions::{ConsoleAccess, ConsoleKind, GetConsole};
use rpc::compute::compute_topic;
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use serde_json::{Value, json};

use super::actions::Action;
use super::begin::host_of;
use super::instance::Model as Server;
use super::states::rules::REMOTE_CONSOLE;
use super::store;
use crate::microversions::{CONSOLE_TOKENS_FOR_ALL, MKS_CONSOLE, SPICE_DIRECT};
use crate::{Nova, validate};

/// How long the host may take to open one.
const DEADLINE: Duration = Duration::from_secs(30);

/// A row of `console_tokens`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "console_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub token: String,
    pub instance_id: String,
    pub host: String,
    pub port: i64,
    pub expires_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Protocols, their types, and what we have of them.
const KINDS: &[(&str, &str, Option<ConsoleKind>)] = &[
    ("vnc", "novnc", Some(ConsoleKind::Vnc)),
    ("vnc", "xvpvnc", None),
    ("spice", "spice-html5", None),
    ("spice", "spice-direct", None),
    ("rdp", "rdp-html5", None),
    ("serial", "serial", Some(ConsoleKind::Serial)),
    ("mks", "webmks", None),
];

/// `POST /servers/{id}/remote-consoles`, since 2.6
pub async fn create(app: Nova, ctx: Context, id: Path<String>, body: Json<Value>) -> Result<Reply> {
    let wanted = validate::only(body.0, "remote_console", ctx.strict)?;
    let text = |key: &str| {
        let value = wanted.get(key).and_then(Value::as_str);
        value.ok_or_else(|| Error::bad_request(format!("Invalid input for field/attribute remote_console. '{key}' is a required property")))
    };
    kit::microversion::only("remote_console", &wanted, |key| matches!(key, "protocol" | "type"))?;
    let (protocol, kind) = (text("protocol")?, text("type")?);
    let exists = |p: &str, t: &str| match (p, t) {
        ("mks", _) => ctx.speaks(MKS_CONSOLE),
        (_, "spice-direct") => ctx.speaks(SPICE_DIRECT),
        _ => true,
    };
    let known = |(p, t, _): &&(&str, &str, _)| exists(p, t);
    if !KINDS.iter().filter(known).any(|(p, _, _)| *p == protocol) {
        return Err(validate::invalid(
            "protocol",
            protocol,
            format!("'{protocol}' is not one of ['vnc', 'spice', 'rdp', 'serial', 'mks']"),
        ));
    }
    if !KINDS.iter().filter(known).any(|(_, t, _)| *t == kind) {
        return Err(validate::invalid("type", kind, format!("'{kind}' is not one of the types of consoles")));
    }
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let found = KINDS.iter().find(|(p, t, _)| *p == protocol && *t == kind).and_then(|(_, _, have)| *have);
    let access = open(&app, &ctx, &server, found.ok_or_else(|| unavailable(kind))?, kind).await?;
    Reply::ok(&json!({"remote_console": {"protocol": protocol, "type": kind, "url": access.url}}))
}

/// `{"os-getVNCConsole": {"type": "novnc"}}` and its siblings, until 2.5
pub async fn by_action(action: Action) -> Result<Reply> {
    action.only(&["type"])?;
    let kind = action.text("type")?.to_owned();
    let protocol = match action.key {
        "os-getSPICEConsole" => "spice",
        "os-getSerialConsole" => "serial",
        _ => "vnc",
    };
    let Some((_, _, have)) = KINDS.iter().find(|(p, t, _)| *p == protocol && *t == kind) else {
        return Err(validate::invalid("type", &kind, format!("'{kind}' is not one of the types of {protocol} consoles")));
    };
    let Action { app, ctx, server, .. } = action;
    let access = open(&app, &ctx, &server, have.ok_or_else(|| unavailable(&kind))?, &kind).await?;
    Reply::ok(&json!({"console": {"type": kind, "url": access.url}}))
}

fn unavailable(kind: &str) -> Error {
    Error::bad_request(format!("Unavailable console type {kind}."))
}

/// Asks the host to open it, and remembers for whom.
async fn open(app: &Nova, ctx: &Context, server: &Server, kind: ConsoleKind, name: &str) -> Result<ConsoleAccess> {
    REMOTE_CONSOLE.check(server, ctx.is_admin())?;
    let host = host_of(server)?;
    let message = GetConsole { instance_id: server.id.clone(), kind };
    let access = app.bus.call(&compute_topic(&host), message, DEADLINE).await.map_err(|error| match error.kind {
        Kind::NotFound | Kind::Conflict => Error::conflict(format!("Instance {} is not ready", server.id)),
        Kind::NotImplemented => unavailable(name),
        Kind::TimedOut => Error::unavailable(format!("The host of instance {} does not answer.", server.id)),
        _ => error,
    })?;
    let row = ActiveModel {
        token: Set(access.token.clone()),
        instance_id: Set(server.id.clone()),
        host: Set(access.host.clone()),
        port: Set(i64::from(access.port)),
        expires_at: Set(Timestamp::from_secs(access.expires_at)),
    };
    app.db
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_many().filter(Column::ExpiresAt.lt(Timestamp::now())).exec(tx).await?;
                // a host may hand out the same one again while it is good
                let latest = OnConflict::column(Column::Token).update_columns([Column::Host, Column::Port, Column::ExpiresAt]).to_owned();
                Entity::insert(row).on_conflict(latest).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(access)
}

/// `GET /os-console-auth-tokens/{token}`: what a console proxy wants to know. Until 2.30 only of RDP, which there is none of.
pub async fn token(app: Nova, ctx: Context, token: Path<String>) -> Result<Reply> {
    if !ctx.speaks(CONSOLE_TOKENS_FOR_ALL) {
        return Err(Error::bad_request("The requested console type details are not accessible"));
    }
    let row = Entity::find_by_id(&token.0).one(app.db.read()).await?.filter(|row| row.expires_at > Timestamp::now());
    let row = row.ok_or_else(|| Error::not_found("Token not found"))?;
    let mut console = json!({"instance_uuid": row.instance_id, "host": row.host, "port": row.port, "internal_access_path": null});
    if ctx.speaks(SPICE_DIRECT) {
        console["tls_port"] = Value::Null;
    }
    Reply::ok(&json!({"console": console}))
}
