//! What nova says: servers, what they have, how they move, and whether all that is settled.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::book::{Book, number};
use super::{Findings, Outcome};

/// Migrations that are over.
const OVER: [&str; 7] = ["confirmed", "reverted", "error", "failed", "done", "completed", "cancelled"];

/// A server that is not deleted.
pub struct Server {
    pub project: String,
    /// Empty when it is on none.
    pub host: String,
    pub vm_state: String,
    pub task_state: String,
    pub vcpus: i64,
    pub ram_mb: i64,
    /// Its process runs.
    pub runs: bool,
    /// The flavor's words do not say something else than its numbers.
    pub plain: bool,
    pub ports: Vec<String>,
}

/// A volume of a server.
pub struct Device {
    pub instance: String,
    pub volume: String,
    pub attachment: String,
}

pub struct Move {
    pub instance: String,
    pub status: String,
}

pub struct Nova {
    pub servers: BTreeMap<String, Server>,
    pub devices: Vec<Device>,
    /// By their ids, which consume allocations.
    pub moves: BTreeMap<String, Move>,
    /// Hosts by their ids, which are those of resource providers.
    pub nodes: BTreeMap<String, String>,
    busy: BTreeSet<String>,
    leftovers: Vec<String>,
    quotas: Vec<[String; 4]>,
}

impl Nova {
    pub async fn read(book: &Book) -> Outcome<Nova> {
        let servers = book
            .rows::<10>(
                "SELECT id, project_id, host, vm_state, task_state, CAST(vcpus AS TEXT), CAST(ram_mb AS TEXT), CAST(power_state AS TEXT), \
                 flavor, network_info FROM instances WHERE NOT deleted",
            )
            .await?;
        let devices = "SELECT d.instance_id, d.volume_id, d.attachment_id FROM block_devices d JOIN instances i ON i.id = d.instance_id \
                       WHERE NOT i.deleted AND d.volume_id IS NOT NULL";
        let moves = book.rows::<3>("SELECT id, instance_id, status FROM migrations").await?;
        Ok(Nova {
            servers: servers.into_iter().map(server).collect::<Outcome<_>>()?,
            devices: (book.rows(devices).await?.into_iter())
                .map(|[instance, volume, attachment]| Device { instance, volume, attachment })
                .collect(),
            moves: moves.into_iter().map(|[id, instance, status]| (id, Move { instance, status })).collect(),
            nodes: book.rows::<2>("SELECT id, host FROM compute_nodes").await?.into_iter().map(|[id, host]| (id, host)).collect(),
            busy: book.column("SELECT subject FROM flows").await?,
            leftovers: book.column("SELECT consumer_id FROM leftover_allocations").await?,
            quotas: book
                .rows("SELECT project_id, CAST(instances AS TEXT), CAST(cores AS TEXT), CAST(ram AS TEXT) FROM quota_usages")
                .await?,
        })
    }

    /// Nothing is being done with it, so that what it has can be compared with what it should have.
    pub fn is_settled(&self, id: &str) -> bool {
        let idle = |server: &Server| server.task_state.is_empty() && server.vm_state != "building";
        self.servers.get(id).is_some_and(idle) && !self.is_moving(id) && !self.busy.contains(id)
    }

    /// It is on its way, or waits to be confirmed or reverted.
    pub fn is_moving(&self, id: &str) -> bool {
        self.moves.values().any(|migration| migration.instance == id && !is_over(&migration.status))
    }

    pub fn check(&self, findings: &mut Findings) {
        let hosts: BTreeSet<&String> = self.nodes.values().collect();
        for (id, server) in &self.servers {
            let Server { vm_state, task_state, host, .. } = server;
            if vm_state == "building" || !task_state.is_empty() {
                findings.say(format!("nova: server {id} stays {vm_state} with the task {task_state:?}"));
            }
            if !host.is_empty() && !hosts.contains(host) {
                findings.say(format!("nova: server {id} is on the host {host}, which there is not"));
            }
        }
        for (id, migration) in self.moves.iter().filter(|(_, migration)| !is_over(&migration.status)) {
            let Move { instance, status } = migration;
            if !self.servers.contains_key(instance) {
                findings.say(format!("nova: migration {id} is {status}, but there is no server {instance}"));
            } else if status != "finished" && !self.busy.contains(instance) {
                findings.say(format!("nova: migration {id} of server {instance} is {status}, and nobody works on it"));
            }
        }
        for consumer in &self.leftovers {
            findings.say(format!("nova: allocations of {consumer} are still to be given back"));
        }
        self.check_quotas(findings);
    }

    fn check_quotas(&self, findings: &mut Findings) {
        let mut used: BTreeMap<&str, [i64; 3]> = BTreeMap::new();
        for server in self.servers.values() {
            let sum = used.entry(&server.project).or_default();
            for (sum, amount) in sum.iter_mut().zip([1, server.vcpus, server.ram_mb]) {
                *sum += amount;
            }
        }
        let told: BTreeMap<&str, [i64; 3]> =
            self.quotas.iter().map(|[project, instances, cores, ram]| (&**project, [instances, cores, ram].map(|n| number(n)))).collect();
        let projects: BTreeSet<&str> = used.keys().chain(told.keys()).copied().collect();
        for project in projects {
            let of = |counts: &BTreeMap<&str, [i64; 3]>| counts.get(project).copied().unwrap_or_default();
            let (told, used) = (of(&told), of(&used));
            if told != used {
                findings.say(format!("nova: project {project} is counted with instances, cores, RAM {told:?}, and uses {used:?}"));
            }
        }
    }
}

/// Whether a migration in this state holds nothing any more.
pub fn is_over(status: &str) -> bool {
    OVER.contains(&status)
}

fn server(row: [String; 10]) -> Outcome<(String, Server)> {
    let [id, project, host, vm_state, task_state, vcpus, ram_mb, power_state, flavor, network_info] = row;
    let flavor: Value = serde_json::from_str(&flavor)?;
    let special = |key: &String| key.starts_with("resource") || key.starts_with("hw:");
    let plain = !flavor.get("extra_specs").and_then(Value::as_object).is_some_and(|specs| specs.keys().any(special));
    let network_info: Value = serde_json::from_str(&network_info)?;
    let nics = network_info.as_array().into_iter().flatten();
    let ports = nics.filter_map(|nic| nic.get("port_id")?.as_str().map(str::to_owned)).collect();
    let runs = vm_state == "active" && power_state == "1";
    let (vcpus, ram_mb) = (number(&vcpus), number(&ram_mb));
    Ok((id, Server { project, host, vm_state, task_state, vcpus, ram_mb, runs, plain, ports }))
}
