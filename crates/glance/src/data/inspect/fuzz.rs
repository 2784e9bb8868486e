//! Random damage to small files of every format: the inspector never panics, and never takes what leads outside. Bounded, and the same in
//! every run; `CUMULO_FUZZ_ROUNDS` makes it longer.

use kit::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Disk, judge};

pub fn judge_bytes(content: &[u8], declared: &str, matching: bool) -> Result<Option<u64>> {
    let read = |offset: u64, bytes: &mut [u8]| {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        match from.checked_add(bytes.len()).and_then(|until| content.get(from..until)) {
            Some(part) => {
                bytes.copy_from_slice(part);
                true
            }
            None => false,
        }
    };
    judge(&Disk { size: content.len() as u64, read: &read }, declared, matching)
}

fn with(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut content = vec![0; size];
    for (offset, part) in parts {
        content[*offset..*offset + part.len()].copy_from_slice(part);
    }
    content
}

/// One whole file of each format that has a header.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let descriptor = b"createType=\"monolithicSparse\"\nRW 8 SPARSE \"disk.vmdk\"\n";
    let metadata: u64 = 200 << 10;
    let vhdx = with(
        210 << 10,
        &[
            (0, b"vhdxfile"),
            (192 << 10, b"regi"),
            ((192 << 10) + 8, &1u32.to_le_bytes()),
            ((192 << 10) + 16, &[0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e]),
            ((192 << 10) + 32, &metadata.to_le_bytes()),
            (200 << 10, b"metadata\0\0\x02\0"),
            ((200 << 10) + 32, &[0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b]),
            ((200 << 10) + 48, &1024u32.to_le_bytes()),
            ((200 << 10) + 64, &[0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8]),
            ((200 << 10) + 80, &1032u32.to_le_bytes()),
            ((201 << 10) + 8, &(1u64 << 30).to_le_bytes()),
        ],
    );
    vec![
        ("qcow2", with(1024, &[(0, b"QFI\xfb\0\0\0\x03"), (24, &(1u64 << 30).to_be_bytes())])),
        ("vmdk", with(2048, &[(0, b"KDMV\x01"), (12, &8u64.to_le_bytes()), (28, &[1]), (36, &[2]), (512, descriptor)])),
        ("vhd", with(1024, &[(512, b"conectix"), (512 + 48, &7u64.to_be_bytes()), (512 + 63, &[2])])),
        ("vdi", with(1024, &[(64, &[0x7f, 0x10, 0xda, 0xbe]), (76, &[1]), (368, &9u64.to_le_bytes())])),
        ("vhdx", vhdx),
        ("iso", with(36 << 10, &[(0x8001, b"CD001")])),
        ("gpt", with(1024, &[(512, b"EFI PART")])),
        ("raw", with(1024, &[(0, b"LUKS\xba\xbe")])),
    ]
}

#[test]
fn the_corpus_is_accepted() {
    for (declared, content) in corpus() {
        assert!(judge_bytes(&content, declared, true).unwrap().is_some(), "{declared}");
    }
}

#[test]
fn damage_is_survived() {
    let rounds: usize = std::env::var("CUMULO_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let (corpus, mut random) = (corpus(), StdRng::seed_from_u64(1));
    for _ in 0..rounds {
        let (declared, whole) = &corpus[random.random_range(..corpus.len())];
        let mut content = whole.clone();
        // most damage where the headers are
        for _ in 0..random.random_range(1..=8) {
            let reach = if random.random_ratio(1, 4) { content.len() } else { content.len().min(600) };
            content[random.random_range(..reach)] = random.random();
        }
        if random.random_ratio(1, 8) {
            content.truncate(random.random_range(..content.len()));
        }
        let verdict = judge_bytes(&content, declared, random.random_ratio(1, 2));
        let is_qcow2 = content.starts_with(b"QFI\xfb") && content.len() >= 80;
        if verdict.is_ok() && is_qcow2 {
            assert!(content[8..16].iter().all(|byte| *byte == 0), "a backing file was accepted");
            assert!(content[4..8] == *b"\0\0\0\x02" || content[79] & 0b100 == 0, "a data file was accepted");
        }
    }
}
