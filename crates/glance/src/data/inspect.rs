//! What is inside a file: its format by its own marks, the size of the disk in it, and whether it points at anything outside itself.
//!
//! An image that names a backing file, an external data file or a foreign extent would make whoever opens it read files of the host
//! (CVE-2024-32498, CVE-2022-47951), so it is refused here, before anybody can.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kit::{Error, Kind, Result};

/// Bytes of a VMDK's descriptor that are read.
const DESCRIPTOR: u64 = 1 << 20;

/// The size of the disk in a file, if it may be stored as `declared`.
pub fn accept(path: &Path, declared: &str, matching: bool) -> Result<Option<u64>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let found = detect(&file, size);
    match found {
        "qcow2" => check_qcow2(&file)?,
        "vmdk" => check_vmdk(&file)?,
        "qed" => return Err(unsafe_image("the QED format is not supported")),
        _ => {}
    }
    let bytes_are_disk = matches!(declared, "raw" | "gpt" | "iso");
    let fits = match declared {
        "ami" | "ari" | "aki" | "ploop" => true,
        "raw" => matches!(found, "raw" | "gpt" | "iso"),
        "iso" => matches!(found, "iso" | "gpt"),
        declared => found == declared,
    };
    if matching && !fits {
        let message = format!("Image content does not match the declared disk_format: it is {declared}, but the file is {found}.");
        return Err(Error::new(Kind::UnsupportedMediaType, message));
    }
    Ok(match found {
        "qcow2" => Some(be64(&file, 24)),
        "vdi" => Some(le64(&file, 368)),
        "vmdk" => le64(&file, 12).checked_mul(512).filter(|_| bytes(&file, 0) == *b"KDMV"),
        "vhd" => Some(be64(&file, size.saturating_sub(512) + 48)),
        _ if bytes_are_disk => Some(size),
        _ => None,
    }
    .filter(|n| i64::try_from(*n).is_ok()))
}

/// The format by its marks; `raw` when it has none.
fn detect(file: &File, size: u64) -> &'static str {
    match &bytes::<4>(file, 0) {
        b"QFI\xfb" => return "qcow2",
        b"QED\0" => return "qed",
        b"KDMV" | b"COWD" => return "vmdk",
        _ => {}
    }
    if bytes(file, 0) == *b"# Disk Descriptor" {
        return "vmdk";
    }
    if bytes(file, 0) == *b"vhdxfile" {
        return "vhdx";
    }
    if bytes(file, 0) == *b"conectix" || (size >= 512 && bytes(file, size - 512) == *b"conectix") {
        return "vhd";
    }
    if bytes(file, 64) == [0x7f, 0x10, 0xda, 0xbe] {
        return "vdi";
    }
    if bytes(file, 0x8001) == *b"CD001" {
        return "iso";
    }
    if bytes(file, 512) == *b"EFI PART" {
        return "gpt";
    }
    "raw"
}

fn check_qcow2(file: &File) -> Result<()> {
    let version = u32::from_be_bytes(bytes(file, 4));
    if be64(file, 8) != 0 {
        return Err(unsafe_image("the qcow2 file has a backing file"));
    }
    match version {
        2 => Ok(()),
        // dirty, corrupt, external data file, compression type, extended L2
        3 => match be64(file, 72) {
            features if features & 0b100 != 0 => Err(unsafe_image("the qcow2 file has an external data file")),
            features if features & !0b11011 != 0 => Err(unsafe_image("the qcow2 file has unknown features")),
            _ => Ok(()),
        },
        _ => Err(unsafe_image("the qcow2 file has an unknown version")),
    }
}

