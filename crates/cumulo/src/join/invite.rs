//! Invitations, as files of the controller.

use std::path::Path;
use std::time::Duration;

use fernet::Fernet;
use kit::files::make_private;

use super::{Invitation, now};

/// Writes an invitation for a host that logs in as `user`, and answers its token.
pub fn invite(shared: &Path, host: &str, (user, password): (&str, &str), valid: Duration) -> Result<String, String> {
    let dir = shared.join("joins");
    forget_expired(&dir);
    let (id, key) = (kit::ids::hex(), Fernet::generate_key());
    let invitation =
        Invitation { host: host.into(), key: key.clone(), expires: now() + valid.as_secs(), user: user.into(), password: password.into() };
    let text = toml::to_string(&invitation).map_err(|error| error.to_string())?;
    let path = dir.join(format!("{id}.toml"));
    make_private(&path, text.as_bytes()).map_err(|error| format!("{} cannot be written: {error}.", path.display()))?;
    Ok(format!("{id}.{key}"))
}

/// Takes an invitation that is still good; it is good once.
pub(super) fn take(shared: &Path, id: &str) -> Option<Invitation> {
    let path = shared.join("joins").join(format!("{id}.toml"));
    let text = std::fs::read_to_string(&path).ok()?;
    // of two that ask at once, the one that removes it has it
    std::fs::remove_file(&path).ok()?;
    toml::from_str::<Invitation>(&text).ok().filter(|invitation| invitation.expires > now())
}

fn forget_expired(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let invitation = std::fs::read_to_string(&path).ok().and_then(|text| toml::from_str::<Invitation>(&text).ok());
        if invitation.is_some_and(|invitation| invitation.expires <= now()) {
            // one that another removed meanwhile is as good as removed
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_good_once_and_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let id = |token: &str| token.split_once('.').unwrap().0.to_owned();
        let token = invite(dir.path(), "h1", ("host-h1", "p"), Duration::from_secs(60)).unwrap();
        assert_eq!(take(dir.path(), &id(&token)).unwrap().host, "h1");
        assert!(take(dir.path(), &id(&token)).is_none());
        let late = invite(dir.path(), "h1", ("host-h1", "p"), Duration::ZERO).unwrap();
        assert!(take(dir.path(), &id(&late)).is_none());
    }
}
