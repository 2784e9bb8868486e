//! The real data plane of one host: how long ports take to be wired, what a restart of the host's cloud costs with many of them, and what
//! the firewall costs packets, beside a bare bridge in the same run. Guests are network namespaces, so that no guest's speed is measured.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::cloud::{Api, Cloud};
use crate::traffic::{self, Pair};
use crate::{Outcome, median, note};

/// Ports wired one after the other.
const SINGLE: usize = 30;
/// Leases asked for one after the other.
const LEASES: usize = 5;
/// Ports that crowd a host, in all: the kernel lets a bridge have 1,023.
const CROWD: usize = 1000;
/// Ports of the two guests whose packets are measured.
const PAIR: usize = 2;
const PATIENCE: Duration = Duration::from_secs(180);
/// What guests' links carry, with tunnels and without.
const MTU: u32 = 1450;

pub async fn measure(binary: &Path) -> Outcome<Value> {
    let cloud = Cloud::start(binary, &[]).await?;
    let mut figures = serde_json::Map::new();
    let api = cloud.admin().await?;
    api.lift_quotas().await?;
    let bench = Bench::make(&api).await?;

    note("ports wired one after the other");
    figures.insert("wired_after_binding_median_ms".into(), json!(bench.wire_singly().await?));
    note("leases");
    figures.insert("first_dhcp_answer_median_ms".into(), json!(bench.lease().await?));
    let (ours, bare) = (bench.pair().await?, bare_bridge().await?);
    for rules in [0, 10, 1000] {
        note(&format!("packets with {rules} rules"));
        bench.guard(rules).await?;
        traffic::reachable(&ours).await?;
        figures.insert(format!("packets_rules_{rules}"), traffic::compare(&ours, &bare).await?);
    }
    note("packets among many ports");
    bench.guard(10).await?;
    let before = cloud.rss_mb()?;
    let took = bench.crowd().await?;
    figures.insert(format!("wired_{CROWD}_s"), json!(took));
    figures.insert("host_rss_mb_per_1000_ports".into(), json!((cloud.rss_mb()? - before) * 1000.0 / CROWD as f64));
    figures.insert(format!("packets_rules_10_ports_{CROWD}"), traffic::compare(&ours, &bare).await?);
    figures.insert("aim_ratio".into(), json!(0.85));

    note("a restart with many ports");
    let state = cloud.stop().await?;
    let began = Instant::now();
    let cloud = Cloud::start_in(binary, &[], state).await?;
    let up = cloud.ready.as_secs_f64();
    let all = until_resynced(&cloud, began).await?;
    figures.insert(format!("restart_to_{CROWD}_ports_compared_s"), json!(all));
    figures.insert("restart_to_apis_s".into(), json!(up));
    let state = cloud.stop().await?;
    Command::new(binary).arg("--state-dir").arg(state.path()).arg("clean-state").output().await?;
    Ok(Value::Object(figures))
}

