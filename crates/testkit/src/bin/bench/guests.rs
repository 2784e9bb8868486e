//! Real boots: what Cumulo adds to what QEMU itself takes. The yardstick is the very command line of a booted guest, run by hand on a fresh
//! copy of its disks; only its control socket is left out and its tap replaced by QEMU's own network.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::by_hand::ByHand;
use crate::cloud::{Api, Cloud};
use crate::{Outcome, median};

const BOOTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn measure(binary: &Path, image: &Path) -> Outcome<Value> {
    let image_argument = image.to_string_lossy();
    let cloud = Cloud::start(binary, &["--guest-image", &image_argument]).await?;
    let figures = boots(&cloud).await;
    let figures = match figures {
        Ok(mut figures) => crate::volumes::real(&cloud.admin().await?, cloud.state.path()).await.map(|volumes| {
            figures["volumes"] = volumes;
            figures
        }),
        Err(error) => Err(error),
    };
    let state = cloud.stop().await?;
    std::process::Command::new(binary).arg("--state-dir").arg(state.path()).arg("clean-state").output()?;
    figures
}

async fn boots(cloud: &Cloud) -> Outcome<Value> {
    let api = cloud.admin().await?;
    api.lift_quotas().await?;
    let place = Place::make(&api).await?;
    let (mut exec, mut ssh, mut hand) = (Vec::new(), Vec::new(), Vec::new());
    // the first boot fills the image cache
    for n in 0..=BOOTS {
        let (to_exec, to_ssh, by_hand) = place.boot(cloud, &api, n).await?;
        let alone = by_hand.run().await?;
        if n > 0 {
            exec.push(to_exec);
            ssh.push(to_ssh);
            hand.push(alone);
        }
    }
    let (ssh, hand) = (median(&mut ssh), median(&mut hand));
    Ok(json!({
        "post_to_qemu_exec_ms": median(&mut exec),
        "post_to_qemu_exec_aim_ms": 150,
        "post_to_ssh_s": ssh,
        "qemu_by_hand_to_ssh_s": hand,
        "ratio": ssh / hand,
    }))
}

/// Where the guests boot: a network with a way in.
struct Place {
    image: String,
    network: String,
    external: String,
    group: String,
}

impl Place {
    async fn make(api: &Api) -> Outcome<Place> {
        let image = api.any_image().await?;
        let network = api.network("bench", "10.66.0.0/24").await?;
        let networks: Vec<Value> = api.network.get(&api.auth, "/networks?router:external=True").await?.take("networks")?;
        let external = id_of(networks.first().ok_or("no external network")?);
        let subnets: Vec<Value> = api.network.get(&api.auth, &format!("/subnets?network_id={network}")).await?.take("subnets")?;
        let gateway = json!({"router": {"name": "bench", "external_gateway_info": {"network_id": external}}});
        let router: Value = api.network.post(&api.auth, "/routers", &gateway).await?.take("router")?;
        let interface = json!({"subnet_id": id_of(subnets.first().ok_or("no subnet")?)});
        api.network.put(&api.auth, &format!("/routers/{}/add_router_interface", id_of(&router)), &interface).await?;
        let group: Value =
            api.network.post(&api.auth, "/security-groups", &json!({"security_group": {"name": "bench"}})).await?.take("security_group")?;
        let rule = json!({"security_group_rule": {"security_group_id": id_of(&group), "direction": "ingress", "ethertype": "IPv4",
            "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}});
        api.network.post(&api.auth, "/security-group-rules", &rule).await?;
        Ok(Place { image, network, external, group: id_of(&group) })
    }

    /// Boots one guest and deletes it: ms to its QEMU, s to its ssh server's greeting, and its like to run by hand.
    async fn boot(&self, cloud: &Cloud, api: &Api, n: usize) -> Outcome<(f64, f64, ByHand)> {
        let port = json!({"port": {"network_id": self.network, "security_groups": [self.group]}});
        let port = id_of(&api.network.post(&api.auth, "/ports", &port).await?.take("port")?);
        let floating = json!({"floatingip": {"floating_network_id": self.external, "port_id": port}});
        let floating: Value = api.network.post(&api.auth, "/floatingips", &floating).await?.take("floatingip")?;
        let address = format!("{}:22", floating["floating_ip_address"].as_str().unwrap_or_default());
        let body = json!({"server": {"name": format!("g{n}"), "imageRef": self.image, "flavorRef": "42", "config_drive": true,
            "networks": [{"port": port}]}});

        let began = Instant::now();
        let server: Value = api.compute.post(&api.auth, "/servers", &body).await?.take("server")?;
        let id = id_of(&server);
        let arguments = loop {
            if let Some(arguments) = qemu(cloud.state.path(), &id) {
                break arguments;
            }
            within(began, "no QEMU appears")?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let to_exec = began.elapsed().as_secs_f64() * 1000.0;
        until_greeted(&address, began).await?;
        let to_ssh = began.elapsed().as_secs_f64();

        let by_hand = ByHand::like(&arguments)?;
        api.compute.delete(&api.auth, &format!("/servers/{id}")).await?;
        while api.status(&id).await.is_ok() {
            within(began, "the server is not deleted")?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        api.network.delete(&api.auth, &format!("/floatingips/{}", id_of(&floating))).await?;
        api.network.delete(&api.auth, &format!("/ports/{port}")).await?;
        Ok((to_exec, to_ssh, by_hand))
    }
}

fn id_of(item: &Value) -> String {
    item["id"].as_str().unwrap_or_default().to_owned()
}

fn within(began: Instant, otherwise: &str) -> Outcome<()> {
    if began.elapsed() > PATIENCE { Err(otherwise.into()) } else { Ok(()) }
}

/// Waits until an ssh server says its name at `address`; one try takes at most a quarter of a second.
pub async fn until_greeted(address: &str, began: Instant) -> Outcome<()> {
    loop {
        let greeting = async {
            let mut bytes = [0u8; 4];
            let mut stream = TcpStream::connect(address).await?;
            stream.read_exact(&mut bytes).await?;
            std::io::Result::Ok(bytes)
        };
        if let Ok(Ok(bytes)) = tokio::time::timeout(Duration::from_millis(250), greeting).await
            && &bytes == b"SSH-"
        {
            return Ok(());
        }
        within(began, "no ssh server answers")?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The command line of this server's QEMU, once there is one.
fn qemu(state: &Path, id: &str) -> Option<Vec<String>> {
    let state = state.to_string_lossy();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = std::fs::read(PathBuf::from("/proc").join(entry.file_name()).join("cmdline")).ok()?;
        let line = String::from_utf8(line).ok()?;
        let found = line.starts_with("qemu-system") && line.contains(id) && line.contains(state.as_ref());
        found.then(|| line.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
    })
}
