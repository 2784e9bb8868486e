//! What volumes and snapshots are called on a storage: as cinder calls them, `volume-ID` and `snapshot-ID`.

use kit::{Error, Result};

/// How the names of snapshots begin that nobody manages.
pub const STRAY: &str = "_snapshot-";
const VOLUME: &str = "volume-";
const UNMANAGED: &str = "unmanaged-";

/// Of a volume. Ids become words of command lines; cinder's are UUIDs, and nothing else shall pass.
pub fn volume(id: &str) -> Result<String> {
    let id = kit::ids::parse_uuid(id).ok_or_else(|| Error::bad_request(format!("{id} is no volume id.")))?;
    Ok(format!("{VOLUME}{id}"))
}

/// Of a disk on its way to become a volume.
pub fn part(disk: &str) -> String {
    format!("{disk}.part")
}

pub fn snapshot(id: &str) -> Result<String> {
    own_snapshot("snapshot", id)
}

/// Of one that nobody is told of: `purpose` says what it is for.
pub fn own_snapshot(purpose: &str, id: &str) -> Result<String> {
    let id = kit::ids::parse_uuid(id).ok_or_else(|| Error::bad_request(format!("{id} is no snapshot id.")))?;
    Ok(format!("{purpose}-{id}"))
}

/// The volume's id in the name of a disk of ours.
pub fn volume_of(disk: &str) -> Option<&str> {
    let id = disk.strip_prefix(VOLUME)?.get(..36)?;
    kit::ids::parse_uuid(id).map(|_| id)
}

/// What a volume is called that nobody manages any more. The user is told the name without its beginning.
pub fn unmanaged(disk: &str) -> String {
    format!("{UNMANAGED}{disk}")
}

/// The name that users are told of a disk that nobody manages.
pub fn told(disk: &str) -> Option<&str> {
    match disk.strip_prefix(UNMANAGED) {
        Some(name) => Some(name),
        None => (volume_of(disk).is_none() && is_plain(disk)).then_some(disk),
    }
}

/// The names that a disk may have that users call so.
pub fn meant(name: &str) -> Result<[String; 2]> {
    let plain = is_plain(name) && name.strip_prefix(UNMANAGED).is_none();
    if !plain {
        return Err(refused(name, "it is no name of a disk"));
    }
    Ok([unmanaged(name), name.to_owned()])
}

pub fn refused(name: &str, why: &str) -> Error {
    Error::bad_request(format!("Manage existing volume failed due to invalid backend reference {name}: {why}."))
}

/// A name that means nothing else to the storage's programs.
fn is_plain(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && name.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_volumes_and_back() {
        let id = kit::ids::uuid();
        let name = volume(&id).unwrap();
        assert_eq!((volume_of(&name), volume_of(&part(&name))), (Some(&*id), Some(&*id)));
        assert_eq!((volume_of("volume-1"), volume_of("volume-é")), (None, None));
        assert!(volume("../x").is_err() && snapshot("--force").is_err());
    }

    #[test]
    fn what_nobody_manages_is_told_by_its_own_name() {
        let name = volume(&kit::ids::uuid()).unwrap();
        assert_eq!((told(&name), told(&unmanaged(&name)), told("data")), (None, Some(&*name), Some("data")));
        assert_eq!((told("a@b"), told("-x")), (None, None));
        assert_eq!(meant(&name).unwrap(), [unmanaged(&name), name]);
        assert!(meant("a/b").is_err() && meant("--all").is_err());
    }
}
