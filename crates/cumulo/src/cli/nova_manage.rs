//! `cumulo nova-manage db`: deleted servers out of the way, and out of the world. It works on nova's database itself, whether or not the cloud
//! is up.

use clap::Subcommand;
use kit::clock::Timestamp;

use super::{api, say};
use crate::state::StateDir;

#[derive(Subcommand)]
pub enum Db {
    /// Move servers that were deleted into the shadow tables
    #[command(alias = "archive_deleted_rows")]
    Archive {
        /// Only those deleted before this time, as 2026-11-21 or 2026-11-21T09:00:00 [default: now]
        #[arg(long)]
        before: Option<String>,
        /// Servers moved at most
        #[arg(long, alias = "max_rows", default_value_t = 1000)]
        max_rows: u64,
    },
    /// Remove what was archived, for good
    Purge {
        /// Only what was deleted before this time
        #[arg(long, required_unless_present = "all", conflicts_with = "all")]
        before: Option<String>,
        /// All of it
        #[arg(long)]
        all: bool,
    },
}

/// Does it, and says how many rows it was.
pub fn run(state: &StateDir, command: Db) -> Result<(), String> {
    let location = super::database(state, "nova")?;
    let failed = |error: kit::Error| format!("Nova's database cannot be changed: {error}.");
    let rows = api::block_on(async {
        match command {
            Db::Archive { before, max_rows } => {
                let before = before.as_deref().map(time).transpose()?.unwrap_or_else(Timestamp::now);
                nova::archive_deleted(&location, before, max_rows).await.map_err(failed)
            }
            Db::Purge { before, .. } => {
                let before = before.as_deref().map(time).transpose()?;
                nova::purge_archived(&location, before).await.map_err(failed)
            }
        }
    })?;
    for (table, count) in rows.iter().filter(|(_, count)| *count > 0) {
        say(&format!("{table}: {count}"));
    }
    if rows.iter().all(|(_, count)| *count == 0) {
        say("Nothing was to be done.");
    }
    Ok(())
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("{text} is not a time."))
}
