//! The config drive: what the metadata service tells, on a small read-only disk, for guests that cannot or should not ask the network.

pub mod iso;
pub mod vfat;

use std::collections::BTreeMap;
use std::path::Path;

use kit::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::metadata::Documents;

/// The label guests look for.
pub const LABEL: &str = "config-2";

/// Files by their path, `openstack/latest/user_data`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What is on the drive: nova's `config_drive_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Iso9660,
    /// For guests that read no ISO 9660. It is a disk, never a disc.
    Vfat,
}

/// Writes the image of an instance's config drive into a file that exists or is made.
pub async fn write(path: &Path, format: Format, documents: &Documents) -> Result<()> {
    let (path, files) = (path.to_owned(), documents.drive()?);
    let work = move || match format {
        Format::Iso9660 => std::fs::write(path, iso::image(LABEL, &files)),
        Format::Vfat => vfat::write(&path, LABEL, &files),
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(Error::internal)??)
}

/// Whether such an image is one of ISO 9660, which can be put into an optical drive. The operator may have changed the format since it was made.
pub async fn is_disc(path: &Path) -> Result<bool> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(iso::MAGIC.0)).await?;
    let mut found = [0; iso::MAGIC.1.len()];
    Ok(file.read_exact(&mut found).await.is_ok() && found == *iso::MAGIC.1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a drive may hold: long names, big files, empty ones, many.
    pub fn files() -> Files {
        let mut files = Files::new();
        files.insert("openstack/latest/meta_data.json".into(), b"{\"uuid\": \"x\"}".to_vec());
        files.insert("openstack/2020-10-14/user_data".into(), vec![b'u'; 5000]);
        files.insert("ec2/latest/user-data".into(), Vec::new());
        for number in 0..100 {
            files.insert(format!("openstack/content/{number:04}"), vec![number; 10]);
        }
        files
    }

    /// What a program says of a file, where there is that program.
    pub fn says(program: &str, args: &[&str], path: &Path) -> Option<(bool, String)> {
        let output = std::process::Command::new(program).args(args).arg(path).output().ok()?;
        Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    #[tokio::test]
    async fn only_a_disc_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let documents = crate::metadata::fixtures::documents();
        for (format, disc) in [(Format::Iso9660, true), (Format::Vfat, false)] {
            let path = dir.path().join("drive");
            write(&path, format, &documents).await.unwrap();
            assert_eq!(is_disc(&path).await.unwrap(), disc);
        }
        std::fs::write(dir.path().join("short"), b"CD001").unwrap();
        assert!(!is_disc(&dir.path().join("short")).await.unwrap());
    }
}
