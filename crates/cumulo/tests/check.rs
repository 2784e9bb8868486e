//! The checker finds each kind of leak: rows and files, processes and links are put into a cloud that was well.

// A test that cannot go on shall say where, and stop.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use testkit::check::{self, Place};
use testkit::{Client, Cloud};

const BINARY: &str = env!("CARGO_BIN_EXE_cumulo");
/// The id of what is not there.
const NONE: &str = "00000000-dead-4000-8000-000000000000";

/// A cloud that was well and has ended, with what is in it.
struct Subject {
    cloud: Cloud,
    places: Vec<Place>,
    /// `one` has a volume.
    one: String,
    two: String,
    volume: String,
    image: String,
}

impl Subject {
    async fn new() -> Subject {
        let mut cloud = Cloud::start(BINARY, 2).await;
        let admin = cloud.login("admin").await;
        let (image, network) = (admin.image("i").await, admin.network("n", "10.5.0.0/24").await);
        let (one, two) = (admin.boot("one", &image, &network).await, admin.boot("two", &image, &network).await);
        for id in [&one, &two] {
            admin.wait(id, &["ACTIVE"]).await;
        }
        let volume = volume(&admin, &one).await;
        let places = vec![Place::named(cloud.state_dir().to_str().unwrap()).unwrap()];
        let found = check::settled(&places, Duration::from_secs(60)).await.unwrap();
        assert_eq!(found, BTreeSet::new(), "a cloud that is well");
        // what repairs clouds shall not repair this one
        cloud.crash();
        Subject { cloud, places, one, two, volume, image }
    }

    /// Does something to the cloud that makes the checker say something new: a line with `words`.
    async fn finds(&self, words: &str, leak: impl AsyncFnOnce()) {
        let before = check::look(&self.places).await.unwrap();
        leak().await;
        let after = check::look(&self.places).await.unwrap();
        let new: Vec<&String> = after.difference(&before).collect();
        assert!(new.iter().any(|line| line.contains(words)), "{words:?} is not said, but {new:#?}");
    }

    /// The same, for a change in the database of a service.
    async fn finds_row(&self, service: &str, words: &str, sql: &str) {
        self.finds(words, async || self.places[0].book(service).await.unwrap().unwrap().change(sql).await.unwrap()).await;
    }

    async fn finds_file(&self, words: &str, path: PathBuf) {
        self.finds(words, async || touch(&path)).await;
    }

    /// A column of a service's database.
    async fn column(&self, service: &str, sql: &str) -> Vec<String> {
        self.places[0].book(service).await.unwrap().unwrap().column(sql).await.unwrap()
    }
}

