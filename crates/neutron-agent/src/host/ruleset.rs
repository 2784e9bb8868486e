//! Keeps tables of ours in a kernel: small scripts while we know what is there, the whole in one transaction when we do not, and nothing at all
//! when what is there is right. Connections are no part of tables and live through a replacement.

use std::io::Write;
use std::process::{Command, Stdio};

use super::netns::{Netns, in_scratch};
use super::nft::{Table, canonical};
use crate::{Error, Result};

/// The tables of one network namespace.
#[derive(Default)]
pub struct Ruleset {
    /// `None`: the host's.
    netns: Option<Netns>,
    /// What the kernel has, as far as we know.
    known: Option<Vec<Table>>,
    /// How `nft` lists tables that are right; costs a scratch namespace, so it is kept.
    expected: Option<(Vec<Table>, Vec<String>)>,
}

impl Ruleset {
    pub fn of(netns: Option<Netns>) -> Ruleset {
        Ruleset { netns, known: None, expected: None }
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
        match self.nft(vec!["-f", "-"], script).await {
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
        self.nft(vec!["-f", "-"], tables.iter().map(Table::replace).collect()).await?;
        self.known = Some(tables);
        Ok(())
    }

    async fn is_there(&mut self, tables: &[Table]) -> Result<bool> {
        let expected = match self.expected.take() {
            Some((of, listing)) if of == tables => listing,
            _ => expected(tables.to_vec()).await?,
        };
        let mut right = true;
        for (table, expected) in tables.iter().zip(&expected) {
            let listing = self.nft(vec!["-s", "list", "table", table.family, table.name], String::new()).await;
            let found = match listing {
                Ok(text) => canonical(&text),
                Err(_) => {
                    tracing::info!(table = table.name, "the table is not there");
                    right = false;
                    continue;
                }
            };
            if let Some(difference) = difference(expected, &found) {
                tracing::warn!(table = table.name, difference, "somebody changed our rules; putting them back");
                right = false;
            }
        }
        self.expected = Some((tables.to_vec(), expected));
        Ok(right)
    }

    async fn nft(&self, arguments: Vec<&'static str>, input: String) -> Result<String> {
        match &self.netns {
            Some(netns) => netns.run(move || nft(&arguments, &input)).await,
            None => blocking(move || nft(&arguments, &input)).await,
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
async fn expected(tables: Vec<Table>) -> Result<Vec<String>> {
    in_scratch(move || {
        nft(&["-f", "-"], &tables.iter().map(Table::replace).collect::<String>())?;
        let list = |table: &Table| nft(&["-s", "list", "table", table.family, table.name], "").map(|text| canonical(&text));
        tables.iter().map(list).collect()
    })
    .await
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