/// Only a VMDK that is one file whole is taken.
fn check_vmdk(file: &File) -> Result<()> {
    if bytes(file, 0) != *b"KDMV" {
        return Err(unsafe_image("the vmdk file is not monolithicSparse or streamOptimized"));
    }
    let (offset, length) = (le64(file, 28).saturating_mul(512), le64(file, 36).saturating_mul(512).min(DESCRIPTOR));
    let mut text = vec![0; length as usize];
    if offset == 0 || file.read_exact_at(&mut text, offset).is_err() {
        return Err(unsafe_image("the vmdk file has no descriptor"));
    }
    let text = String::from_utf8_lossy(&text);
    let kind = text.lines().find_map(|line| line.trim().strip_prefix("createType="));
    if !matches!(kind.map(|kind| kind.trim().trim_matches('"')), Some("monolithicSparse" | "streamOptimized")) {
        return Err(unsafe_image("the vmdk file is not monolithicSparse or streamOptimized"));
    }
    let extents = text.lines().filter(|line| ["RW ", "RDONLY ", "NOACCESS "].iter().any(|word| line.starts_with(word)));
    if extents.clone().count() > 1 || extents.clone().any(|line| line.contains('/')) || text.contains("parentFileNameHint") {
        return Err(unsafe_image("the vmdk file has parts outside itself"));
    }
    Ok(())
}

fn unsafe_image(why: &str) -> Error {
    Error::bad_request(format!("Image rejected: {why}."))
}

/// Bytes of a place, zeros behind the end.
fn bytes<const N: usize>(file: &File, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    if file.read_exact_at(&mut bytes, offset).is_err() { [0; N] } else { bytes }
}

fn be64(file: &File, offset: u64) -> u64 {
    u64::from_be_bytes(bytes(file, offset))
}

fn le64(file: &File, offset: u64) -> u64 {
    u64::from_le_bytes(bytes(file, offset))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(parts: &[(usize, &[u8])]) -> tempfile::NamedTempFile {
        let mut content = vec![0; 4096];
        for (offset, part) in parts {
            content[*offset..*offset + part.len()].copy_from_slice(part);
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&content).unwrap();
        file
    }

    fn qcow2(backing: u64, features: u64) -> tempfile::NamedTempFile {
        let size = (5u64 << 30).to_be_bytes();
        file(&[(0, b"QFI\xfb\0\0\0\x03"), (8, &backing.to_be_bytes()), (24, &size), (72, &features.to_be_bytes())])
    }

    #[test]
    fn knows_the_disk_in_a_qcow2_and_refuses_pointers() {
        assert_eq!(accept(qcow2(0, 1).path(), "qcow2", true).unwrap(), Some(5 << 30));
        assert!(accept(qcow2(512, 0).path(), "qcow2", true).is_err());
        assert!(accept(qcow2(0, 4).path(), "qcow2", true).is_err());
        assert!(accept(qcow2(0, 1 << 40).path(), "qcow2", true).is_err());
        // whatever it calls itself
        assert!(accept(qcow2(512, 0).path(), "ami", false).is_err());
    }

    #[test]
    fn the_declared_format_must_be_the_real_one() {
        assert_eq!(accept(qcow2(0, 0).path(), "raw", true).unwrap_err().kind, Kind::UnsupportedMediaType);
        assert_eq!(accept(file(&[]).path(), "qcow2", true).unwrap_err().kind, Kind::UnsupportedMediaType);
        assert_eq!(accept(file(&[]).path(), "raw", true).unwrap(), Some(4096));
        assert_eq!(accept(file(&[(512, b"EFI PART")]).path(), "raw", true).unwrap(), Some(4096));
    }

    #[test]
    fn a_vmdk_is_one_file() {
        let vmdk = |text: &str| {
            file(&[
                (0, b"KDMV\x01\0\0\0"),
                (12, &8u64.to_le_bytes()),
                (28, &1u64.to_le_bytes()),
                (36, &2u64.to_le_bytes()),
                (512, text.as_bytes()),
            ])
        };
        let good = vmdk("createType=\"monolithicSparse\"\nRW 8 SPARSE \"disk.vmdk\"\n");
        assert_eq!(accept(good.path(), "vmdk", true).unwrap(), Some(4096));
        assert!(accept(vmdk("createType=\"monolithicFlat\"\nRW 8 FLAT \"/etc/passwd\" 0\n").path(), "vmdk", true).is_err());
        assert!(accept(vmdk("createType=\"monolithicSparse\"\nRW 8 SPARSE \"/etc/passwd\"\n").path(), "vmdk", true).is_err());
    }
}
