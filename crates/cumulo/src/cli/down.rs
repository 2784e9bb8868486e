//! `cumulo down` and `cumulo clean-state`.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::api::{self, Api};
use super::say;
use crate::config::Config;
use crate::state::StateDir;

/// Requests at hand get ten seconds to finish; a little more for the rest.
const STOP: Duration = Duration::from_secs(20);
/// Guests are asked by ACPI first.
const GUESTS: Duration = Duration::from_secs(90);

/// Stops the cloud; guests go on unless `guests`.
pub fn down(state: &StateDir, guests: bool) -> Result<(), String> {
    let Some(pid) = state.running() else {
        if guests {
            nova_compute::cleanup_guests(state.path()).map_err(|error| error.to_string())?;
        }
        say("The cloud is not running.");
        return Ok(());
    };
    if guests {
        api::block_on(stop_guests(state))?;
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|error| format!("Process {pid} cannot be asked to stop: {error}."))?;
    let began = Instant::now();
    while state.running().is_some() {
        if began.elapsed() > STOP {
            return Err(format!("Process {pid} has not stopped in {} s; its log tells why.", STOP.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    say(if guests { "The cloud and its guests are stopped." } else { "The cloud is stopped; its guests go on." });
    Ok(())
}

/// Stops the cloud and its guests and removes all it made on this machine.
pub fn clean_state(state: &StateDir) -> Result<(), String> {
    if state.running().is_some() {
        down(state, false)?;
    }
    let report = |what: &str, result: Result<(), String>| result.map_err(|error| format!("{what} could not be removed: {error}"));
    report("Guests", nova_compute::cleanup(state.path()).map_err(|error| error.to_string()))?;
    report("Networks", api::block_on(async { neutron_agent::cleanup(state.path()).await.map_err(|error| error.to_string()) }))?;
    let effective = std::fs::read_to_string(state.join("run/effective.toml")).ok().and_then(|text| toml::from_str::<Config>(&text).ok());
    let further = effective.unwrap_or_default().volumes.backends.into_iter().map(|backend| backend.directory(state.path()));
    for directory in std::iter::once(state.path().to_owned()).chain(further) {
        report("Volume exports", cinder_volume::cleanup(&directory).map_err(|error| error.to_string()))?;
    }
    std::fs::remove_dir_all(state.path()).map_err(|error| format!("{} could not be removed: {error}.", state.path().display()))?;
    say(&format!("Everything of the cloud in {} is removed.", state.path().display()));
    Ok(())
}

/// Stops every server through the API, so that the cloud knows it.
async fn stop_guests(state: &StateDir) -> Result<(), String> {
    let api = Api::admin(state).await?;
    let began = Instant::now();
    let mut asked = Vec::new();
    loop {
        let servers = api.get(&api.compute, "/servers/detail?all_tenants=1&status=ACTIVE&limit=1000", "servers").await?;
        let running = api::items(&servers);
        if running.is_empty() {
            return Ok(());
        }
        if began.elapsed() > GUESTS {
            return Err(format!("{} guests have not stopped in {} s.", running.len(), GUESTS.as_secs()));
        }
        for server in running {
            let id = api::text(server, "/id").to_owned();
            if !asked.contains(&id) {
                say(&format!("stopping {}", api::text(server, "/name")));
                // one that is busy refuses now and is asked again
                if api.post(&api.compute, &format!("/servers/{id}/action"), &json!({"os-stop": null}), "").await.is_ok() {
                    asked.push(id);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
