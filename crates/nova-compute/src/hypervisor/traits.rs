//! What a host can do for guests, in placement's words: what nova asks for when an image or a flavor needs it.

use std::collections::BTreeSet;

use super::qemu::{Accel, Machine};

/// What every guest can be given.
const COMMON: [&str; 40] = [
    "COMPUTE_ARCH_X86_64",
    "COMPUTE_DEVICE_TAGGING",
    "COMPUTE_FIRMWARE_BIOS",
    "COMPUTE_GRAPHICS_MODEL_BOCHS",
    "COMPUTE_GRAPHICS_MODEL_CIRRUS",
    "COMPUTE_GRAPHICS_MODEL_NONE",
    "COMPUTE_GRAPHICS_MODEL_VGA",
    "COMPUTE_GRAPHICS_MODEL_VIRTIO",
    "COMPUTE_IMAGE_TYPE_ISO",
    "COMPUTE_IMAGE_TYPE_QCOW2",
    "COMPUTE_IMAGE_TYPE_RAW",
    "COMPUTE_IMAGE_TYPE_VMDK",
    "COMPUTE_MIGRATE_AUTO_CONVERGE",
    "COMPUTE_NET_ATTACH_INTERFACE",
    "COMPUTE_NET_ATTACH_INTERFACE_WITH_TAG",
    "COMPUTE_NET_VIF_MODEL_E1000",
    "COMPUTE_NET_VIF_MODEL_E1000E",
    "COMPUTE_NET_VIF_MODEL_NE2K_PCI",
    "COMPUTE_NET_VIF_MODEL_PCNET",
    "COMPUTE_NET_VIF_MODEL_RTL8139",
    "COMPUTE_NET_VIF_MODEL_VIRTIO",
    "COMPUTE_NET_VIF_MODEL_VMXNET3",
    "COMPUTE_NODE",
    "COMPUTE_RESCUE_BFV",
    "COMPUTE_SOUND_MODEL_AC97",
    "COMPUTE_SOUND_MODEL_ES1370",
    "COMPUTE_SOUND_MODEL_ICH6",
    "COMPUTE_SOUND_MODEL_ICH9",
    "COMPUTE_SOUND_MODEL_SB16",
    "COMPUTE_SOUND_MODEL_USB",
    "COMPUTE_STORAGE_BUS_IDE",
    "COMPUTE_STORAGE_BUS_SATA",
    "COMPUTE_STORAGE_BUS_SCSI",
    "COMPUTE_STORAGE_BUS_USB",
    "COMPUTE_STORAGE_BUS_VIRTIO",
    "COMPUTE_USB_MODEL_QEMU_XHCI",
    "COMPUTE_VOLUME_ATTACH_WITH_TAG",
    "COMPUTE_VOLUME_EXTEND",
    "COMPUTE_VOLUME_MULTI_ATTACH",
    "HW_ARCH_X86_64",
];
const UEFI: &str = "COMPUTE_FIRMWARE_UEFI";
const SECURE_BOOT: &str = "COMPUTE_SECURITY_UEFI_SECURE_BOOT";
const TPM: [&str; 4] = ["COMPUTE_SECURITY_TPM_1_2", "COMPUTE_SECURITY_TPM_2_0", "COMPUTE_SECURITY_TPM_CRB", "COMPUTE_SECURITY_TPM_TIS"];

