//! Each format's own questions: how large is the disk inside, and does it lead outside.

use kit::{Error, Result};

use super::{Disk, Format};

/// Bytes in which QEMU looks for a VMDK's parent, and the most that are read of what says it is longer.
const DESCRIPTOR: u64 = 20 * 512;
const LONGEST: u64 = 1 << 20;

impl Format {
    /// The size of the disk, where the format says it; an error when the file leads outside itself.
    pub fn inspect(self, disk: &Disk<'_>) -> Result<Option<u64>> {
        match self {
            Format::Qcow2 => qcow2(disk).map(Some),
            Format::Qed => Err(refused("the QED format is not supported")),
            Format::Vmdk => vmdk(disk).map(Some),
            Format::Vhd => vhd(disk).map(Some),
            Format::Vhdx => vhdx(disk).map(Some),
            Format::Vdi => vdi(disk).map(Some),
            Format::Luks | Format::Iso | Format::Gpt | Format::Raw => Ok(None),
        }
    }
}

fn refused(why: &str) -> Error {
    Error::bad_request(format!("Image rejected: {why}."))
}

fn qcow2(disk: &Disk<'_>) -> Result<u64> {
    if disk.be64(8) != 0 {
        return Err(refused("the qcow2 file has a backing file"));
    }
    match disk.be32(4) {
        2 => {}
        // dirty, corrupt, external data file, compression type, extended L2
        3 => match disk.be64(72) {
            features if features & 0b100 != 0 => return Err(refused("the qcow2 file has an external data file")),
            features if features & !0b11011 != 0 => return Err(refused("the qcow2 file has unknown features")),
            _ => {}
        },
        _ => return Err(refused("the qcow2 file has an unknown version")),
    }
    Ok(disk.be64(24))
}

/// Only a VMDK that is one file whole is taken, and only one that QEMU reads as this does: QEMU looks for a parent behind the first sector
/// wherever the header says the descriptor is, takes the first `createType` in any line, and without a capacity opens what the
/// descriptor names.
fn vmdk(disk: &Disk<'_>) -> Result<u64> {
    let several = || refused("the vmdk file is not monolithicSparse or streamOptimized");
    if disk.bytes(0) != *b"KDMV" {
        return Err(several());
    }
    if disk.le64(28) != 1 {
        return Err(refused("the vmdk file has no descriptor where it should be"));
    }
    // as far as QEMU reads, or the file reaches
    let length = disk.size.saturating_sub(512).min(DESCRIPTOR.max(disk.le64(36).saturating_mul(512).min(LONGEST)));
    let mut text = vec![0; usize::try_from(length).map_err(|_| several())?];
    if length == 0 || !(disk.read)(512, &mut text) {
        return Err(refused("the vmdk file has no descriptor"));
    }
    let whole = String::from_utf8_lossy(&text);
    if whole.contains("parentFileNameHint") {
        return Err(refused("the vmdk file has parts outside itself"));
    }
    let text = whole.split('\0').next().unwrap_or_default();
    let mut kinds = text.split("createType").skip(1);
    let kind = kinds.next().and_then(|rest| rest.strip_prefix('=')?.split_whitespace().next()).map(|kind| kind.trim_matches('"'));
    if !matches!(kind, Some("monolithicSparse" | "streamOptimized")) || kinds.next().is_some() {
        return Err(several());
    }
    // an extent is its access, its sectors, its kind and its name, whatever is between them
    let mut words = text.split_whitespace().skip_while(|word| !is_access(word)).skip(1);
    let (_, kind, name) = (words.next(), words.next(), words.next().unwrap_or_default());
    if kind.is_some_and(|kind| kind != "SPARSE") || name.contains('/') || words.any(is_access) {
        return Err(refused("the vmdk file has parts outside itself"));
    }
    // what is compressed as it is written may say only at its end how large it is
    let header = if disk.le64(56) == u64::MAX { disk.size.saturating_sub(1024) } else { 0 };
    match disk.le64(header + 12).checked_mul(512) {
        Some(size) if size > 0 && disk.le64(12) > 0 => Ok(size),
        _ => Err(refused("the vmdk file is of an impossible size")),
    }
}

fn is_access(word: &str) -> bool {
    matches!(word, "RW" | "RDONLY" | "NOACCESS")
}

fn vhd(disk: &Disk<'_>) -> Result<u64> {
    let footer = if disk.bytes(0) == *b"conectix" { 0 } else { disk.size.saturating_sub(512) };
    match disk.be32(footer + 60) {
        // fixed, dynamic
        2 | 3 => Ok(disk.be64(footer + 48)),
        4 => Err(refused("the vhd file has a parent")),
        _ => Err(refused("the vhd file is of an unknown type")),
    }
}

fn vdi(disk: &Disk<'_>) -> Result<u64> {
    match disk.le32(76) {
        // dynamic, fixed
        1 | 2 => Ok(disk.le64(368)),
        3 | 4 => Err(refused("the vdi file has a parent")),
        _ => Err(refused("the vdi file is of an unknown type")),
    }
}

/// Where a VHDX keeps its table of regions, and the names of what is looked for.
const REGIONS: u64 = 192 << 10;
const METADATA: [u8; 16] = [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
const PARAMETERS: [u8; 16] = [0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b];
const DISK_SIZE: [u8; 16] = [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8];
/// Entries a table may have by the format's rules.
const ENTRIES: u32 = 2047;

fn vhdx(disk: &Disk<'_>) -> Result<u64> {
    let broken = || refused("the vhdx file cannot be understood");
    if disk.bytes(REGIONS) != *b"regi" {
        return Err(broken());
    }
    let regions = disk.le32(REGIONS + 8).min(ENTRIES);
    let entry = |index: u32| REGIONS + 16 + u64::from(index) * 32;
    let found = (0..regions).map(entry).find(|at| disk.bytes(*at) == METADATA).ok_or_else(broken)?;
    let table = disk.le64(found + 16);
    if table >= disk.size || disk.bytes(table) != *b"metadata" {
        return Err(broken());
    }
    let items = u32::from(u16::from_le_bytes(disk.bytes(table + 10))).min(ENTRIES);
    let item = |name: [u8; 16]| {
        let mut places = (0..items).map(|index| table + 32 + u64::from(index) * 32);
        let place = places.find(|at| disk.bytes(*at) == name)?;
        table.checked_add(u64::from(disk.le32(place + 16)))
    };
    let parameters = item(PARAMETERS).ok_or_else(broken)?;
    if disk.le32(parameters.saturating_add(4)) & 0b10 != 0 {
        return Err(refused("the vhdx file has a parent"));
    }
    Ok(disk.le64(item(DISK_SIZE).ok_or_else(broken)?))
}
