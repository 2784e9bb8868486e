//! Can this host have a real network? Asked before anything is started, so that nothing is found half-way.

use std::path::Path;

use kit::daemons;

/// One sentence that says what is missing and what to do.
pub fn preflight() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("Networks need root: run cumulo as root, or with --sim-hosts to simulate them.".into());
    }
    for (program, package) in [("nft", "nftables"), ("dnsmasq", "dnsmasq-base")] {
        if !daemons::is_installed(program) {
            return Err(format!("{program} is missing: apt-get install {package}"));
        }
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err("/dev/net/tun is missing: modprobe tun".into());
    }
    if !Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        return Err("Security groups need the kernel's br_netfilter: modprobe br_netfilter".into());
    }
    Ok(())
}
