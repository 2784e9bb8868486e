//! Any bytes as an image's file, declared as any format: the inspector never panics, and never takes what points outside itself. The first
//! byte says how the file is declared, the rest is the file.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/glance/src/data/inspect/mod.rs"]
mod inspect;

const FORMATS: [&str; 8] = ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "ami"];

/// One file in memory, written anew each time.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| PathBuf::from(format!("/dev/shm/cumulo-fuzz-{}", std::process::id())));

fuzz_target!(|input: &[u8]| {
    let Some((first, content)) = input.split_first() else { return };
    let declared = FORMATS[usize::from(*first) % FORMATS.len()];
    std::fs::write(&*FILE, content).expect("there is memory for a file");
    let verdict = inspect::accept(&FILE, declared, first & 0x80 == 0);
    if verdict.is_ok() && content.starts_with(b"QFI\xfb") && content.len() >= 80 {
        assert!(content[8..16].iter().all(|byte| *byte == 0), "a backing file was accepted");
        assert!(content[4..8] == *b"\0\0\0\x02" || content[79] & 0b100 == 0, "a data file was accepted");
    }
    if verdict.is_ok() {
        assert!(!content.starts_with(b"QED\0") && !content.starts_with(b"# Disk DescriptorFile"), "a pointer was accepted");
    }
});
