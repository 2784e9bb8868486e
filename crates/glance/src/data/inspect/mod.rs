//! What is inside a file: its format by its own marks, the size of the disk in it, and whether it points at anything outside itself.
//!
//! An image that names a backing file, an external data file or a foreign extent would make whoever opens it read files of the host
//! (CVE-2024-32498, CVE-2022-47951), so it is refused here, before anybody can.

mod formats;
#[cfg(test)]
mod fuzz;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kit::{Error, Kind, Result};

/// The size of the disk in a file, if it may be stored as `declared`.
pub fn accept(path: &Path, declared: &str, matching: bool) -> Result<Option<u64>> {
    let file = File::open(path)?;
    let read = |offset: u64, bytes: &mut [u8]| file.read_exact_at(bytes, offset).is_ok();
    let disk = Disk { size: file.metadata()?.len(), read: &read };
    judge(&disk, declared, matching)
}

fn judge(disk: &Disk<'_>, declared: &str, matching: bool) -> Result<Option<u64>> {
    let found = detect(disk);
    let size = found.inspect(disk)?;
    if matching && !found.fits(declared) {
        let found = found.name();
        let message = format!("Image content does not match the declared disk_format: it is {declared}, but the file is {found}.");
        return Err(Error::new(Kind::UnsupportedMediaType, message));
    }
    let size = size.or_else(|| matches!(declared, "raw" | "gpt" | "iso").then_some(disk.size));
    Ok(size.filter(|n| i64::try_from(*n).is_ok()))
}

/// A file to look into, wherever its bytes are.
struct Disk<'a> {
    size: u64,
    /// Fills the buffer from an offset; false when the file does not reach so far.
    read: &'a dyn Fn(u64, &mut [u8]) -> bool,
}

impl Disk<'_> {
    /// Bytes of a place, zeros behind the end.
    fn bytes<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        if (self.read)(offset, &mut bytes) { bytes } else { [0; N] }
    }

    fn be32(&self, offset: u64) -> u32 {
        u32::from_be_bytes(self.bytes(offset))
    }

    fn be64(&self, offset: u64) -> u64 {
        u64::from_be_bytes(self.bytes(offset))
    }

    fn le32(&self, offset: u64) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    fn le64(&self, offset: u64) -> u64 {
        u64::from_le_bytes(self.bytes(offset))
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Qcow2,
    Qed,
    Vmdk,
    Vhd,
    Vhdx,
    Vdi,
    Luks,
    Iso,
    Gpt,
    /// It has no marks.
    Raw,
}

