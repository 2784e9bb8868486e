//! A small writer of FAT16 volumes with long names: a tree of files in memory, a sparse file as large as nova's. Nothing is mounted, so it needs no
//! rights.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::Files;

const SECTOR: usize = 512;
/// As large as nova makes them; what is not written takes no room.
const SECTORS: usize = (64 << 20) / SECTOR;
const CLUSTER: usize = 4 * SECTOR;
const FAT_SECTORS: usize = 128;
/// Entries of the root, which cannot grow.
const ROOT: usize = 512;
const ENTRY: usize = 32;
const CLUSTERS: usize = (SECTORS - 1 - 2 * FAT_SECTORS - ROOT * ENTRY / SECTOR) / 4;
const FIRST_CLUSTER: u16 = 2;
const END_OF_CHAIN: u16 = 0xffff;
const LABEL_LENGTH: usize = 11;
/// 1980-01-01, the first day that FAT knows: the time is nobody's business.
const DAY: u16 = 1 << 5 | 1;

const DIRECTORY: u8 = 0x10;
const VOLUME_LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;

/// Makes a volume of this label with these files.
pub fn write(path: &Path, label: &str, files: &Files) -> io::Result<()> {
    let mut tree = Directory::new();
    files.iter().for_each(|(path, content)| put(&mut tree, path, content));
    let mut volume = Volume { fat: vec![0xfff8, END_OF_CHAIN], data: Vec::new() };
    let mut root = entry(&padded::<LABEL_LENGTH>(label), VOLUME_LABEL, 0, 0);
    root.extend(volume.entries(&tree, 0)?);
    if root.len() > ROOT * ENTRY {
        return Err(full());
    }
    root.resize(ROOT * ENTRY, 0);
    let mut fat: Vec<u8> = volume.fat.iter().flat_map(|next| next.to_le_bytes()).collect();
    fat.resize(FAT_SECTORS * SECTOR, 0);
    let mut file = File::create(path)?;
    for part in [&boot_sector(label), &fat, &fat, &root, &volume.data] {
        file.write_all(part)?;
    }
    file.set_len((SECTORS * SECTOR) as u64)
}

type Directory<'a> = BTreeMap<&'a str, Node<'a>>;

enum Node<'a> {
    Directory(Directory<'a>),
    File(&'a [u8]),
}

fn put<'a>(directory: &mut Directory<'a>, path: &'a str, content: &'a [u8]) {
    let Some((first, rest)) = path.split_once('/') else {
        directory.insert(path, Node::File(content));
        return;
    };
    if let Node::Directory(inner) = directory.entry(first).or_insert_with(|| Node::Directory(Directory::new())) {
        put(inner, rest, content);
    }
}

struct Volume {
    /// The next cluster of each.
    fat: Vec<u16>,
    /// From the first cluster on.
    data: Vec<u8>,
}

impl Volume {
    /// Takes clusters for so many bytes; none for nothing.
    fn take(&mut self, bytes: usize) -> io::Result<u16> {
        let (first, count) = (self.fat.len(), bytes.div_ceil(CLUSTER));
        if count == 0 {
            return Ok(0);
        }
        if first - usize::from(FIRST_CLUSTER) + count > CLUSTERS {
            return Err(full());
        }
        self.fat.extend((1..count).map(|next| (first + next) as u16));
        self.fat.push(END_OF_CHAIN);
        self.data.resize(self.data.len() + count * CLUSTER, 0);
        Ok(first as u16)
    }

