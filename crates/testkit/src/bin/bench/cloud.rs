//! A cloud that is measured: a process of its own in a temporary state directory.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sdk::{Auth, Endpoint};
use serde_json::{Value, json};

use crate::Outcome;

/// Keystone to cinder on their standard ports; all must answer for a cloud to be ready.
const APIS: [u16; 6] = [5000, 8774, 8778, 9292, 9696, 8776];
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cloud {
    process: Process,
    pub state: tempfile::TempDir,
    /// From exec to every API answering.
    pub ready: Duration,
}

/// The process of a measurement that failed is in the way of the next, so it does not outlive it.
struct Process(Child);

impl Process {
    fn start(binary: &Path, state: &Path, arguments: &[&str]) -> Outcome<Process> {
        let mut command = Command::new(binary);
        command.arg("--state-dir").arg(state).arg("up").args(arguments).stdout(Stdio::null()).stderr(Stdio::inherit());
        Ok(Process(command.spawn()?))
    }

    /// Processor time used so far, ms.
    fn cpu_ms(&self) -> Outcome<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).ok_or("no stat")?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
        // user and system time, in hundredths of a second
        Ok((ticks(11) + ticks(12)) * 10.0)
    }
}

/// Waits for the files that tell clients where to go: they are the last thing that a start writes.
async fn started(state: &Path) {
    let began = Instant::now();
    while !state.join("cumulo.pid").exists() && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A further process of a cloud, in roles that have no API. It ends when this is dropped.
pub struct Part {
    process: Process,
    _state: tempfile::TempDir,
}

impl Part {
    pub async fn start(binary: &Path, roles: &str, state: tempfile::TempDir) -> Outcome<Part> {
        let process = Process::start(binary, state.path(), &["--role", roles])?;
        started(state.path()).await;
        Ok(Part { process, _state: state })
    }

    /// Processor time used so far, ms.
    pub fn cpu_ms(&self) -> Outcome<f64> {
        self.process.cpu_ms()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // usually it has ended, and was waited for
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Cloud {
    pub async fn start(binary: &Path, arguments: &[&str]) -> Outcome<Cloud> {
        Cloud::start_in(binary, arguments, tempfile::tempdir()?).await
    }

    /// Starts again where a cloud was before.
    pub async fn start_in(binary: &Path, arguments: &[&str], state: tempfile::TempDir) -> Outcome<Cloud> {
        let began = Instant::now();
        let process = Process::start(binary, state.path(), arguments)?;
        for port in APIS {
            let endpoint = Endpoint::http(&format!("http://127.0.0.1:{port}"));
            while endpoint.send(http::Method::GET, "/", Auth::nobody().headers(), sdk::Body::empty()).await.is_err() {
                if began.elapsed() > PATIENCE {
                    return Err(format!("port {port} does not answer").into());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let ready = began.elapsed();
        started(state.path()).await;
        Ok(Cloud { process, state, ready })
    }

    /// Logs in as the administrator.
    pub async fn admin(&self) -> Outcome<Api> {
        let keystone = sdk::identity::Identity::new(Endpoint::http("http://127.0.0.1:5000"));
        let token = keystone.login("admin", &self.secret("admin_password")?, "admin").await?;
        let project = keystone.validate(&Auth::token(&token), &token).await?.project.ok_or("not scoped to a project")?.id;
        Ok(Api {
            auth: Auth::token(&token),
            token,
            project,
            compute: Endpoint::http("http://127.0.0.1:8774/v2.1"),
            network: Endpoint::http("http://127.0.0.1:9696/v2.0"),
            image: Endpoint::http("http://127.0.0.1:9292/v2"),
            volume: Endpoint::http("http://127.0.0.1:8776/v3"),
        })
    }

    /// A line of `secrets.toml`.
    pub fn secret(&self, name: &str) -> Outcome<String> {
        let secrets = std::fs::read_to_string(self.state.path().join("secrets.toml"))?;
        let secret = secrets.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
        Ok(secret.ok_or_else(|| format!("no {name}"))?.to_owned())
    }

    /// Resident memory, MB.
    pub fn rss_mb(&self) -> Outcome<f64> {
        self.memory_mb("VmRSS:")
    }

    fn memory_mb(&self, name: &str) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let kb = status.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.trim().split(' ').next());
        Ok(kb.ok_or("no such figure of memory")?.parse::<f64>()? / 1024.0)
    }

    /// The peak of its memory counts from now on.
    pub fn forget_peak(&self) -> Outcome<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.process.0.id()), "5")?)
    }

    /// The most resident memory since then, MB.
    pub fn peak_mb(&self) -> Outcome<f64> {
        self.memory_mb("VmHWM:")
    }

    /// Processor time used so far, ms.
    pub fn cpu_ms(&self) -> Outcome<f64> {
        self.process.cpu_ms()
    }

    /// Asks it to stop and waits; the state directory can be started in again.
    pub async fn stop(mut self) -> Outcome<tempfile::TempDir> {
        let pid = nix::unistd::Pid::from_raw(self.process.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        tokio::task::spawn_blocking(move || self.process.0.wait().map(|_| self.state)).await?.map_err(Into::into)
    }

    pub async fn end(self) -> Outcome<()> {
        self.stop().await.map(drop)
    }
}

/// The administrator's view of a cloud.
#[derive(Clone)]
pub struct Api {
    pub auth: Auth,
    pub token: String,
    pub project: String,
    pub compute: Endpoint,
    pub network: Endpoint,
    pub image: Endpoint,
    pub volume: Endpoint,
}

impl Api {
    /// No quota stands in the way of a measurement.
    pub async fn lift_quotas(&self) -> Outcome<()> {
        let compute = json!({"quota_set": {"instances": -1, "cores": -1, "ram": -1, "force": true}});
        self.compute.put(&self.auth, &format!("/os-quota-sets/{}", self.project), &compute).await?;
        let network = json!({"quota": {"port": -1, "network": -1, "subnet": -1, "security_group": -1, "security_group_rule": -1}});
        self.network.put(&self.auth, &format!("/quotas/{}", self.project), &network).await?;
        let volume = json!({"quota_set": {"volumes": -1, "gigabytes": -1, "snapshots": -1}});
        self.volume.put(&self.auth, &format!("/os-quota-sets/{}", self.project), &volume).await?;
        Ok(())
    }

    /// A network with room for every server.
    pub async fn network(&self, name: &str, cidr: &str) -> Outcome<String> {
        let network: Value = self.network.post(&self.auth, "/networks", &json!({"network": {"name": name}})).await?.take("network")?;
        let id = network["id"].as_str().unwrap_or_default().to_owned();
        let subnet = json!({"subnet": {"network_id": id, "ip_version": 4, "cidr": cidr}});
        self.network.post(&self.auth, "/subnets", &subnet).await?;
        Ok(id)
    }

    /// The image to boot: the guest's, or an empty one that simulated hosts do not mind.
    pub async fn any_image(&self) -> Outcome<String> {
        let images: Vec<Value> = self.image.get(&self.auth, "/images").await?.take("images")?;
        if let Some(image) = images.first() {
            return Ok(image["id"].as_str().unwrap_or_default().to_owned());
        }
        let body = json!({"name": "bench", "disk_format": "raw", "container_format": "bare", "visibility": "public"});
        let image: Value = self.image.post(&self.auth, "/images", &body).await?.whole()?;
        let id = image["id"].as_str().unwrap_or_default().to_owned();
        sdk::image::Image::new(Endpoint::http("http://127.0.0.1:9292"))
            .upload(&self.auth, &id, sdk::Body::from(vec![0u8; 1 << 20]), None)
            .await?;
        Ok(id)
    }

    /// POST /servers; answers the id.
    pub async fn boot(&self, name: &str, image: &str, network: &str) -> Outcome<String> {
        let body = json!({"server": {"name": name, "imageRef": image, "flavorRef": "42", "networks": [{"uuid": network}]}});
        let server: Value = self.compute.post(&self.auth, "/servers", &body).await?.take("server")?;
        Ok(server["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The server's status.
    pub async fn status(&self, id: &str) -> Outcome<String> {
        let server: Value = self.compute.get(&self.auth, &format!("/servers/{id}")).await?.take("server")?;
        Ok(server["status"].as_str().unwrap_or_default().to_owned())
    }
}
