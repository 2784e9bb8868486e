//! One dnsmasq: started, told of changes by SIGHUP, taken over, ended. It is replaced only when its command line must change, or when an
//! address gets another MAC, as leases live in its memory only.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use rpc::network::{Network, Port};

use super::files::{self as text, Paths};
use super::options;
use crate::host::mac::Mac;
use crate::host::{files, process};
use crate::{Error, Result};

const PROGRAM: &str = "dnsmasq";

/// All that one dnsmasq is told.
pub struct Told {
    command: Vec<String>,
    hosts: String,
    options: String,
    names: String,
    bindings: BTreeMap<IpAddr, Mac>,
}

impl Told {
    pub fn new(network: &Network, ports: &[&Port], interface: &str, paths: &Paths, dns_servers: &[IpAddr]) -> Told {
        let mut command = vec![PROGRAM.to_owned()];
        command.extend(text::arguments(network, interface, paths, dns_servers));
        let ports = || ports.iter().copied();
        Told {
            command,
            hosts: text::hosts(network, ports()),
            options: options::options(network, ports()),
            names: text::names(network, ports()),
            bindings: text::bindings(network, ports()),
        }
    }

    /// Have it run, knowing all this. In the namespace of the network.
    pub fn ensure(&self, paths: &Paths) -> Result<()> {
        files::make_dir(&paths.dir)?;
        let mut changed = files::write_if_changed(&paths.hosts(), self.hosts.as_bytes())?;
        changed |= files::write_if_changed(&paths.options(), self.options.as_bytes())?;
        changed |= files::write_if_changed(&paths.names(), self.names.as_bytes())?;
        let mut served = read_served(paths);
        let moved = self.bindings.iter().any(|(ip, mac)| served.get(ip).is_some_and(|old| old != mac));
        match process::running(&paths.pid(), &self.command) {
            Some(pid) if !moved => {
                served.extend(self.bindings.clone());
                write_served(paths, &served)?;
                if changed { process::reload(pid) } else { Ok(()) }
            }
            _ => {
                end_process(paths)?;
                write_served(paths, &self.bindings)?;
                self.start()
            }
        }
    }

    /// dnsmasq goes into the background by itself once it listens, and until then says what is wrong.
    fn start(&self) -> Result<()> {
        let (program, arguments) = self.command.split_first().ok_or_else(|| Error::internal("no command"))?;
        let output = Command::new(program)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| Error::internal(format!("dnsmasq cannot be started: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::internal(format!("dnsmasq: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}

/// End it and remove its files.
pub fn end(paths: &Paths) -> Result<()> {
    end_process(paths)?;
    match std::fs::remove_dir_all(&paths.dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn end_process(paths: &Paths) -> Result<()> {
    process::end(&paths.pid(), PROGRAM, &paths.dir.display().to_string())
}

fn read_served(paths: &Paths) -> BTreeMap<IpAddr, Mac> {
    let text = std::fs::read_to_string(paths.served()).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(ip, mac)| Some((ip.parse().ok()?, mac.parse().ok()?))).collect()
}

fn write_served(paths: &Paths, served: &BTreeMap<IpAddr, Mac>) -> Result<()> {
    let text: String = served.iter().map(|(ip, mac)| format!("{ip} {mac}\n")).collect();
    files::write_if_changed(&paths.served(), text.as_bytes()).map(|_| ())
}