/// The format by its marks. Formats that a hypervisor would open as such come first, so that nothing hides behind a second mark.
fn detect(disk: &Disk<'_>) -> Format {
    let begins = |mark: &[u8]| {
        let mut head = vec![0; mark.len()];
        (disk.read)(0, &mut head) && head == mark
    };
    if begins(b"QFI\xfb") {
        return Format::Qcow2;
    }
    if begins(b"QED\0") {
        return Format::Qed;
    }
    if begins(b"KDMV") || begins(b"COWD") || begins(b"# Disk DescriptorFile") {
        return Format::Vmdk;
    }
    if begins(b"vhdxfile") {
        return Format::Vhdx;
    }
    if begins(b"conectix") || (disk.size >= 512 && disk.bytes(disk.size - 512) == *b"conectix") {
        return Format::Vhd;
    }
    if disk.bytes(64) == [0x7f, 0x10, 0xda, 0xbe] {
        return Format::Vdi;
    }
    if begins(b"LUKS\xba\xbe") {
        return Format::Luks;
    }
    if disk.bytes(0x8001) == *b"CD001" {
        return Format::Iso;
    }
    if disk.bytes(512) == *b"EFI PART" {
        return Format::Gpt;
    }
    Format::Raw
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Qcow2 => "qcow2",
            Format::Qed => "qed",
            Format::Vmdk => "vmdk",
            Format::Vhd => "vhd",
            Format::Vhdx => "vhdx",
            Format::Vdi => "vdi",
            Format::Luks => "luks",
            Format::Iso => "iso",
            Format::Gpt => "gpt",
            Format::Raw => "raw",
        }
    }

    /// Whether a file of this format may be called so. A disk that can be read as it is, is raw too.
    fn fits(self, declared: &str) -> bool {
        let plain = matches!(self, Format::Raw | Format::Gpt | Format::Iso | Format::Luks);
        match declared {
            "ami" | "ari" | "aki" | "ploop" => true,
            "raw" => plain,
            "iso" => matches!(self, Format::Iso | Format::Gpt),
            declared => self.name() == declared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of 4 KiB with these parts.
    fn look(parts: &[(usize, &[u8])], declared: &str) -> Result<Option<u64>> {
        let mut content = vec![0; 4096];
        for (offset, part) in parts {
            content[*offset..*offset + part.len()].copy_from_slice(part);
        }
        fuzz::judge_bytes(&content, declared, true)
    }

    fn qcow2(backing: u64, features: u64, declared: &str) -> Result<Option<u64>> {
        let size = (5u64 << 30).to_be_bytes();
        look(&[(0, b"QFI\xfb\0\0\0\x03"), (8, &backing.to_be_bytes()), (24, &size), (72, &features.to_be_bytes())], declared)
    }

    #[test]
    fn knows_the_disk_in_a_qcow2_and_refuses_pointers() {
        assert_eq!(qcow2(0, 1, "qcow2").unwrap(), Some(5 << 30));
        assert!(qcow2(512, 0, "qcow2").is_err());
        assert!(qcow2(0, 4, "qcow2").is_err());
        assert!(qcow2(0, 1 << 40, "qcow2").is_err());
        // whatever it calls itself
        assert!(qcow2(512, 0, "ami").is_err());
    }

    #[test]
    fn the_declared_format_must_be_the_real_one() {
        assert_eq!(qcow2(0, 0, "raw").unwrap_err().kind, Kind::UnsupportedMediaType);
        assert_eq!(look(&[], "qcow2").unwrap_err().kind, Kind::UnsupportedMediaType);
        assert_eq!(look(&[], "raw").unwrap(), Some(4096));
        assert_eq!(look(&[(512, b"EFI PART")], "raw").unwrap(), Some(4096));
        assert_eq!(look(&[(0, b"LUKS\xba\xbe")], "raw").unwrap(), Some(4096));
        assert!(look(&[(0, b"QED\0")], "ploop").is_err());
        // however short the file is
        assert!(fuzz::judge_bytes(b"QED\0", "raw", true).is_err());
    }

    #[test]
    fn a_vmdk_is_one_file() {
        let vmdk = |text: &str| {
            let (size, at, length) = (8u64.to_le_bytes(), 1u64.to_le_bytes(), 2u64.to_le_bytes());
            look(&[(0, b"KDMV\x01\0\0\0"), (12, &size), (28, &at), (36, &length), (512, text.as_bytes())], "vmdk")
        };
        assert_eq!(vmdk("createType=\"monolithicSparse\"\nRW 8 SPARSE \"disk.vmdk\"\n").unwrap(), Some(4096));
        assert!(vmdk("createType=\"monolithicFlat\"\nRW 8 FLAT \"/etc/passwd\" 0\n").is_err());
        assert!(vmdk("createType=\"monolithicSparse\"\nRW 8 SPARSE \"/etc/passwd\"\n").is_err());
        assert!(look(&[(0, b"# Disk DescriptorFile\ncreateType=\"monolithicFlat\"\n")], "vmdk").is_err());
        // an extent is one however it is written, and whatever comes before it
        assert!(vmdk("createType=\"monolithicSparse\"\nRW\t8 FLAT \"other\" 0\n").is_err());
        assert!(vmdk("#createType=\"monolithicFlat\"\ncreateType=\"monolithicSparse\"\nRW 8 SPARSE \"disk.vmdk\"\n").is_err());
        assert!(vmdk("createType=\"monolithicSparse\"\nRW 8 SPARSE \"a\"\n RW\n8 SPARSE \"b\"\n").is_err());
        assert!(vmdk("createType=\"monolithicSparse\"\nRW 8 SPARSE \"a\"\0parentFileNameHint=\"/etc/passwd\"").is_err());
    }

    #[test]
    fn a_vmdk_is_read_as_qemu_reads_it() {
        let clean: &[u8] = b"createType=\"monolithicSparse\"\nRW 8 SPARSE \"disk.vmdk\"\n";
        let vmdk = |capacity: u64, descriptor: u64, more: &[(usize, &[u8])]| {
            let (capacity, descriptor) = (capacity.to_le_bytes(), descriptor.to_le_bytes());
            let header: [(usize, &[u8]); 4] = [(0, b"KDMV\x01\0\0\0"), (12, &capacity), (28, &descriptor), (36, &[2])];
            look(&[&header[..], more].concat(), "vmdk")
        };
        assert_eq!(vmdk(8, 1, &[(512, clean)]).unwrap(), Some(4096));
        // what it opens without a capacity is what the descriptor names
        assert!(vmdk(0, 1, &[(512, clean)]).is_err());
        // it looks for a parent behind the first sector, wherever the descriptor is said to be
        let elsewhere = [(512, &b"parentFileNameHint=\"/etc/passwd\"\n"[..]), (1024, clean)];
        assert!(vmdk(8, 2, &elsewhere).is_err());
        // the last header counts where the first says so
        let (at_end, larger) = (u64::MAX.to_le_bytes(), (1u64 << 30).to_le_bytes());
        assert_eq!(vmdk(8, 1, &[(512, clean), (56, &at_end), (3072 + 12, &larger)]).unwrap(), Some(1 << 39));
    }

    #[test]
    fn differencing_disks_are_refused() {
        let vdi = |kind: u32| look(&[(64, &[0x7f, 0x10, 0xda, 0xbe]), (76, &kind.to_le_bytes()), (368, &9u64.to_le_bytes())], "vdi");
        assert_eq!(vdi(1).unwrap(), Some(9));
        assert!(vdi(4).is_err());
        let vhd = |kind: u32| look(&[(3584, b"conectix"), (3584 + 48, &7u64.to_be_bytes()), (3584 + 60, &kind.to_be_bytes())], "vhd");
        assert_eq!(vhd(2).unwrap(), Some(7));
        assert!(vhd(4).is_err());
    }
}
