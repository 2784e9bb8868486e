//! `/os-services/get-log` and `set-log`: what the processes of block storage write to their logs, while they run. All of them that share a
//! process share its levels.

use http::StatusCode;
use kit::telemetry::{self, LevelFilter};
use kit::{Context, Error, Json, Reply, Result};
use serde_json::{Value, json};

use super::store;
use crate::Cinder;

/// The binaries, each with where its code is.
const BINARIES: &[(&str, &str)] =
    &[("cinder-api", "cinder"), ("cinder-scheduler", "cinder::scheduler"), ("cinder-volume", "cinder_volume")];

pub async fn show(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    let wish = Wish::read(&body)?;
    let mut levels = Vec::new();
    for (binary, host, module) in wish.processes(&app).await? {
        let prefix = wish.target(module);
        let level = word(telemetry::level(&prefix));
        levels.push(json!({"binary": binary, "host": host, "levels": {wish.prefix.as_deref().unwrap_or(&prefix): level}}));
    }
    Reply::ok(&json!({"log_levels": levels}))
}

pub async fn set(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    let wish = Wish::read(&body)?;
    let level = body["level"].as_str().and_then(level);
    let level = level.ok_or_else(|| Error::bad_request("Invalid input received: log level must be one of DEBUG, INFO, WARNING, ERROR."))?;
    for (_, _, module) in wish.processes(&app).await? {
        telemetry::set_level(&wish.target(module), level);
    }
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Whose logs, and which part of them.
struct Wish {
    binary: Option<String>,
    server: Option<String>,
    prefix: Option<String>,
}

impl Wish {
    fn read(body: &Value) -> Result<Wish> {
        let text = |key: &str| match &body[key] {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text != "*")),
            other => {
                Err(Error::bad_request(format!("Invalid input for field/attribute {key}. Value: {other}. It is not of type 'string'")))
            }
        };
        let binary = text("binary")?;
        if binary.as_deref().is_some_and(|binary| binary != "cinder-backup" && !BINARIES.iter().any(|(name, _)| *name == binary)) {
            let known = "cinder-api, cinder-volume, cinder-scheduler, cinder-backup, * and empty";
            return Err(Error::bad_request(format!("Invalid input received: binary must be one of {known}.")));
        }
        Ok(Wish { binary, server: text("server")?, prefix: text("prefix")? })
    }

    /// The processes that are meant: binary, host, module.
    async fn processes(&self, app: &Cinder) -> Result<Vec<(&'static str, String, &'static str)>> {
        let mut all = Vec::new();
        for service in store::all(app.db().read()).await? {
            for (binary, module) in BINARIES {
                // the API lives where the scheduler does
                let here = *binary == service.kind || (*binary == "cinder-api" && service.kind == "cinder-scheduler");
                if here && service.is_up() && self.binary.as_deref().is_none_or(|wanted| wanted == *binary) {
                    all.push((*binary, service.host.clone(), *module));
                }
            }
        }
        all.retain(|(_, host, _)| self.server.as_deref().is_none_or(|wanted| wanted == host || host.split('@').next() == Some(wanted)));
        Ok(all)
    }

    /// A module of ours by the name that python gave it: `cinder.volume` is `cinder::volume`; without a name, all of the process's.
    fn target(&self, module: &str) -> String {
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':'));
        match &self.prefix {
            Some(prefix) if plain(prefix) => prefix.replace('.', "::"),
            _ => module.to_owned(),
        }
    }
}

fn level(word: &str) -> Option<LevelFilter> {
    Some(match word.to_ascii_uppercase().as_str() {
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARNING" => LevelFilter::WARN,
        "ERROR" => LevelFilter::ERROR,
        _ => return None,
    })
}

fn word(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::TRACE | LevelFilter::DEBUG => "DEBUG",
        LevelFilter::INFO => "INFO",
        LevelFilter::WARN => "WARNING",
        LevelFilter::ERROR => "ERROR",
        _ => "CRITICAL",
    }
}
