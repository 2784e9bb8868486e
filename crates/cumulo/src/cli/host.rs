//! `cumulo host`: the machines that may join.

use std::process::ExitCode;
use std::time::Duration;

use kit::bus::{CONTROL, SIMULATED};
use serde_json::{Value, json};

use super::api::{self, Api, items, text};
use super::say;
use crate::apis::Api as Name;
use crate::join;
use crate::state::{self, StateDir};

/// What a host may do at the APIs, in project `service`: what services do for each other, and nothing of an administrator.
const ROLE: &str = "service";
/// What hosts of earlier versions had besides.
const FORMER: &str = "admin";
/// Those who are no host on the bus.
const TAKEN: [&str; 2] = [CONTROL, SIMULATED];

/// Gives a host a login of its own, and prints the command by which the machine joins.
pub fn add(state: &StateDir, name: &str, minutes: u64) -> Result<ExitCode, String> {
    let config = state.effective()?;
    if config.bus.url.is_none() {
        return Err("This cloud is one process; machines join one that has a [bus] url in cumulo.toml.".into());
    }
    let named = !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if !named || TAKEN.contains(&name) {
        return Err(format!("{name:?} is no name for a host: letters, digits, dashes and dots, but not {}.", TAKEN.join(" or ")));
    }
    let (user, password) = (format!("host-{name}"), state::random()?);
    api::block_on(async {
        let api = Api::admin(state).await?;
        login(&api, &user, &password).await
    })?;
    join::users::let_in(&config, name, (&user, &password))?;
    let valid = Duration::from_secs(minutes * 60);
    let token = join::invite(&state.shared(&config), name, (&user, &password), valid)?;
    let at = format!("{}:{}", config.public_host(), config.ports.of(Name::Join));
    if let Some(users) = &config.bus.users {
        say(&format!("Have NATS read {} again: nats-server --signal reload", users.display()));
    }
    say(&format!("On {name}, within {minutes} minutes:"));
    say(&format!("cumulo up --role nova-compute,neutron-agent,cinder-volume --join {token}@{at}"));
    Ok(ExitCode::SUCCESS)
}

/// Takes a host's login away.
pub fn remove(state: &StateDir, name: &str) -> Result<ExitCode, String> {
    api::block_on(async {
        let api = Api::admin(state).await?;
        let user = find(&api, &format!("/users?name=host-{name}"), "users").await?;
        api.remove(&api.identity, &format!("/users/{user}")).await
    })?;
    join::users::shut_out(&state.effective()?, &format!("host-{name}"))?;
    say(&format!("{name} cannot log in any more."));
    Ok(ExitCode::SUCCESS)
}

/// The user, with this password whatever it had before, and its one role.
async fn login(api: &Api, user: &str, password: &str) -> Result<(), String> {
    let project = find(api, "/projects?name=service", "projects").await?;
    let wanted = json!({"user": {"name": user, "password": password, "domain_id": "default", "description": "A host"}});
    api.ensure(&api.identity, "/users", &wanted).await?;
    let id = find(api, &format!("/users?name={user}"), "users").await?;
    api.change(http::Method::PATCH, &format!("/users/{id}"), Some(&json!({"user": {"password": password}}))).await?;
    let role = find(api, &format!("/roles?name={ROLE}"), "roles").await?;
    api.change(http::Method::PUT, &format!("/projects/{project}/users/{id}/roles/{role}"), None).await?;
    let former = find(api, &format!("/roles?name={FORMER}"), "roles").await?;
    api.remove(&api.identity, &format!("/projects/{project}/users/{id}/roles/{former}")).await
}

async fn find(api: &Api, path: &str, key: &str) -> Result<String, String> {
    let found: Value = api.get(&api.identity, path, key).await?;
    items(&found).first().map(|item| text(item, "/id").to_owned()).ok_or_else(|| format!("Keystone has none at {path}."))
}
