//! Guests without a machine: a namespace with one end of a veth, whose other end is named and used as the tap.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tokio::runtime::Runtime;

/// How long an answer may take: enough on a busy machine, and what is dropped costs this much.
const ANSWER: Duration = Duration::from_secs(2);

/// How an address is leased.
const UDHCPC: &str = r#"#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
env > /run/lease
ip address add $ip/$mask dev $interface
[ -n "$mtu" ] && ip link set $interface mtu $mtu
set -- $staticroutes
while [ $# -ge 2 ]; do ip route replace $1 via $2 dev $interface; shift 2; done
"#;

/// Whatever has a network namespace: a guest, a host, the world.
#[derive(Clone)]
pub struct Guest {
    netns: Option<String>,
}

/// Outside: the host.
pub fn root() -> Guest {
    Guest { netns: None }
}

impl Guest {
    /// The guest of a port, its tap made as nova-compute would.
    pub fn plug(port_id: &str) -> Guest {
        Guest::plug_on(&root(), port_id)
    }

    /// The same on another host.
    pub fn plug_on(host: &Guest, port_id: &str) -> Guest {
        let (name, tap) = (format!("guest-{}", &port_id[..4]), rpc::compute::tap_name(port_id));
        let mac = super::state::mac(port_id);
        host.shell(&format!("ip netns add {name} && ip link add {tap} type veth peer name eth0 address {mac} netns {name}"));
        let guest = Guest { netns: Some(name) };
        guest.shell("ip link set lo up; ip link set eth0 up");
        guest
    }

    /// Another host, joined to this one by a wire: eth0 there, `wire0` here.
    pub fn host(name: &str, here: &str, there: &str) -> Guest {
        shell(&format!("ip netns add {name} && ip link add wire0 type veth peer name eth0 netns {name}"));
        shell(&format!("ip address add {here} dev wire0; ip link set wire0 up"));
        let host = Guest { netns: Some(name.to_owned()) };
        host.shell(&format!("ip address add {there} dev eth0; ip link set eth0 up; ip link set lo up"));
        host
    }

    /// A runtime all of whose threads are in the namespace.
    pub fn runtime(&self) -> Runtime {
        let path = format!("/run/netns/{}", self.netns.clone().unwrap());
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || setns(std::fs::File::open(&path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap())
            .build()
            .unwrap()
    }

    /// A machine beyond the host, which knows of no cloud.
    pub fn world(uplink: &str, address: &str) -> Guest {
        shell("ip netns add world && ip link add uplink0 type veth peer name eth0 netns world");
        shell(&format!("ip address add {uplink} dev uplink0; ip link set uplink0 up"));
        let world = Guest { netns: Some("world".into()) };
        world.shell(&format!("ip address add {address} dev eth0; ip link set eth0 up"));
        world
    }

    pub fn dhcp(&self) {
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while !self.try_dhcp() {
            assert!(std::time::Instant::now() < until, "no lease");
        }
    }

    /// What the last lease had, as a list of variables.
    pub fn last_lease() -> String {
        std::fs::read_to_string("/run/lease").unwrap()
    }

    pub fn try_dhcp(&self) -> bool {
        let script = std::path::Path::new("/run/udhcpc.sh");
        if !script.exists() {
            std::fs::write(script, UDHCPC).unwrap();
            shell("chmod +x /run/udhcpc.sh");
        }
        self.succeeds("ip -4 address flush dev eth0; busybox udhcpc -i eth0 -s /run/udhcpc.sh -O staticroutes -O mtu -O tftp -O bootfile -n -q -t 3 -T 1")
    }

    pub fn shell(&self, command: &str) -> String {
        let output = self.command(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn succeeds(&self, command: &str) -> bool {
        self.command(command).output().unwrap().status.success()
    }

    /// What a server answers to a request.
    pub fn http(&self, address: &str, request: &str) -> String {
        let address: SocketAddr = address.parse().unwrap();
        let mut stream = self.run(move || TcpStream::connect_timeout(&address, ANSWER)).unwrap();
        stream.set_read_timeout(Some(ANSWER * 5)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn command(&self, command: &str) -> Command {
        let mut out = match &self.netns {
            Some(name) => {
                let mut out = Command::new("nsenter");
                out.arg(format!("--net=/run/netns/{name}")).args(["sh", "-c"]);
                out
            }
            None => {
                let mut out = Command::new("sh");
                out.arg("-c");
                out
            }
        };
        out.arg(command);
        out
    }

    /// Run something in the guest's namespace; sockets it makes stay there.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let file = self.netns.as_ref().map(|name| std::fs::File::open(format!("/run/netns/{name}")).unwrap());
        let thread = std::thread::spawn(move || {
            if let Some(file) = file {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            }
            work()
        });
        thread.join().unwrap()
    }
}

/// In the host's namespace; what it prints.
pub fn shell(command: &str) -> String {
    root().shell(command)
}

/// Has the kernel VLANs? Some small ones have not.
pub fn knows_vlans() -> bool {
    let known = root().succeeds("ip link add link lo name probe0 type vlan id 7 && ip link del probe0");
    if !known {
        println!("this kernel has no VLANs: not tested");
    }
    known
}

pub fn pings(from: &Guest, to: impl std::fmt::Display) -> bool {
    from.succeeds(&format!("ping -c 1 -W 1 {to}"))
}

pub fn connect(from: &Guest, to: Ipv4Addr, port: u16) -> Option<TcpStream> {
    from.run(move || TcpStream::connect_timeout(&SocketAddr::from((to, port)), ANSWER)).ok()
}

pub fn connects(from: &Guest, to: Ipv4Addr, port: u16) -> bool {
    connect(from, to, port).is_some_and(|mut stream| echoes(&mut stream))
}

/// Does what is written come back?
pub fn echoes(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    let mut back = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut back).is_ok() && &back == b"hello"
}

/// Sends back what it gets.
pub fn echo_server(on: &Guest, port: u16) {
    let listener = on.run(move || TcpListener::bind(("0.0.0.0", port))).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut to = stream.try_clone().unwrap();
                let mut from = stream;
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
}

/// Says its name to those who connect.
pub fn name_server(on: &Guest, port: u16, name: &'static str) {
    let listener = on.run(move || TcpListener::bind(("0.0.0.0", port))).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(name.as_bytes());
        }
    });
}

/// Who answers there; nothing when nobody does.
pub fn who(from: &Guest, to: Ipv4Addr, port: u16) -> String {
    let mut name = String::new();
    if let Some(mut stream) = connect(from, to, port) {
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        let _ = stream.read_to_string(&mut name);
    }
    name
}

/// Sends every datagram back.
pub fn udp_echo_server(on: &Guest, port: u16) {
    let socket = on.run(move || UdpSocket::bind(("0.0.0.0", port))).unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&datagram[..length], from);
        }
    });
}

/// Does a datagram come back?
pub fn udp_echoes(from: &Guest, to: Ipv4Addr, port: u16) -> bool {
    let socket = from.run(|| UdpSocket::bind(("0.0.0.0", 0))).unwrap();
    socket.set_read_timeout(Some(ANSWER / 2)).unwrap();
    socket.send_to(b"hello", (to, port)).is_ok() && socket.recv(&mut [0; 64]).is_ok()
}

/// Tells as whom it sees those who connect.
pub fn peer_server(on: &Guest, port: u16) -> mpsc::Receiver<IpAddr> {
    let listener = on.run(move || TcpListener::bind(("0.0.0.0", port))).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((_, peer)) = listener.accept() {
            let _ = sender.send(peer.ip());
        }
    });
    receiver
}

/// As whom the server sees this guest.
pub fn seen_as(guest: &Guest, to: Ipv4Addr, port: u16, server: &mpsc::Receiver<IpAddr>) -> Option<Ipv4Addr> {
    connect(guest, to, port)?;
    match server.recv_timeout(ANSWER).ok()? {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}
