//! What a disk image really is, read from its first bytes by our own code, before any other program opens it.
//!
//! An image is data of a stranger: one that names another file as its backing or data file would make QEMU read that file for him
//! (CVE-2024-32498, CVE-2022-47951). Such images are refused here, and so is what is not what it claims to be.

use std::io::{self, Read, Seek, SeekFrom};

/// The formats we can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Raw,
    Qcow2,
    Vmdk,
    Vhd,
    Vhdx,
    Vdi,
    Iso,
    Luks,
}

impl Format {
    /// Glance's word for it.
    pub fn disk_format(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
            Format::Vhd => "vhd",
            Format::Vhdx => "vhdx",
            Format::Vdi => "vdi",
            Format::Iso => "iso",
            Format::Luks => "luks",
        }
    }

    /// QEMU's word for it.
    pub fn driver(self) -> &'static str {
        match self {
            Format::Raw | Format::Iso => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
            Format::Vhd => "vpc",
            Format::Vhdx => "vhdx",
            Format::Vdi => "vdi",
            Format::Luks => "luks",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    pub format: Format,
    /// Bytes of the disk inside.
    pub virtual_size: u64,
    /// Why no guest may get it, if so.
    pub danger: Option<String>,
}

/// Looks at an image.
pub fn inspect(image: &mut (impl Read + Seek)) -> io::Result<Inspection> {
    let length = image.seek(SeekFrom::End(0))?;
    let head = Bytes(read_at(image, 0, 4096)?);
    let safe = |format, virtual_size| Inspection { format, virtual_size, danger: None };
    Ok(if head.starts_with(0, b"QFI\xfb") {
        qcow2(&head, image)?
    } else if head.starts_with(0, b"KDMV") {
        vmdk(&head, image)?
    } else if head.starts_with(0, b"# Disk DescriptorFile") || head.starts_with(0, b"COWD") {
        danger(Format::Vmdk, 0, "it is a VMDK descriptor that names other files")
    } else if head.starts_with(0, b"conectix") {
        // the copy of the footer that dynamic disks begin with
        let differencing = head.be32(60) == Some(4);
        let size = head.be64(48).unwrap_or(0);
        if differencing { danger(Format::Vhd, size, "it is a VHD that builds on another file") } else { safe(Format::Vhd, size) }
    } else if head.starts_with(0, b"vhdxfile") {
        safe(Format::Vhdx, 0)
    } else if head.le32(0x40) == Some(0xbeda_107f) {
        // type 4 is a differencing image
        let size = head.le64(0x170).unwrap_or(0);
        if head.le32(0x4c) == Some(4) {
            danger(Format::Vdi, size, "it is a VDI that builds on another file")
        } else {
            safe(Format::Vdi, size)
        }
    } else if head.starts_with(0, b"LUKS\xba\xbe") {
        safe(Format::Luks, length)
    } else if Bytes(read_at(image, 32_769, 5)?).starts_with(0, b"CD001") {
        safe(Format::Iso, length)
    } else if length >= 512 && Bytes(read_at(image, length - 512, 8)?).starts_with(0, b"conectix") {
        let footer = Bytes(read_at(image, length - 512, 512)?);
        safe(Format::Vhd, footer.be64(48).unwrap_or(length))
    } else {
        safe(Format::Raw, length)
    })
}

fn danger(format: Format, virtual_size: u64, why: impl Into<String>) -> Inspection {
    Inspection { format, virtual_size, danger: Some(why.into()) }
}

/// Incompatible feature bit 2: the data is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;
/// The features that can be understood: dirty, corrupt, external data, compression type, extended L2 entries.
const KNOWN_FEATURES: u64 = 0b1_1111;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;