/// Flags of processors, as the kernel tells them, that have a trait, and what follows `HW_CPU_X86_` there.
const FLAGS: [(&str, &str); 42] = [
    ("3dnow", "3DNOW"),
    ("abm", "ABM"),
    ("aes", "AESNI"),
    ("amx_bf16", "AMXBF16"),
    ("amx_int8", "AMXINT8"),
    ("amx_tile", "AMXTILE"),
    ("avx", "AVX"),
    ("avx2", "AVX2"),
    ("avx512_bitalg", "AVX512BITALG"),
    ("avx512_vbmi2", "AVX512VBMI2"),
    ("avx512_vnni", "AVX512VNNI"),
    ("avx512_vpopcntdq", "AVX512VPOPCNTDQ"),
    ("avx512bw", "AVX512BW"),
    ("avx512cd", "AVX512CD"),
    ("avx512dq", "AVX512DQ"),
    ("avx512f", "AVX512F"),
    ("avx512ifma", "AVX512IFMA"),
    ("avx512vbmi", "AVX512VBMI"),
    ("avx512vl", "AVX512VL"),
    ("bmi1", "BMI"),
    ("bmi2", "BMI2"),
    ("f16c", "F16C"),
    ("fma", "FMA3"),
    ("fma4", "FMA4"),
    ("gfni", "AVX512GFNI"),
    ("mmx", "MMX"),
    ("mpx", "MPX"),
    ("pclmulqdq", "CLMUL"),
    ("pni", "SSE3"),
    ("sha_ni", "SHA"),
    ("sse", "SSE"),
    ("sse2", "SSE2"),
    ("sse4_1", "SSE41"),
    ("sse4_2", "SSE42"),
    ("sse4a", "SSE4A"),
    ("ssse3", "SSSE3"),
    ("svm", "AMD_SVM"),
    ("tbm", "TBM"),
    ("vaes", "AVX512VAES"),
    ("vmx", "INTEL_VMX"),
    ("vpclmulqdq", "AVX512VPCLMULQDQ"),
    ("xop", "XOP"),
];
/// Those of the processor that guests get without KVM.
const EMULATED: &str = "mmx sse sse2 pni svm";

/// Of a host whose guests are real. `accel` is a trait of ours.
pub fn of(machine: &Machine, accel: &str) -> Vec<String> {
    let flags = match machine.accel {
        Accel::Kvm => host_flags(),
        Accel::Tcg => EMULATED.to_owned(),
    };
    let mut traits: BTreeSet<String> = COMMON.iter().copied().chain([accel]).map(str::to_owned).collect();
    traits.extend(processor(&flags));
    traits.extend(machine.firmware.uefi.then(|| UEFI.to_owned()));
    traits.extend(machine.firmware.secure_boot.then(|| SECURE_BOOT.to_owned()));
    if machine.tpm {
        traits.extend(TPM.map(str::to_owned));
    }
    traits.into_iter().collect()
}

/// Of a host that pretends: it can do all that a real one could.
pub fn pretended(accel: &str) -> Vec<String> {
    let mut traits: BTreeSet<String> = COMMON.iter().copied().chain(TPM).chain([UEFI, SECURE_BOOT, accel]).map(str::to_owned).collect();
    traits.extend(processor(EMULATED));
    traits.into_iter().collect()
}

/// Traits of a processor with these flags.
fn processor(flags: &str) -> Vec<String> {
    let mut traits = Vec::new();
    for flag in flags.split_whitespace() {
        let Ok(index) = FLAGS.binary_search_by_key(&flag, |(flag, _)| flag) else { continue };
        let name = FLAGS[index].1;
        traits.push(format!("HW_CPU_X86_{name}"));
        // both have an older name
        traits.extend(name.strip_prefix("AMD_").or(name.strip_prefix("INTEL_")).map(|name| format!("HW_CPU_X86_{name}")));
    }
    traits
}

fn host_flags() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("flags"));
    line.and_then(|line| line.split_once(':')).map(|(_, flags)| flags.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::qemu::firmware::Installed;

    #[test]
    fn flags_are_in_order_so_that_they_are_found() {
        assert!(FLAGS.is_sorted_by_key(|(flag, _)| flag));
        assert_eq!(processor("fpu pni vmx"), ["HW_CPU_X86_SSE3", "HW_CPU_X86_INTEL_VMX", "HW_CPU_X86_VMX"]);
    }

    #[test]
    fn a_host_says_what_is_installed() {
        let machine = |firmware, tpm| Machine { accel: Accel::Tcg, version: 7_002_022, firmware, tpm };
        let all = of(&machine(Installed { uefi: true, secure_boot: true }, true), "CUSTOM_X");
        let none = of(&machine(Installed::default(), false), "CUSTOM_X");
        for name in [UEFI, SECURE_BOOT, TPM[0]] {
            assert!(all.iter().any(|other| other == name) && none.iter().all(|other| other != name), "{name}");
        }
        assert!(none.contains(&"HW_CPU_X86_SSE2".to_owned()) && !none.contains(&"HW_CPU_X86_AVX".to_owned()));
        assert!(pretended("CUSTOM_X").iter().all(|name| all.contains(name)));
    }
}
