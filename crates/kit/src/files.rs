//! Small private files: keys, secrets, what a start leaves for the next. They are there whole or not at all, and for their owner alone.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Puts `content` into the file, on disk when this returns; a reader sees the old or the new, never half of one.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let passing = path.with_extension("new");
    write_synced(&passing, content)?;
    fs::rename(passing, path)
}

/// Makes the file unless it is there, with its directory; of several who try at once one does, and all read the same afterwards.
pub fn make_private(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let passing = path.with_extension(crate::ids::hex());
    write_synced(&passing, content)?;
    let made = fs::hard_link(&passing, path);
    fs::remove_file(passing)?;
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    // one that was left over may have another mode
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_and_the_first_to_make_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/master");
        make_private(&path, b"first").unwrap();
        make_private(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write_private(&path, b"third").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1);
    }
}