async fn volume(admin: &Client, server: &str) -> String {
    let made = admin.post(&admin.volume, "/volumes", &json!({"volume": {"size": 1}}), "volume").await;
    let id = made["id"].as_str().unwrap().to_owned();
    let status = async |wanted: &str| {
        let began = std::time::Instant::now();
        while admin.get(&admin.volume, &format!("/volumes/{id}"), "volume").await["status"] != wanted {
            assert!(began.elapsed() < testkit::PATIENCE, "volume {id} does not become {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    status("available").await;
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    admin.post(&admin.compute, &format!("/servers/{server}/os-volume_attachments"), &attach, "volumeAttachment").await;
    status("in-use").await;
    id
}

fn touch(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, []).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leaks_in_databases_are_found() {
    let subject = Subject::new().await;
    of_placement(&subject).await;
    of_neutron(&subject).await;
    of_cinder(&subject).await;
    of_glance(&subject).await;
    // last, for a server that something is being done with is not compared any more
    of_nova(&subject).await;
    drop(subject.cloud);
}

async fn of_placement(subject: &Subject) {
    let Subject { one, two, .. } = subject;
    let provider = format!("(SELECT provider_uuid FROM allocations WHERE consumer_uuid = '{one}' AND resource_class = 'VCPU')");
    let consumer = format!("INSERT INTO consumers VALUES ('{NONE}', 'p', 'u', 'INSTANCE', 1, 0, 0)");
    subject.finds_row("placement", "holds nothing", &consumer).await;
    let held = format!("INSERT INTO allocations SELECT '{NONE}', provider_uuid, 'VCPU', 1 FROM {provider} AS p");
    subject.finds_row("placement", "which is no server and no migration", &held).await;
    subject.finds_row("placement", "its allocations make", "UPDATE inventories SET used = used + 7 WHERE resource_class = 'VCPU'").await;
    let elsewhere = format!(
        "UPDATE allocations SET provider_uuid = (SELECT uuid FROM resource_providers WHERE uuid NOT IN {provider} LIMIT 1) \
         WHERE consumer_uuid = '{one}' AND resource_class = 'MEMORY_MB'"
    );
    subject.finds_row("placement", "; the provider is sim-", &elsewhere).await;
    let nothing = format!("DELETE FROM allocations WHERE consumer_uuid = '{two}'");
    subject.finds_row("placement", "takes VCPU, MEMORY_MB [1, 128]; [0, 0] are held", &nothing).await;
}

async fn of_neutron(subject: &Subject) {
    let Subject { one, two, .. } = subject;
    let port = |device: &str, owner: &str, mac: &str| {
        format!(
            "INSERT INTO ports (id, project_id, network_id, name, description, admin_state_up, status, mac_address, fixed_ips, \
             security_groups, port_security_enabled, allowed_address_pairs, extra_dhcp_opts, device_id, device_owner, host_id, vnic_type, \
             profile, dns_name, tags, revision_number, created_at, updated_at) SELECT '00000000-0000-4000-8000-0000000000{mac}', '', \
             network_id, '', '', TRUE, 'ACTIVE', 'fa:16:3e:ff:ff:{mac}', '[]', '[]', TRUE, '[]', '[]', '{device}', '{owner}', 'sim-1', \
             'normal', '{{}}', '', '[]', 0, 0, 0 FROM ports WHERE device_id = '{one}'"
        )
    };
    subject.finds_row("neutron", "is of 00000000-dead", &port(NONE, "compute:nova", "01")).await;
    subject.finds_row("neutron", "(network:router_interface) is of", &port(NONE, "network:router_interface", "02")).await;
    subject.finds_row("neutron", "(network:floatingip) is of", &port(NONE, "network:floatingip", "03")).await;
    subject.finds_row("neutron", "which does not know it", &port(one, "compute:nova", "04")).await;
    let floating = format!(
        "INSERT INTO floatingips (id, project_id, description, floating_network_id, floating_ip_address, floating_port_id, port_id, status, \
         tags, revision_number, created_at, updated_at) SELECT 'f', '', '', network_id, '1.2.3.4', id, '{NONE}', 'ACTIVE', '[]', 0, 0, 0 \
         FROM ports WHERE device_id = '{two}'"
    );
    subject.finds_row("neutron", "floating IP f has a port 00000000-dead", &floating).await;
    let waits = format!("INSERT INTO inactive_bindings SELECT id, 'sim-9', 'normal', '{{}}' FROM ports WHERE device_id = '{two}'");
    subject.finds_row("neutron", "waits to go to sim-9", &waits).await;
    let counted = "UPDATE quota_usages SET used = 0 WHERE resource = 'network'";
    subject.finds_row("neutron", "is counted with 0 of the resource network", counted).await;
    let bound = format!("UPDATE ports SET host_id = 'sim-9' WHERE device_id = '{two}'");
    subject.finds_row("neutron", "is bound to \"sim-9\"", &bound).await;
    let lost = format!("DELETE FROM ports WHERE device_id = '{two}'");
    subject.finds_row("neutron", "which there is not", &lost).await;
}

async fn of_cinder(subject: &Subject) {
    let Subject { one, volume, .. } = subject;
    let attachment = |id: &str, volume: &str, server: &str| {
        format!(
            "INSERT INTO attachments (id, volume_id, project_id, instance_id, status, mode, created_at) VALUES ('{id}', '{volume}', 'p', \
             '{server}', 'attached', 'rw', 0)"
        )
    };
    subject.finds_row("cinder", "attachment a of volume", &attachment("a", volume, NONE)).await;
    subject.finds_row("cinder", "attachment b is of volume 00000000-dead", &attachment("b", NONE, one)).await;
    subject.finds_row("cinder", "which does not know it", &attachment("c", volume, one)).await;
    let snapshot = format!(
        "INSERT INTO snapshots (id, volume_id, project_id, user_id, size, status, metadata, created_at) VALUES ('s', '{NONE}', 'p', 'u', 1, \
         'creating', '{{}}', 0)"
    );
    subject.finds_row("cinder", "snapshot s is of volume", &snapshot).await;
    subject.finds_row("cinder", "of the resource volumes", "UPDATE quota_usages SET in_use = in_use + 1 WHERE resource = 'volumes'").await;
    let gone = format!("DELETE FROM attachments WHERE instance_id = '{one}'");
    subject.finds_row("cinder", "by attachment", &gone).await;
    subject.finds_row("cinder", "is available with", &format!("UPDATE volumes SET status = 'available' WHERE id = '{volume}'")).await;
    subject.finds_row("cinder", "stays detaching", &format!("UPDATE volumes SET status = 'detaching' WHERE id = '{volume}'")).await;
    let flow = "INSERT INTO flows VALUES ('f', 'volume_delete', 'v', 0, FALSE, '{}', NULL, 'o', 0, 0)";
    subject.finds_row("cinder", "the flow volume_delete (f) of v does not end", flow).await;
    subject.finds_row("cinder", "has volume", &format!("DELETE FROM volumes WHERE id = '{volume}'")).await;
}

async fn of_glance(subject: &Subject) {
    let images = &subject.places[0].images;
    subject.finds_file("glance: the file stray is no image's", images.join("stray")).await;
    subject.finds_file("staged file stray is no image's", images.join("staging/stray")).await;
    subject.finds_file("and nobody brings it", images.join("incoming/node/stray")).await;
    let saving = format!("UPDATE images SET status = 'saving' WHERE id = '{}'", subject.image);
    subject.finds_row("glance", "stays saving", &saving).await;
    let names = subject.column("glance", &format!("SELECT name FROM image_locations WHERE image_id = '{}'", subject.image)).await;
    subject.finds("has no file", async || std::fs::remove_file(images.join(&names[0])).unwrap()).await;
}

async fn of_nova(subject: &Subject) {
    let Subject { one, two, .. } = subject;
    subject.finds_row("nova", "still to be given back", "INSERT INTO leftover_allocations VALUES ('c', 0)").await;
    subject.finds_row("nova", "counted with instances, cores, RAM [3, 2, 256]", "UPDATE quota_usages SET instances = 3").await;
    let moves = |number: u32, server: &str| {
        format!(
            "INSERT INTO migrations (number, id, instance_id, project_id, user_id, migration_type, status, old_flavor, new_flavor, \
             old_vm_state, created_at, updated_at) VALUES ({number}, 'm{number}', '{server}', 'p', 'u', 'resize', 'migrating', '{{}}', '{{}}', \
             'active', 0, 0)"
        )
    };
    subject.finds_row("nova", "but there is no server", &moves(1001, NONE)).await;
    subject.finds_row("nova", "and nobody works on it", &moves(1002, two)).await;
    subject.finds_row("nova", "on the host nowhere", &format!("UPDATE instances SET host = 'nowhere' WHERE id = '{two}'")).await;
    let flow = format!("INSERT INTO flows VALUES ('f', 'boot', '{one}', 0, FALSE, '{{}}', NULL, 'o', 0, 0)");
    subject.finds_row("nova", "the flow boot (f) of", &flow).await;
    subject.finds_row("nova", "with the task", &format!("UPDATE instances SET task_state = 'deleting' WHERE id = '{one}'")).await;
}

/// A process that says that it is this program.
struct Fake(Child);

impl Fake {
    fn new(program: &str, arguments: &[&str]) -> Fake {
        // it waits until the test lets go of its input
        let mut command = Command::new("sh");
        let started = command.arg0(program).args(["-c", "read line", "sh"]).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let line = format!("/proc/{}/cmdline", started.id());
        while !std::fs::read(&line).unwrap().starts_with(program.as_bytes()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Fake(started)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaks_on_hosts_are_found() {
    let mut subject = Subject::new().await;
    let on = |id: &str| format!("SELECT host FROM instances WHERE id = '{id}'");
    let host = subject.column("nova", &on(&subject.one)).await.remove(0);
    // the host of the first server as a machine of its own, which has what guests there would have
    let dir = tempfile::tempdir().unwrap();
    let machine = dir.path();
    std::fs::create_dir(machine.join("run")).unwrap();
    std::fs::write(machine.join("run/effective.toml"), format!("host = {host:?}\n")).unwrap();
    let mut place = Place::named(machine.to_str().unwrap()).unwrap();
    let mut fakes = Vec::new();
    for id in subject.column("nova", &format!("SELECT id FROM instances WHERE host = '{host}'")).await {
        std::fs::create_dir_all(machine.join("instances").join(&id)).unwrap();
        fakes.push(guest(machine, &id));
    }
    let network = Network::new();
    place.pid = network.as_ref().map(|network| network.0.id());
    subject.places.push(place);
    let well: BTreeSet<String> = check::look(&subject.places).await.unwrap();
    assert_eq!(well, BTreeSet::new(), "a host that is well");
    of_files(&subject, machine).await;
    of_processes(&subject, machine, &mut fakes).await;
    if let Some(network) = network {
        of_links(&subject, &network, machine).await;
    }
}

/// What looks like a guest of a server.
fn guest(machine: &Path, id: &str) -> Fake {
    let pid_file = machine.join("instances").join(id).join("pid");
    Fake::new("/usr/bin/qemu-system-x86_64", &["-uuid", id, "-pidfile", pid_file.to_str().unwrap()])
}

async fn of_files(subject: &Subject, machine: &Path) {
    let one = &subject.one;
    for (words, path) in [
        ("is of a server that there is not", format!("instances/{NONE}/disk")),
        ("is of a server that does not move", format!("instances/{one}_resize/disk")),
        ("is left over", format!("instances/{one}/snapshot-x")),
        ("_base/i.part is left over", "instances/_base/i.part".into()),
        ("is of a volume that there is not", format!("volumes/{NONE}/disk.qcow2")),
        ("serves a volume that nobody uses", format!("nbd/{NONE}.sock")),
        ("lets in an attachment that there is not", format!("nbd/gate-{NONE}/port")),
    ] {
        subject.finds_file(words, machine.join(path)).await;
    }
    let here = format!("UPDATE volumes SET host = '{}@file' WHERE id = '{}'", subject.places[1].host, subject.volume);
    subject.finds_row("cinder", "and has no disk", &here).await;
}

async fn of_processes(subject: &Subject, machine: &Path, fakes: &mut Vec<Fake>) {
    let pid_file = |path: String| machine.join(path).to_str().unwrap().to_owned();
    subject.finds("which there is not", async || fakes.push(guest(machine, NONE))).await;
    subject.finds("runs 2 times", async || fakes.push(guest(machine, &subject.one))).await;
    let disk = format!("--pid-file={}", pid_file(format!("instances/{}_resize/disk.nbd-pid", subject.one)));
    subject.finds("which does not move", async || fakes.push(Fake::new("qemu-nbd", &[&disk]))).await;
    let export = pid_file(format!("volumes/{NONE}/nbd.pid"));
    subject.finds("serves volume 00000000-dead", async || fakes.push(Fake::new("qemu-storage-daemon", &["--pidfile", &export]))).await;
    let dhcp = format!("--pid-file={}", pid_file(format!("neutron/dhcp/{NONE}/pid")));
    subject.finds("serves network 00000000-dead", async || fakes.push(Fake::new("dnsmasq", &[&dhcp]))).await;
    subject.finds("is active, and has no process", async || fakes.clear()).await;
}

/// A network of its own, for whoever may make one.
struct Network(Child);

impl Network {
    fn new() -> Option<Network> {
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let child =
            Command::new("unshare").args(["--net", "sh", "-c", "echo; read line"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Some(Network(child))
    }

    fn link(&self, name: &str) {
        let pid = self.0.id().to_string();
        let made = Command::new("nsenter").args(["-t", &pid, "-n", "ip", "link", "add", name, "type", "bridge"]).status();
        assert!(made.unwrap().success());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn of_links(subject: &Subject, network: &Network, machine: &Path) {
    let ports = subject.column("neutron", &format!("SELECT id FROM ports WHERE device_id = '{}'", subject.one)).await;
    subject.finds("has no tap for its port", async || std::fs::create_dir_all(machine.join("neutron")).unwrap()).await;
    network.link(&format!("cut{}", &ports[0][..11]));
    let lines = check::look(&subject.places).await.unwrap();
    assert!(!lines.iter().any(|line| line.contains("the link cut")), "{lines:#?}");
    subject.finds("the link cut00000000-de is of a port", async || network.link("cut00000000-de")).await;
    subject.finds("the link cub00000000-de is of a network", async || network.link("cub00000000-de")).await;
    subject.finds("the link cuq00000000-de is of a port", async || network.link("cuq00000000-de")).await;
    let namespace = machine.join(format!("neutron/netns/cumulo-router-{NONE}"));
    subject.finds_file("is of nothing that there is", namespace).await;
    let moved = format!("UPDATE ports SET host_id = 'elsewhere' WHERE id = '{}'", ports[0]);
    subject.finds_row("neutron", "of a port that is bound elsewhere", &moved).await;
}