fn qcow2(head: &Bytes, image: &mut (impl Read + Seek)) -> io::Result<Inspection> {
    let found = |why: &str, size| Ok(danger(Format::Qcow2, size, why));
    let (version, backing, size) = (head.be32(4), head.be64(8), head.be64(24).unwrap_or(0));
    if !matches!(version, Some(2 | 3)) {
        return found("it is a QCOW of an unknown version", size);
    }
    if backing != Some(0) {
        return found("it has a backing file", size);
    }
    if head.be32(32) != Some(0) {
        return found("it is encrypted", size);
    }
    let header_length = if version == Some(3) {
        let features = head.be64(72).unwrap_or(u64::MAX);
        if features & EXTERNAL_DATA != 0 {
            return found("its data is in another file", size);
        }
        if features & !KNOWN_FEATURES != 0 {
            return found("it uses unknown features", size);
        }
        head.be32(100).unwrap_or(104)
    } else {
        72
    };
    let mut at = u64::from(header_length);
    // extensions end with a zero, or with the first cluster
    while at < 64 << 10 {
        let extension = Bytes(read_at(image, at, 8)?);
        match (extension.be32(0), extension.be32(4)) {
            (Some(0) | None, _) | (_, None) => break,
            (Some(EXTENSION_DATA_FILE), _) => return found("its data is in another file", size),
            (Some(EXTENSION_BACKING_FORMAT), Some(length)) if length > 0 => return found("it has a backing file", size),
            (Some(_), Some(length)) => at += 8 + u64::from(length.div_ceil(8)) * 8,
        }
    }
    Ok(Inspection { format: Format::Qcow2, virtual_size: size, danger: None })
}

const SECTOR: u64 = 512;
/// A descriptor longer than this is none.
const DESCRIPTOR: u64 = 64 << 10;

fn vmdk(head: &Bytes, image: &mut (impl Read + Seek)) -> io::Result<Inspection> {
    let size = head.le64(12).unwrap_or(0).saturating_mul(SECTOR);
    let (at, length) = (head.le64(28).unwrap_or(0).saturating_mul(SECTOR), head.le64(36).unwrap_or(0).saturating_mul(SECTOR));
    if at == 0 || length == 0 || length > DESCRIPTOR {
        return Ok(danger(Format::Vmdk, size, "it is a VMDK without a readable description"));
    }
    let descriptor = String::from_utf8_lossy(&read_at(image, at, length as usize)?).into_owned();
    Ok(match vmdk_danger(&descriptor) {
        Some(why) => danger(Format::Vmdk, size, why),
        None => Inspection { format: Format::Vmdk, virtual_size: size, danger: None },
    })
}

/// Only the two kinds that are whole in one file are allowed.
fn vmdk_danger(descriptor: &str) -> Option<String> {
    let lines = || descriptor.split(['\n', '\0']).map(str::trim);
    let kind = lines().find_map(|line| line.strip_prefix("createType=")).map(|kind| kind.trim_matches('"'));
    if !matches!(kind, Some("monolithicSparse" | "streamOptimized")) {
        return Some(format!("it is a VMDK of the kind {}, which may name other files", kind.unwrap_or("unknown")));
    }
    let extents: Vec<&str> = lines().filter(|line| ["RW ", "RDONLY ", "NOACCESS "].iter().any(|access| line.starts_with(access))).collect();
    match extents.as_slice() {
        [extent] if extent.contains(" SPARSE ") && !extent.contains('/') => None,
        _ => Some("it is a VMDK that names other files".into()),
    }
}

/// Bytes, perhaps fewer than wished for.
struct Bytes(Vec<u8>);

impl Bytes {
    fn starts_with(&self, at: usize, what: &[u8]) -> bool {
        self.0.get(at..).is_some_and(|bytes| bytes.starts_with(what))
    }

    fn take<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    fn be32(&self, at: usize) -> Option<u32> {
        self.take(at).map(u32::from_be_bytes)
    }

    fn be64(&self, at: usize) -> Option<u64> {
        self.take(at).map(u64::from_be_bytes)
    }

    fn le32(&self, at: usize) -> Option<u32> {
        self.take(at).map(u32::from_le_bytes)
    }

    fn le64(&self, at: usize) -> Option<u64> {
        self.take(at).map(u64::from_le_bytes)
    }
}