/// Waits until the agent, started anew, has said of all ports that they are wired.
async fn until_resynced(cloud: &Cloud, began: Instant) -> Outcome<f64> {
    let log = cloud.state.path().join("log/neutron/linuxbridge-agent.log");
    loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let mut said = text
            .lines()
            .filter(|line| line.contains("ports wired"))
            .filter_map(|line| line.split_once("up=")?.1.split(' ').next()?.parse().ok());
        if said.next_back().is_some_and(|up: usize| up >= CROWD) {
            return Ok(began.elapsed().as_secs_f64());
        }
        within(began, "the agent does not say that the ports are wired")?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A network of the cloud, and the host its ports are on.
struct Bench {
    api: Api,
    host: String,
    network: String,
    /// Two ports that guests have, with their namespaces' names.
    guests: [Value; PAIR],
}

impl Bench {
    async fn make(api: &Api) -> Outcome<Bench> {
        let began = Instant::now();
        let host = loop {
            let agents: Vec<Value> = api.network.get(&api.auth, "/agents").await?.take("agents")?;
            if let Some(host) = agents.first().and_then(|agent| agent["host"].as_str()) {
                break host.to_owned();
            }
            within(began, "no agent is there")?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let network = api.network("taps", "10.161.0.0/16").await?;
        let mut bench = Bench { api: api.clone(), host, network, guests: [Value::Null, Value::Null] };
        for (n, name) in ["guest-a", "guest-b"].into_iter().enumerate() {
            let port = bench.port().await?;
            plug(name, &tap(&port), port["mac_address"].as_str().unwrap_or_default()).await?;
            bench.bind(&port).await?;
            let address = port["fixed_ips"][0]["ip_address"].as_str().unwrap_or_default();
            shell(&format!("ip -n {name} address add {address}/16 dev eth0")).await?;
            if let Some(place) = bench.guests.get_mut(n) {
                *place = port;
            }
        }
        Ok(bench)
    }

    async fn port(&self) -> Outcome<Value> {
        Ok(self.api.network.post(&self.api.auth, "/ports", &json!({"port": {"network_id": self.network}})).await?.take("port")?)
    }

    /// Binds a port and waits until it is wired; ms.
    async fn bind(&self, port: &Value) -> Outcome<f64> {
        let path = format!("/ports/{}", id_of(port));
        let began = Instant::now();
        let body = json!({"port": {"binding:host_id": self.host, "device_owner": "compute:bench", "device_id": "bench"}});
        self.api.network.put(&self.api.auth, &path, &body).await?;
        loop {
            let now: Value = self.api.network.get(&self.api.auth, &format!("{path}?fields=status")).await?.take("port")?;
            if now["status"] == "ACTIVE" {
                return Ok(began.elapsed().as_secs_f64() * 1000.0);
            }
            within(began, "a port is not wired")?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The tap is there first, as nova makes it.
    async fn wire_singly(&self) -> Outcome<f64> {
        let mut millis = Vec::new();
        for _ in 0..SINGLE {
            let port = self.port().await?;
            shell(&format!("ip tuntap add {} mode tap", tap(&port))).await?;
            millis.push(self.bind(&port).await?);
        }
        Ok(median(&mut millis))
    }

    /// From a wired port to the lease a guest's client gets.
    async fn lease(&self) -> Outcome<f64> {
        let mut millis = Vec::new();
        for n in 0..LEASES {
            let (port, name) = (self.port().await?, format!("lease-{n}"));
            plug(&name, &tap(&port), port["mac_address"].as_str().unwrap_or_default()).await?;
            self.bind(&port).await?;
            let began = Instant::now();
            shell(&format!("ip netns exec {name} busybox udhcpc -i eth0 -s /bin/true -n -q -t 60 -T 1")).await?;
            millis.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(median(&mut millis))
    }

    async fn pair(&self) -> Outcome<Pair> {
        let address = self.guests[1]["fixed_ips"][0]["ip_address"].as_str().unwrap_or_default().parse()?;
        Ok(Pair { from: "guest-a".into(), to: "guest-b".into(), address })
    }

    /// Puts both guests behind so many rules, the last of which lets them reach each other; behind none, port security is off.
    async fn guard(&self, rules: usize) -> Outcome<()> {
        let body = match rules {
            0 => json!({"port": {"security_groups": [], "port_security_enabled": false}}),
            _ => json!({"port": {"security_groups": [self.group(rules).await?], "port_security_enabled": true}}),
        };
        for port in &self.guests {
            self.api.network.put(&self.api.auth, &format!("/ports/{}", id_of(port)), &body).await?;
        }
        let wanted = body["port"]["security_groups"][0].as_str().map(|group| format!("jump group-{group}-in")).unwrap_or_default();
        let began = Instant::now();
        while !shell("nft list table inet cumulo_groups").await?.contains(&wanted) {
            within(began, "the rules are not there")?;
        }
        Ok(())
    }

    async fn group(&self, rules: usize) -> Outcome<String> {
        let (api, group) = (&self.api, json!({"security_group": {"name": format!("rules-{rules}")}}));
        let group = id_of(&api.network.post(&api.auth, "/security-groups", &group).await?.take("security_group")?);
        let rule = |remote: String, port: Value| {
            json!({"security_group_id": group, "direction": "ingress", "protocol": "tcp", "remote_ip_prefix": remote,
                "port_range_min": port, "port_range_max": port})
        };
        let others = (1..rules).map(|n| rule(format!("198.18.{}.{}/32", n / 250, n % 250 + 1), json!(n)));
        let all: Vec<Value> = others.chain([rule("10.161.0.0/16".into(), Value::Null)]).collect();
        api.network.post(&api.auth, "/security-group-rules", &json!({"security_group_rules": all})).await?;
        Ok(group)
    }

    /// Crowds the host; seconds until all the ports that came are wired.
    async fn crowd(&self) -> Outcome<f64> {
        let port = json!({"network_id": self.network, "device_owner": "compute:bench", "device_id": "bench"});
        let ports: Vec<Value> = vec![port; CROWD - PAIR - SINGLE - LEASES];
        let made: Vec<Value> = self.api.network.post(&self.api.auth, "/ports", &json!({"ports": ports})).await?.take("ports")?;
        let taps: String = made.iter().map(|port| format!("tuntap add {} mode tap\n", tap(port))).collect();
        let batch = tempfile::NamedTempFile::new()?;
        std::fs::write(batch.path(), taps)?;
        shell(&format!("ip -batch {}", batch.path().display())).await?;
        let began = Instant::now();
        let body = json!({"port": {"binding:host_id": self.host}});
        for port in &made {
            self.api.network.put(&self.api.auth, &format!("/ports/{}", id_of(port)), &body).await?;
        }
        let down = format!("/ports?network_id={}&status=DOWN&device_owner=compute:bench&fields=id&limit=1", self.network);
        loop {
            let down: Vec<Value> = self.api.network.get(&self.api.auth, &down).await?.take("ports")?;
            if down.is_empty() {
                return Ok(began.elapsed().as_secs_f64());
            }
            within(began, "not all ports are wired")?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Two guests on a bridge that nobody looks at.
async fn bare_bridge() -> Outcome<Pair> {
    shell("ip link add bare0 type bridge; ip link set bare0 up; sysctl -q -w net.bridge.bridge-nf-call-iptables=0 2>/dev/null; true")
        .await?;
    for (n, name) in ["bare-a", "bare-b"].into_iter().enumerate() {
        plug(name, &format!("bare{}", n + 1), &format!("fa:16:3e:ba:4e:0{n}")).await?;
        shell(&format!("ip link set bare{0} master bare0 up; ip -n {name} address add 192.0.2.{0}/24 dev eth0", n + 1)).await?;
    }
    Ok(Pair { from: "bare-a".into(), to: "bare-b".into(), address: "192.0.2.2".parse()? })
}

/// A guest that is a namespace, one end of whose link has this name on the host.
async fn plug(name: &str, link: &str, mac: &str) -> Outcome<()> {
    shell(&format!("ip netns add {name} && ip link add {link} mtu {MTU} type veth peer name eth0 address {mac} mtu {MTU} netns {name}"))
        .await?;
    shell(&format!("ip -n {name} link set lo up; ip -n {name} link set eth0 up")).await.map(drop)
}

/// The tap of a port, named as nova and the agent name it.
fn tap(port: &Value) -> String {
    format!("cut{}", id_of(port).chars().take(11).collect::<String>())
}

fn id_of(item: &Value) -> String {
    item["id"].as_str().unwrap_or_default().to_owned()
}

fn within(began: Instant, otherwise: &str) -> Outcome<()> {
    if began.elapsed() > PATIENCE { Err(otherwise.into()) } else { Ok(()) }
}

async fn shell(command: &str) -> Outcome<String> {
    let output = Command::new("sh").args(["-c", command]).output().await?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
