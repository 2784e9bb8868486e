//! `cumulo hello`: the first guest, and how to reach it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::{self, Api, items, text};
use super::{say, timeline};
use crate::state::StateDir;

const NAME: &str = "hello";
const ACTIVE: Duration = Duration::from_secs(120);
const SSH: Duration = Duration::from_secs(180);

/// Boots `hello` for the user demo unless it exists, and prints what one does next.
pub fn hello(state: &StateDir) -> Result<(), String> {
    let address = api::block_on(async {
        let api = Api::demo(state).await?;
        let server = match find(&api, &api.compute, "/servers/detail?name=%5Ehello%24", "servers", NAME).await? {
            Some(server) => server,
            None => match boot(state, &api).await? {
                Some(server) => server,
                None => return Ok(None),
            },
        };
        let id = text(&server, "/id").to_owned();
        wait_active(&api, &id).await?;
        let address = floating_ip(&api, &id).await?;
        let simulated = state.effective()?.sim_hosts > 0;
        if !simulated {
            wait_ssh(&address).await?;
        }
        Ok(Some((!simulated).then_some(address)))
    })?;
    if address.is_some() {
        timeline::timeline(state, NAME)?;
        say("");
    } else {
        say("There is no image to boot a first guest from; `openstack image create` brings one.");
    }
    say(&format!("logs       {}", state.join("log").display()));
    if let Some(address) = address.flatten() {
        let key = state.join("hello.key");
        say(&format!("ssh        ssh -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null cumulo@{address}", key.display()));
    }
    say(&format!("openstack  source {}", state.join("openrc").display()));
    Ok(())
}

/// Everything `hello` needs: a key, rules that let ssh and ping in, the server itself.
/// Nothing when there is no image, which a cloud of simulated hosts may do without.
async fn boot(state: &StateDir, api: &Api) -> Result<Option<Value>, String> {
    let image = find(api, &api.image, "/images?name=cumulo-guest", "images", "cumulo-guest").await?;
    let Some(image) = image else { return Ok(None) };
    keypair(state, api).await?;
    let groups = api.get(&api.network, "/security-groups?name=default", "security_groups").await?;
    let group = items(&groups).first().map(|g| text(g, "/id").to_owned()).ok_or("Project demo has no security group `default`.")?;
    for (protocol, port) in [("tcp", Some(22)), ("icmp", None)] {
        let rule = json!({"security_group_rule": {"security_group_id": group, "direction": "ingress", "protocol": protocol, "port_range_min": port, "port_range_max": port}});
        api.ensure(&api.network, "/security-group-rules", &rule).await?;
    }
    let flavors = find(api, &api.compute, "/flavors", "flavors", "m1.nano").await?.ok_or("There is no flavor m1.nano.")?;
    let network =
        find(api, &api.network, "/networks?name=private", "networks", "private").await?.ok_or("There is no network `private`.")?;
    say("booting the first guest, `hello`");
    let body = json!({"server": {
        "name": NAME, "key_name": NAME, "imageRef": text(&image, "/id"), "flavorRef": text(&flavors, "/id"),
        "networks": [{"uuid": text(&network, "/id")}],
    }});
    api.post(&api.compute, "/servers", &body, "server").await.map(Some)
}

/// A key of the cloud's making; its private half stays in the state directory. One whose private half is lost is replaced.
async fn keypair(state: &StateDir, api: &Api) -> Result<(), String> {
    let path = state.join("hello.key");
    if path.exists() {
        return Ok(());
    }
    api.remove(&api.compute, "/os-keypairs/hello").await?;
    let keypair = api.post(&api.compute, "/os-keypairs", &json!({"keypair": {"name": NAME}}), "keypair").await?;
    state.write("hello.key", text(&keypair, "/private_key"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(|error| error.to_string())
}

async fn wait_active(api: &Api, id: &str) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let server = api.get(&api.compute, &format!("/servers/{id}"), "server").await?;
        match text(&server, "/status") {
            "ACTIVE" => return Ok(()),
            "ERROR" => return Err(format!("`hello` could not be booted: {}", text(&server, "/fault/message"))),
            status if began.elapsed() > ACTIVE => return Err(format!("`hello` is still {status} after {} s.", ACTIVE.as_secs())),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The floating IP of the server's first port; one is made when it has none.
async fn floating_ip(api: &Api, server_id: &str) -> Result<String, String> {
    let ports = api.get(&api.network, &format!("/ports?device_id={server_id}"), "ports").await?;
    let port = items(&ports).first().map(|p| text(p, "/id").to_owned()).ok_or("`hello` has no port.")?;
    let existing = api.get(&api.network, &format!("/floatingips?port_id={port}"), "floatingips").await?;
    if let Some(floating) = items(&existing).first() {
        return Ok(text(floating, "/floating_ip_address").to_owned());
    }
    let public = find(api, &api.network, "/networks?name=public", "networks", "public").await?.ok_or("There is no network `public`.")?;
    let body = json!({"floatingip": {"floating_network_id": text(&public, "/id"), "port_id": port}});
    let floating = api.post(&api.network, "/floatingips", &body, "floatingip").await?;
    Ok(text(&floating, "/floating_ip_address").to_owned())
}

/// Waits for the guest's ssh banner.
async fn wait_ssh(address: &str) -> Result<(), String> {
    let address: SocketAddr = format!("{address}:22").parse().map_err(|_| format!("{address} is no address."))?;
    let began = Instant::now();
    while began.elapsed() < SSH {
        let mut banner = [0u8; 4];
        let knock = async {
            let mut socket = tokio::net::TcpStream::connect(address).await?;
            tokio::io::AsyncReadExt::read_exact(&mut socket, &mut banner).await
        };
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(5), knock).await {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("`hello` does not answer ssh at {address} after {} s; its console: `openstack console log show hello`.", SSH.as_secs()))
}

async fn find(api: &Api, endpoint: &sdk::Endpoint, path: &str, key: &str, name: &str) -> Result<Option<Value>, String> {
    let list = api.get(endpoint, path, key).await?;
    Ok(items(&list).iter().find(|item| text(item, "/name") == name).cloned())
}
