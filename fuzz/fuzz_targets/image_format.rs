//! Any bytes as an image's file, declared as any format: the inspector never panics, and never takes what points outside itself. The first
//! byte says how the file is declared and whether its bytes are spread over the places where formats keep what is looked at, so that small
//! inputs reach all of them; the rest is the file.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/glance/src/data/inspect/mod.rs"]
mod inspect;

const FORMATS: [&str; 8] = ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "ami"];

/// Offsets and lengths: the head of every format, the mark of an ISO, a VHDX's regions, its metadata's table and the metadata.
const PLACES: [(u64, usize); 5] = [(0, 512), (0x8000, 16), (192 << 10, 96), (2 << 20, 192), (2 << 20 | 64 << 10, 64)];

/// Bytes from the second sector on in which QEMU looks for a VMDK's parent.
const DESCRIPTOR: usize = 20 * 512;

/// One file in memory, written anew each time.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| PathBuf::from(format!("/dev/shm/cumulo-fuzz-{}", std::process::id())));

fuzz_target!(|input: &[u8]| {
    let Some((first, content)) = input.split_first() else { return };
    let declared = FORMATS[usize::from(*first) % FORMATS.len()];
    let spread = first & 0x40 != 0;
    write(content, if spread { &PLACES } else { &[(0, usize::MAX)] });
    if inspect::accept(&FILE, declared, first & 0x80 == 0).is_err() {
        return;
    }
    let head = if spread { &content[..content.len().min(512)] } else { content };
    if head.starts_with(b"QFI\xfb") && head.len() >= 80 {
        assert!(head[8..16].iter().all(|byte| *byte == 0), "a backing file was accepted");
        assert!(head[4..8] == *b"\0\0\0\x02" || head[79] & 0b100 == 0, "a data file was accepted");
    }
    if head.starts_with(b"KDMV") {
        let behind = head.get(512..).unwrap_or_default();
        let parent = behind[..behind.len().min(DESCRIPTOR)].windows(18).any(|text| text == b"parentFileNameHint");
        assert!(!parent && head[12..20] != [0; 8], "a parent or a foreign extent was accepted");
    }
    assert!(!head.starts_with(b"QED\0") && !head.starts_with(b"COWD"), "a pointer was accepted");
    assert!(!head.starts_with(b"# Disk DescriptorFile"), "a descriptor alone was accepted");
});

fn write(mut content: &[u8], places: &[(u64, usize)]) {
    let file = File::create(&*FILE).expect("there is memory for a file");
    for (offset, length) in places {
        let (part, rest) = content.split_at(content.len().min(*length));
        file.write_all_at(part, *offset).expect("there is memory for a file");
        content = rest;
    }
}
