//! A small writer of ISO 9660 images: a tree of files in memory, an image in memory.
//!
//! Names are written as they are, in lower case and with more than one dot or dash, which is more than the standard allows and what every
//! system that mounts such images reads. There are no extensions (Rock Ridge, Joliet), for nothing here needs them.

use std::collections::BTreeMap;

use super::Files;

const SECTOR: usize = 2048;
/// The system area, then the volume descriptors.
const DESCRIPTOR: usize = 16;
const LITTLE_TABLE: usize = 18;

/// Where every such image has which bytes.
pub const MAGIC: (u64, &[u8; 5]) = ((DESCRIPTOR * SECTOR + 1) as u64, b"CD001");

/// The image of a volume with this label and these files.
pub fn image(label: &str, files: &Files) -> Vec<u8> {
    let tree = Tree::of(files);
    let table_sectors = tree.path_table(false, &[]).len().div_ceil(SECTOR).max(1);
    let first_directory = LITTLE_TABLE + 2 * table_sectors;
    let layout = tree.layout(first_directory, files);
    let mut out = vec![0; layout.sectors * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| {
        if let Some(place) = out.get_mut(sector * SECTOR..sector * SECTOR + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(DESCRIPTOR, &descriptor(label, &layout, table_sectors, tree.path_table(false, &[]).len()));
    put(DESCRIPTOR + 1, b"\xffCD001\x01");
    put(LITTLE_TABLE, &tree.path_table(false, &layout.directories));
    put(LITTLE_TABLE + table_sectors, &tree.path_table(true, &layout.directories));
    for (index, extent) in layout.directories.iter().enumerate() {
        put(extent.sector, &tree.records(index, &layout));
    }
    for (path, content) in files {
        if let Some(extent) = layout.files.get(path) {
            put(extent.sector, content);
        }
    }
    out
}

/// Where something lies.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    sector: usize,
    length: usize,
}

struct Layout {
    directories: Vec<Extent>,
    files: BTreeMap<String, Extent>,
    sectors: usize,
}

/// Directories, parents before children as the path table wants them; the first is the root.
struct Tree {
    directories: Vec<Directory>,
}

#[derive(Default)]
struct Directory {
    name: String,
    parent: usize,
    /// Name, and the index of the directory or the path of the file.
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    Directory(usize),
    File(String),
}

impl Tree {
    fn of(files: &Files) -> Tree {
        let mut tree = Tree { directories: vec![Directory::default()] };
        let depth = |path: &str| path.matches('/').count();
        let mut paths: Vec<&String> = files.keys().collect();
        // by depth first, so that directories come level by level
        let deepest = paths.iter().map(|path| depth(path)).max().unwrap_or(0);
        for level in 1..=deepest {
            for path in paths.iter().filter(|path| depth(path) >= level) {
                let parts: Vec<&str> = path.split('/').take(level).collect();
                tree.directory(&parts);
            }
        }
        paths.sort();
        for path in paths {
            let mut parts: Vec<&str> = path.split('/').collect();
            let name = parts.pop().unwrap_or_default();
            let parent = tree.directory(&parts);
            if let Some(directory) = tree.directories.get_mut(parent) {
                directory.entries.insert(format!("{name};1"), Entry::File(path.clone()));
            }
        }
        tree
    }

    /// The directory of this path, made when it is new.
    fn directory(&mut self, path: &[&str]) -> usize {
        path.iter().fold(0, |parent, name| {
            let known = self.directories.get(parent).and_then(|directory| directory.entries.get(*name));
            if let Some(Entry::Directory(index)) = known {
                return *index;
            }
            let index = self.directories.len();
            self.directories.push(Directory { name: (*name).to_owned(), parent, entries: BTreeMap::new() });
            if let Some(directory) = self.directories.get_mut(parent) {
                directory.entries.insert((*name).to_owned(), Entry::Directory(index));
            }
            index
        })
    }

    fn layout(&self, first: usize, files: &Files) -> Layout {
        let mut layout = Layout { directories: Vec::new(), files: BTreeMap::new(), sectors: first };
        for directory in &self.directories {
            let length = directory_length(directory);
            layout.directories.push(Extent { sector: layout.sectors, length });
            layout.sectors += length / SECTOR;
        }
        for (path, content) in files {
            layout.files.insert(path.clone(), Extent { sector: layout.sectors, length: content.len() });
            layout.sectors += content.len().div_ceil(SECTOR);
        }
        layout
    }

    fn records(&self, index: usize, layout: &Layout) -> Vec<u8> {
        let extent = |index: usize| layout.directories.get(index).copied().unwrap_or_default();
        let Some(directory) = self.directories.get(index) else { return Vec::new() };
        let mut out = Vec::new();
        push(&mut out, &record(b"\0", extent(index), true));
        push(&mut out, &record(b"\x01", extent(directory.parent), true));
        for (name, entry) in &directory.entries {
            let (place, is_directory) = match entry {
                Entry::Directory(index) => (extent(*index), true),
                Entry::File(path) => (layout.files.get(path).copied().unwrap_or_default(), false),
            };
            push(&mut out, &record(name.as_bytes(), place, is_directory));
        }
        out
    }

    fn path_table(&self, big_endian: bool, extents: &[Extent]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, directory) in self.directories.iter().enumerate() {
            let name = if index == 0 { b"\0" } else { directory.name.as_bytes() };
            let sector = extents.get(index).map_or(0, |extent| extent.sector as u32);
            let parent = directory.parent as u16 + 1;
            out.extend([name.len() as u8, 0]);
            out.extend(if big_endian { sector.to_be_bytes() } else { sector.to_le_bytes() });
            out.extend(if big_endian { parent.to_be_bytes() } else { parent.to_le_bytes() });
            out.extend(name);
            out.resize(out.len().next_multiple_of(2), 0);
        }
        out
    }
}

/// The size of a directory: whole sectors, for no record crosses their border.
fn directory_length(directory: &Directory) -> usize {
    let lengths = [1, 1].into_iter().chain(directory.entries.keys().map(String::len)).map(record_length);
    lengths.fold(0, |at: usize, length| start_of(at, length) + length).next_multiple_of(SECTOR)
}

fn record_length(name: usize) -> usize {
    (33 + name).next_multiple_of(2)
}

/// Where a record of this length begins when the one before it ends here.
fn start_of(at: usize, length: usize) -> usize {
    if at % SECTOR + length > SECTOR { at.next_multiple_of(SECTOR) } else { at }
}

fn push(out: &mut Vec<u8>, record: &[u8]) {
    out.resize(start_of(out.len(), record.len()), 0);
    out.extend(record);
}

fn record(name: &[u8], extent: Extent, is_directory: bool) -> Vec<u8> {
    let mut out = vec![record_length(name.len()) as u8, 0];
    out.extend(both32(extent.sector));
    out.extend(both32(extent.length));
    // the time is nobody's business: 1970-01-01
    out.extend([70, 1, 1, 0, 0, 0, 0]);
    out.extend([if is_directory { 2 } else { 0 }, 0, 0]);
    out.extend(both16(1));
    out.push(name.len() as u8);
    out.extend(name);
    out.resize(record_length(name.len()), 0);
    out
}

fn descriptor(label: &str, layout: &Layout, table_sectors: usize, table_length: usize) -> Vec<u8> {
    let mut out = b"\x01CD001\x01\0".to_vec();
    out.extend(padded("LINUX", 32));
    out.extend(padded(label, 32));
    out.extend([0; 8]);
    out.extend(both32(layout.sectors));
    out.extend([0; 32]);
    out.extend(both16(1));
    out.extend(both16(1));
    out.extend(both16(SECTOR));
    out.extend(both32(table_length));
    out.extend((LITTLE_TABLE as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend(((LITTLE_TABLE + table_sectors) as u32).to_be_bytes());
    out.extend([0; 4]);
    out.extend(record(b"\0", layout.directories.first().copied().unwrap_or_default(), true));
    for (text, length) in [("", 128), ("", 128), ("", 128), ("CUMULO", 128), ("", 37), ("", 37), ("", 37)] {
        out.extend(padded(text, length));
    }
    for _ in 0..4 {
        out.extend([b'0'; 16]);
        out.push(0);
    }
    out.push(1);
    out
}

fn padded(text: &str, length: usize) -> Vec<u8> {
    let mut out: Vec<u8> = text.bytes().take(length).collect();
    out.resize(length, b' ');
    out
}

/// A number in both byte orders.
fn both32(number: usize) -> Vec<u8> {
    [(number as u32).to_le_bytes(), (number as u32).to_be_bytes()].concat()
}

fn both16(number: usize) -> Vec<u8> {
    [(number as u16).to_le_bytes(), (number as u16).to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{files, says};
    use super::*;

    /// Reads an image back as a kernel would, from the root's record on.
    fn read_back(image: &[u8]) -> Files {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        let mut found = Files::new();
        let root = &image[DESCRIPTOR * SECTOR + 156..];
        let mut todo = vec![(String::new(), number(&root[2..]), number(&root[10..]))];
        while let Some((prefix, sector, length)) = todo.pop() {
            let bytes = &image[sector * SECTOR..sector * SECTOR + length];
            let mut at = 0;
            while at < bytes.len() {
                let record = &bytes[at..];
                if record[0] == 0 {
                    at = (at + 1).next_multiple_of(SECTOR);
                    continue;
                }
                at += record[0] as usize;
                let name = &record[33..33 + record[32] as usize];
                if matches!(name, b"\0" | b"\x01") {
                    continue;
                }
                let path = format!("{prefix}{}", String::from_utf8(name.to_vec()).unwrap());
                let (sector, length) = (number(&record[2..]), number(&record[10..]));
                match record[25] & 2 {
                    0 => drop(
                        found
                            .insert(path.strip_suffix(";1").unwrap().to_owned(), image[sector * SECTOR..sector * SECTOR + length].to_vec()),
                    ),
                    _ => todo.push((format!("{path}/"), sector, length)),
                }
            }
        }
        found
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read_back(&image("config-2", &files())), files());
    }

    #[test]
    fn other_programs_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drive.iso");
        std::fs::write(&path, image("config-2", &files())).unwrap();
        if let Some((_, text)) = says("blkid", &["-p", "-o", "export"], &path) {
            assert!(text.contains("LABEL=config-2") && text.contains("TYPE=iso9660"), "{text}");
        }
        if let Some((_, text)) = says("isoinfo", &["-f", "-i"], &path) {
            assert!(text.contains("/openstack/latest/meta_data.json;1") && text.contains("/openstack/content/0099;1"), "{text}");
        }
    }
}