    fn fill(&mut self, cluster: u16, bytes: &[u8]) {
        let at = usize::from(cluster.saturating_sub(FIRST_CLUSTER)) * CLUSTER;
        if let Some(place) = self.data.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// The entries of a directory, and all that is below it written. `own` is its first cluster, 0 for the root.
    fn entries(&mut self, directory: &Directory<'_>, own: u16) -> io::Result<Vec<u8>> {
        let mut entries = Vec::new();
        for (number, (name, node)) in directory.iter().enumerate() {
            // nobody reads the short name, but it has to be there and one of its own
            let short = padded::<LABEL_LENGTH>(&format!("F{number:07}"));
            entries.extend(long_name(name, &short));
            entries.extend(match node {
                Node::File(content) => {
                    let cluster = self.take(content.len())?;
                    self.fill(cluster, content);
                    entry(&short, 0, cluster, content.len() as u32)
                }
                Node::Directory(inner) => {
                    let lengths = inner.keys().map(|name| (name.encode_utf16().count().div_ceil(13) + 1) * ENTRY);
                    let cluster = self.take(2 * ENTRY + lengths.sum::<usize>())?;
                    let mut bytes = entry(&padded("."), DIRECTORY, cluster, 0);
                    bytes.extend(entry(&padded(".."), DIRECTORY, own, 0));
                    bytes.extend(self.entries(inner, cluster)?);
                    self.fill(cluster, &bytes);
                    entry(&short, DIRECTORY, cluster, 0)
                }
            });
        }
        Ok(entries)
    }
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the config drive is too small for its files")
}

fn padded<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [b' '; LENGTH];
    bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

fn entry(name: &[u8; LABEL_LENGTH], attributes: u8, cluster: u16, length: u32) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.push(attributes);
    // case, and the times: made, read, and the cluster's upper half, which FAT16 has not
    bytes.extend([0, 0, 0, 0]);
    bytes.extend([DAY, DAY, 0, 0, DAY, cluster].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(length.to_le_bytes());
    bytes
}

/// The entries before the one with the short name, the last part of the name first.
fn long_name(name: &str, short: &[u8; LABEL_LENGTH]) -> Vec<u8> {
    let check = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let letters: Vec<u16> = name.encode_utf16().collect();
    let parts = letters.chunks(13).enumerate();
    let last = letters.len().div_ceil(13);
    let part = |(index, part): (usize, &[u16])| {
        let mut part = part.to_vec();
        if part.len() < 13 {
            part.push(0);
        }
        part.resize(13, 0xffff);
        let number = (index + 1) as u8 | if index + 1 == last { 0x40 } else { 0 };
        let text: Vec<u8> = part.iter().flat_map(|letter| letter.to_le_bytes()).collect();
        let (first, rest) = text.split_at(10);
        let (second, third) = rest.split_at(12);
        [&[number][..], first, &[LONG_NAME, 0, check], second, &[0, 0], third].concat()
    };
    parts.rev().flat_map(part).collect()
}

fn boot_sector(label: &str) -> Vec<u8> {
    let mut bytes = b"\xeb\x3c\x90CUMULO  ".to_vec();
    bytes.extend((SECTOR as u16).to_le_bytes());
    bytes.extend([(CLUSTER / SECTOR) as u8, 1, 0, 2]);
    bytes.extend((ROOT as u16).to_le_bytes());
    bytes.extend([0, 0, 0xf8]);
    bytes.extend((FAT_SECTORS as u16).to_le_bytes());
    // sectors and heads as disks had them, nothing before it
    bytes.extend([32, 0, 64, 0, 0, 0, 0, 0]);
    bytes.extend((SECTORS as u32).to_le_bytes());
    bytes.extend([0x80, 0, 0x29]);
    bytes.extend(*b"CU01");
    bytes.extend(padded::<LABEL_LENGTH>(label));
    bytes.extend(*b"FAT16   ");
    bytes.resize(SECTOR - 2, 0);
    bytes.extend([0x55, 0xaa]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::tests::{files, says};
    use super::*;

    const DATA: usize = (1 + 2 * FAT_SECTORS) * SECTOR + ROOT * ENTRY;

    /// Reads a volume back as a kernel would, from the root's entries on.
    fn read_back(image: &[u8]) -> Files {
        let word = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let chain = |first: u16| {
            let (mut bytes, mut cluster) = (Vec::new(), first);
            while (2..0xfff8).contains(&cluster) {
                let at = DATA + (usize::from(cluster) - 2) * CLUSTER;
                bytes.extend_from_slice(&image[at..at + CLUSTER]);
                cluster = word(image, SECTOR + 2 * usize::from(cluster));
            }
            bytes
        };
        let mut found = Files::new();
        let mut todo = vec![(String::new(), image[DATA - ROOT * ENTRY..DATA].to_vec())];
        while let Some((prefix, entries)) = todo.pop() {
            let mut name: Vec<u16> = Vec::new();
            for entry in
                entries.chunks(ENTRY).take_while(|entry| entry[0] != 0).filter(|entry| entry[11] != VOLUME_LABEL && entry[0] != b'.')
            {
                if entry[11] == LONG_NAME {
                    let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
                    let part = places.map(|at| word(entry, at)).into_iter().take_while(|letter| *letter != 0);
                    name = part.chain(name).collect();
                    continue;
                }
                let path = format!("{prefix}{}", String::from_utf16(&std::mem::take(&mut name)).unwrap());
                let content = chain(word(entry, 26));
                match entry[11] {
                    DIRECTORY => todo.push((format!("{path}/"), content)),
                    _ => drop(found.insert(path, content[..u32::from_le_bytes(entry[28..32].try_into().unwrap()) as usize].to_vec())),
                }
            }
        }
        found
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive");
        let mut files = files();
        files.insert("exactly13char".into(), vec![b'x'; CLUSTER]);
        write(&path, "config-2", &files).unwrap();
        assert_eq!(read_back(&std::fs::read(&path).unwrap()), files);
        let file = path.metadata().unwrap();
        assert!(file.len() == 64 << 20 && file.blocks() * 512 < 4 << 20, "{} blocks", file.blocks());
    }

    #[test]
    fn other_programs_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive");
        write(&path, "config-2", &files()).unwrap();
        if let Some((_, text)) = says("blkid", &["-p", "-o", "export"], &path) {
            assert!(text.contains("LABEL=config-2") && text.contains("TYPE=vfat"), "{text}");
        }
        if let Some((sound, text)) = says("fsck.vfat", &["-n"], &path) {
            assert!(sound, "{text}");
        }
        if let Some((_, text)) = says("mdir", &["-/", "-b", "-i"], &path) {
            assert!(text.contains("::/openstack/latest/meta_data.json") && text.contains("::/openstack/content/0099"), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive");
        assert!(write(&path, "config-2", &Files::from([("big".to_owned(), vec![1; 65 << 20])])).is_err());
        let many = (0..ROOT).map(|number| (number.to_string(), Vec::new())).collect();
        assert!(write(&path, "config-2", &many).is_err());
    }
}
