//! The guest's serial console, as a file: QEMU appends to it for ever, so it is cut now and then.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::files::{Files, create_plain, open_plain};

/// A log longer than this is cut.
const LIMIT: u64 = 1 << 20;
/// What of it is kept.
const KEEP: u64 = 256 << 10;

/// What is kept of the console: the end of the previous log, then the present one.
pub fn read(files: &Files) -> io::Result<String> {
    let mut bytes = Vec::new();
    for path in [files.old_console(), files.console()] {
        bytes.extend(tail(&path, LIMIT)?);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Cuts the log when it has grown too long. QEMU appends, so it goes on at the new end; the few bytes it may write between the copy and the
/// cut are lost.
pub fn rotate(files: &Files) -> io::Result<()> {
    match std::fs::symlink_metadata(files.console()) {
        Ok(metadata) if metadata.len() > LIMIT => {
            create_plain(&files.old_console())?.write_all(&tail(&files.console(), KEEP)?)?;
            open_plain(&files.console(), true)?.set_len(0)
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn tail(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut file = match open_plain(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(length)))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_cut_and_its_end_kept() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().to_owned());
        assert_eq!(read(&files).unwrap(), "");
        std::fs::write(files.console(), vec![b'x'; LIMIT as usize + 1]).unwrap();
        rotate(&files).unwrap();
        assert_eq!(std::fs::metadata(files.console()).unwrap().len(), 0);
        std::fs::write(files.console(), "new").unwrap();
        let text = read(&files).unwrap();
        assert_eq!(text.len() as u64, KEEP + 3);
        assert!(text.ends_with("xnew"));
    }
}
