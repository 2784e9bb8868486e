//! Tells systemd, when it is systemd that started this process, how far it is: `sd_notify(3)`.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says `state`, `READY=1` for one, where somebody listens. Whoever does not hear it is told by the log.
pub fn notify(state: &str) {
    let Ok(place) = std::env::var("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&place, state) {
        tracing::warn!(place, %error, "systemd cannot be told {state}");
    }
}

/// To a socket in the file system, or to an abstract one, written with a leading `@`.
fn send(place: &str, state: &str) -> io::Result<()> {
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_hears() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        send(path.to_str().unwrap(), "READY=1").unwrap();
        let mut heard = [0; 16];
        let length = listener.recv(&mut heard).unwrap();
        assert_eq!(heard.get(..length), Some(&b"READY=1"[..]));
    }

    #[test]
    fn abstract_sockets_are_known() {
        let name = format!("cumulo-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(&format!("@{name}"), "STOPPING=1").unwrap();
        let mut heard = [0; 16];
        assert_eq!(listener.recv(&mut heard).unwrap(), 10);
    }
}