fn read_at(image: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<Vec<u8>> {
    image.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    image.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(parts: &[(usize, &[u8])]) -> io::Cursor<Vec<u8>> {
        let mut bytes = vec![0; 128 << 10];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        io::Cursor::new(bytes)
    }

    fn look(parts: &[(usize, &[u8])]) -> Inspection {
        inspect(&mut image(parts)).unwrap()
    }

    const QCOW2: &[(usize, &[u8])] = &[(0, b"QFI\xfb\0\0\0\x03"), (24, &(5u64 << 30).to_be_bytes()), (100, &104u32.to_be_bytes())];

    fn qcow2_with(part: (usize, &[u8])) -> Inspection {
        look(&[QCOW2, &[part]].concat())
    }

    #[test]
    fn a_plain_qcow2_is_fine() {
        assert_eq!(look(QCOW2), Inspection { format: Format::Qcow2, virtual_size: 5 << 30, danger: None });
    }

    #[test]
    fn a_qcow2_that_reaches_outside_is_not() {
        fn why(at: usize, part: &[u8]) -> String {
            qcow2_with((at, part)).danger.unwrap()
        }
        assert_eq!(why(8, &104u64.to_be_bytes()), "it has a backing file");
        assert_eq!(why(72, &EXTERNAL_DATA.to_be_bytes()), "its data is in another file");
        assert_eq!(why(104, b"DATA\0\0\0\x0b/etc/passwd"), "its data is in another file");
        assert_eq!(why(104, &[&0xe279_2aca_u32.to_be_bytes()[..], &[0, 0, 0, 3], b"raw"].concat()), "it has a backing file");
        assert_eq!(why(72, &(1u64 << 40).to_be_bytes()), "it uses unknown features");
        assert_eq!(why(32, &2u32.to_be_bytes()), "it is encrypted");
    }

    #[test]
    fn a_vmdk_is_fine_when_it_is_one_file() {
        let vmdk = |descriptor: &str| {
            let (at, length) = (1u64.to_le_bytes(), 20u64.to_le_bytes());
            look(&[(0, b"KDMV"), (12, &2048u64.to_le_bytes()), (28, &at), (36, &length), (512, descriptor.as_bytes())])
        };
        let good = vmdk("# Disk DescriptorFile\ncreateType=\"monolithicSparse\"\nRW 2048 SPARSE \"a.vmdk\"\n");
        assert_eq!(good, Inspection { format: Format::Vmdk, virtual_size: 1 << 20, danger: None });
        assert!(vmdk("createType=\"monolithicFlat\"\nRW 2048 FLAT \"/etc/passwd\" 0\n").danger.unwrap().contains("monolithicFlat"));
        assert!(vmdk("createType=\"monolithicSparse\"\nRW 9 SPARSE \"/etc/passwd\"\n").danger.is_some());
        assert!(vmdk("createType=\"monolithicSparse\"\nRW 9 SPARSE \"a\"\nRW 9 FLAT \"b\" 0\n").danger.is_some());
        assert!(look(&[(0, b"# Disk DescriptorFile\n")]).danger.is_some());
    }

    #[test]
    fn the_others_are_told_apart() {
        assert_eq!(look(&[(0, b"conectix"), (48, &7u64.to_be_bytes())]).format, Format::Vhd);
        assert_eq!(look(&[((128 << 10) - 512, b"conectix")]).format, Format::Vhd);
        assert!(look(&[(0, b"conectix"), (60, &4u32.to_be_bytes())]).danger.is_some());
        assert_eq!(look(&[(0, b"vhdxfile")]).format, Format::Vhdx);
        assert_eq!(look(&[(0x40, &0xbeda_107f_u32.to_le_bytes())]).format, Format::Vdi);
        assert_eq!(look(&[(0, b"LUKS\xba\xbe")]).format, Format::Luks);
        assert_eq!(look(&[(32_769, b"CD001")]).format, Format::Iso);
        assert_eq!(look(&[]), Inspection { format: Format::Raw, virtual_size: 128 << 10, danger: None });
        assert_eq!(inspect(&mut io::Cursor::new(b"short")).unwrap().format, Format::Raw);
    }
}
