//! The disk of a guest that is only simulated, when it becomes an image: an empty one of a megabyte, in QCOW2's form.

/// Small, so that the four clusters an empty disk has are two kilobytes.
const CLUSTER: usize = 512;
const CLUSTER_BITS: u32 = 9;
const BYTES: u64 = 1 << 20;
/// Each entry of the first table stands for 64 clusters.
const TABLE: u32 = (BYTES / (64 * CLUSTER as u64)) as u32;

/// Header, table of counts, counts, and the table of a disk that has nothing yet.
pub fn qcow2() -> Vec<u8> {
    let mut header = Vec::with_capacity(4 * CLUSTER);
    header.extend(b"QFI\xfb");
    let cluster = |number: u64| number * CLUSTER as u64;
    // version; no backing file
    be32(&mut header, &[2, 0, 0, 0, CLUSTER_BITS]);
    be64(&mut header, &[BYTES]);
    // not encrypted; the disk's table
    be32(&mut header, &[0, TABLE]);
    be64(&mut header, &[cluster(3), cluster(1)]);
    // one cluster of counts; no snapshots
    be32(&mut header, &[1, 0]);
    be64(&mut header, &[0]);
    header.resize(CLUSTER, 0);
    be64(&mut header, &[cluster(2)]);
    header.resize(2 * CLUSTER, 0);
    // all four clusters are in use once
    header.extend([0, 1].repeat(4));
    header.resize(4 * CLUSTER, 0);
    header
}

fn be32(to: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| to.extend(number.to_be_bytes()));
}

fn be64(to: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| to.extend(number.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::inspect::{Format, inspect};

    #[test]
    fn it_is_a_disk() {
        let disk = qcow2();
        assert_eq!(disk.len(), 2048);
        let seen = inspect(&mut std::io::Cursor::new(disk)).unwrap();
        assert_eq!((seen.format, seen.virtual_size, seen.danger), (Format::Qcow2, BYTES, None));
    }
}
