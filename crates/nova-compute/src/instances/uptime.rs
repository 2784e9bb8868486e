//! How long the host has been up, in the words of the command `uptime`, which clients take apart again.

use kit::clock::Timestamp;
use kit::{Error, Kind, Result};
use rpc::compute::GetHostUptime;

use crate::host::Host;

/// Where logins are recorded: records of this many bytes, beginning with their type.
const LOGINS: &str = "/run/utmp";
const LOGIN_RECORD: usize = 384;
const USER_PROCESS: u8 = 7;

/// The line `uptime` would print.
pub async fn uptime(_: Host, _: GetHostUptime) -> Result<String> {
    let unknown = |error: std::io::Error| Error::new(Kind::NotImplemented, "The host does not tell how long it is up.").source(error);
    let uptime = tokio::fs::read_to_string("/proc/uptime").await.map_err(unknown)?;
    let load = tokio::fs::read_to_string("/proc/loadavg").await.map_err(unknown)?;
    // nobody logs in to a container, which has no such file
    let logins = tokio::fs::read(LOGINS).await.unwrap_or_default();
    let now = Timestamp::now().to_seconds_z();
    Ok(line(now.get(11..19).unwrap_or_default(), &uptime, &load, users(&logins)))
}

fn users(logins: &[u8]) -> usize {
    logins.chunks_exact(LOGIN_RECORD).filter(|record| record.first() == Some(&USER_PROCESS)).count()
}

fn line(clock: &str, uptime: &str, load: &str, users: usize) -> String {
    let seconds = uptime.split('.').next().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        more => format!("{more} days, "),
    };
    let rest = if hours > 0 { format!("{hours:2}:{minutes:02}") } else { format!("{minutes} min") };
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(", ");
    let users = if users == 1 { "1 user".to_owned() } else { format!("{users} users") };
    format!(" {clock} up {days}{rest},  {users},  load average: {load}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_like_the_command() {
        let load = "0.20 0.12 0.14 1/300 4242\n";
        assert_eq!(
            line("08:32:11", "8101500.12 1.0\n", load, 12),
            " 08:32:11 up 93 days, 18:25,  12 users,  load average: 0.20, 0.12, 0.14"
        );
        assert_eq!(line("08:32:11", "90.5 1.0\n", load, 1), " 08:32:11 up 1 min,  1 user,  load average: 0.20, 0.12, 0.14");
        let mut logins = vec![0; 2 * LOGIN_RECORD];
        logins[LOGIN_RECORD] = USER_PROCESS;
        assert_eq!(users(&logins), 1);
    }
}
