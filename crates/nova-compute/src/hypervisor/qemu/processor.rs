//! A guest's processors in QEMU's words: what they are, and how they are arranged.

use super::Accel;
use crate::hypervisor::hardware::{Hardware, Topology};

/// What they are, and what the guest is shown of that.
pub fn model(accel: Accel, hardware: &Hardware) -> String {
    let hidden = match accel {
        _ if !hardware.hidden => "",
        Accel::Kvm => ",kvm=off",
        Accel::Tcg => ",tcg-cpuid=off",
    };
    let pmu = match hardware.pmu {
        None => "",
        Some(true) => ",pmu=on",
        Some(false) => ",pmu=off",
    };
    format!("{}{hidden}{pmu}", accel.cpu())
}

/// How they are arranged.
pub fn arrangement(vcpus: u32, topology: Topology) -> String {
    let (cores, threads) = (topology.cores.unwrap_or(1), topology.threads.unwrap_or(1));
    match topology {
        Topology { cores: None, threads: None } => vcpus.to_string(),
        _ => format!("{vcpus},sockets={},cores={cores},threads={threads}", vcpus / (cores * threads)),
    }
}
