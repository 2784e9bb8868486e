//! Keeps tables of ours in a kernel: small scripts while we know what is there, the whole in one transaction when we do not, and nothing at all
//! when what is there is right. Connections are no part of tables and live through a replacement.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::files;
use super::netns::{Netns, in_scratch};
use super::nft::{Table, canonical};
use crate::{Error, Result};

/// The tables of one network namespace.
pub struct Ruleset {
    /// `None`: the host's.
    netns: Option<Netns>,
    /// What the kernel has, as far as we know.
    known: Option<Vec<Table>>,
    /// How `nft` lists tables that are right: finding out costs a scratch namespace, so it is kept, here and for the next start.
    expected: Option<Expected>,
    cache: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    script: String,
    listing: String,
}

impl Ruleset {
    /// `cache`: a file for what may be lost.
    pub fn of(netns: Option<Netns>, cache: PathBuf) -> Ruleset {
        let expected = std::fs::read(&cache).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ruleset { netns, known: None, expected, cache }
    }

    /// Make the kernel have `tables`. With `verify`, look at what is really there first.
    pub async fn converge(&mut self, tables: Vec<Table>, verify: bool) -> Result<()> {
        if self.known.is_none() || verify {
            let before = self.known.clone().unwrap_or_else(|| tables.clone());
            if !self.is_there(&before).await? {
                return self.replace(tables).await;
            }
            self.known = Some(before);
        }
        let known = self.known.as_deref().unwrap_or_default();
        let script: String = known.iter().zip(&tables).map(|(old, new)| old.diff(new)).collect();
        if script.is_empty() {
            self.known = Some(tables);
            return Ok(());
        }
        match self.inside(move || nft(&["-f", "-"], &script)).await {
            Ok(_) => {
                self.known = Some(tables);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, tables = names(&tables), "a change of rules was refused; replacing the tables");
                self.replace(tables).await
            }
        }
    }

    /// What we last put there.
    pub fn known(&self) -> Option<&[Table]> {
        self.known.as_deref()
    }

    async fn replace(&mut self, tables: Vec<Table>) -> Result<()> {
        self.known = None;
        let script: String = tables.iter().map(Table::replace).collect();
        self.inside(move || nft(&["-f", "-"], &script)).await?;
        self.known = Some(tables);
        Ok(())
    }

    async fn is_there(&mut self, tables: &[Table]) -> Result<bool> {
        let script: String = tables.iter().map(Table::replace).collect();
        let wanted = identities(tables);
        let Ok(found) = self.inside(move || list(&wanted)).await else {
            tracing::info!(tables = names(tables), "not all tables are there");
            return Ok(false);
        };
        if self.expected.as_ref().is_some_and(|expected| expected.script == script && expected.listing == found) {
            return Ok(true);
        }
        // Or what we remember is how another nft lists them.
        let expected = Expected { listing: expected(script.clone(), identities(tables)).await?, script };
        let difference = difference(&expected.listing, &found);
        if let Some(difference) = &difference {
            tracing::warn!(tables = names(tables), difference, "somebody changed our rules; putting them back");
        }
        self.remember(expected);
        Ok(difference.is_none())
    }

    fn remember(&mut self, expected: Expected) {
        if let Err(error) = self.write(&expected) {
            tracing::warn!(%error, cache = %self.cache.display(), "the next start will take longer");
        }
        self.expected = Some(expected);
    }

    fn write(&self, expected: &Expected) -> Result<()> {
        if let Some(dir) = self.cache.parent() {
            files::make_dir(dir)?;
        }
        files::write_if_changed(&self.cache, &serde_json::to_vec(expected)?).map(|_| ())
    }

    async fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        match &self.netns {
            Some(netns) => netns.run(work).await,
            None => blocking(work).await,
        }
    }
}

/// Run a script in the calling thread's namespace.
pub fn nft(arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::internal(format!("nft cannot be started: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // nft that ends early says why below
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::internal(format!("nft {}: {}", arguments.join(" "), said.lines().take(6).collect::<Vec<_>>().join(" | "))))
}

/// The same on a thread that may block, in the host's namespace.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// What nft itself prints of these tables, loaded where nothing else is.
async fn expected(script: String, tables: Vec<Identity>) -> Result<String> {
    in_scratch(move || {
        nft(&["-f", "-"], &script)?;
        list(&tables)
    })
    .await
}

/// Family and name.
type Identity = (&'static str, &'static str);

fn identities(tables: &[Table]) -> Vec<Identity> {
    tables.iter().map(|table| (table.family, table.name)).collect()
}

/// The tables as nft lists them, all at once: one nft takes only one of them.
fn list(tables: &[Identity]) -> Result<String> {
    std::thread::scope(|scope| {
        let list = |(family, name): &Identity| nft(&["-s", "list", "table", family, name], "");
        let running: Vec<_> = tables.iter().map(|table| scope.spawn(move || list(table))).collect();
        let listed = running.into_iter().map(|thread| thread.join().map_err(|_| Error::internal("a listing panicked"))?);
        listed.collect::<Result<String>>().map(|text| canonical(&text))
    })
}

/// The first line that differs.
fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut expected, mut found) = (expected.lines(), found.lines());
    loop {
        match (expected.next(), found.next()) {
            (a, b) if a == b && a.is_some() => {}
            (a, b) => return Some(format!("expected {:?}, found {:?}", a.unwrap_or_default(), b.unwrap_or_default())),
        }
    }
}

fn names(tables: &[Table]) -> String {
    tables.iter().map(|table| table.name).collect::<Vec<_>>().join(", ")
}
