//! Small private files: keys, secrets, what a start leaves for the next. They are there whole or not at all, and for their owner alone. And how
//! long the name of a socket may be.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::{Error, Result};

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

/// The longest path of a UNIX socket, without the final zero; unix(7).
const SOCKET_PATH: usize = 107;

/// Whether there can be a socket of this name; what has a directory for sockets asks when it opens that, not when somebody waits for one.
pub fn fits_socket(path: &Path) -> Result<()> {
    match path.as_os_str().len().saturating_sub(SOCKET_PATH) {
        0 => Ok(()),
        over => Err(Error::unavailable(format!("{} is {over} bytes too long for a socket. Choose a shorter directory.", path.display()))),
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
    fn a_socket_has_a_path_of_107_bytes() {
        let of = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert!(fits_socket(Path::new(&of(107))).is_ok());
        assert!(fits_socket(Path::new(&of(110))).unwrap_err().message.contains("is 3 bytes too long"));
    }

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
