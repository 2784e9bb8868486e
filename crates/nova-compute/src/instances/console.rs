//! A guest's consoles: the end of what it wrote, as `openstack console log show` asks for it, and ways to look at it as it runs.

use kit::{Error, Result};
use rpc::actions::{ConsoleAccess, ConsoleKind, GetConsole};
use rpc::compute::GetConsoleOutput;

use crate::host::Host;
use crate::hypervisor::Console;

/// Lets a visitor in, once.
pub async fn access(host: Host, request: GetConsole) -> Result<ConsoleAccess> {
    let id = &request.instance_id;
    let console = match request.kind {
        ConsoleKind::Vnc => Console::Screen,
        ConsoleKind::Serial => Console::Serial,
    };
    let socket = host.hypervisor.console_socket(id, console);
    let socket = socket.ok_or_else(|| Error::conflict(format!("Instance {id} is not ready")))?;
    host.consoles.admit(socket, request.kind).await
}

/// The last lines, or all that is kept.
pub async fn output(host: Host, request: GetConsoleOutput) -> Result<String> {
    let text = host.hypervisor.console(&request.instance_id).await?;
    Ok(match request.length {
        Some(length) => last_lines(&text, usize::try_from(length).unwrap_or(usize::MAX)).to_owned(),
        None => text,
    })
}

/// Nova counts what stands between line ends: after the last one stands one more, empty, line.
fn last_lines(text: &str, length: usize) -> &str {
    if length == 0 {
        return "";
    }
    match text.rmatch_indices('\n').nth(length - 1) {
        Some((at, _)) => text.get(at + 1..).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn the_end_is_counted_in_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "c\n");
        assert_eq!(last_lines("a\nb\nc", 1), "c");
        assert_eq!(last_lines("a\nb\n", 9), "a\nb\n");
        assert_eq!(last_lines("a\n", 0), "");
    }
}
