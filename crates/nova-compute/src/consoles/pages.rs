//! What browsers are given: the page of a console, and noVNC, which that page loads. noVNC is no part of this program; its files lie on the host.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt};

const PAGE: &str = include_str!("console.html");
/// Names that clients know the page by.
const NAMES: [&str; 4] = ["/vnc_auto.html", "/vnc_lite.html", "/vnc.html", "/"];
/// By which a directory is noVNC's.
const ENTRY: &str = "core/rfb.js";
/// Where packages put it.
const SHARED: [&str; 2] = ["/usr/share/cumulo/novnc", "/usr/share/novnc"];

/// Where noVNC may be.
pub struct Pages(Vec<PathBuf>);

/// What is answered.
enum Answer {
    Text(&'static str, &'static str, String),
    File(&'static str, File, u64),
}

impl Pages {
    /// The state directory's own comes first.
    pub fn new(state_dir: &Path) -> Pages {
        Pages(std::iter::once(state_dir.join("novnc")).chain(SHARED.map(PathBuf::from)).collect())
    }

    /// Answers a request that is for no websocket.
    pub async fn answer(&self, head: &str, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut words = head.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        let answer = match method {
            "GET" | "HEAD" => self.find(path).await?,
            _ => plain("405 Method Not Allowed", "Pages can only be read.\n".into()),
        };
        let (status, kind, length) = match &answer {
            Answer::Text(status, kind, text) => (*status, *kind, text.len() as u64),
            Answer::File(kind, _, length) => ("200 OK", *kind, *length),
        };
        // the page's address has the token, which concerns nobody else
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-cache\r\n\
             Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        );
        to.write_all(head.as_bytes()).await?;
        match answer {
            _ if method == "HEAD" => Ok(()),
            Answer::Text(_, _, text) => to.write_all(text.as_bytes()).await,
            Answer::File(_, mut file, _) => tokio::io::copy(&mut file, to).await.map(drop),
        }
    }

    async fn find(&self, path: &str) -> io::Result<Answer> {
        let Some(root) = self.root().await else { return Ok(self.missing()) };
        if NAMES.contains(&path) {
            return Ok(Answer::Text("200 OK", "text/html; charset=utf-8", PAGE.into()));
        }
        match open(&root, path).await? {
            Some(answer) => Ok(answer),
            None => Ok(plain("404 Not Found", "There is nothing here.\n".into())),
        }
    }

    /// The first directory that has noVNC.
    async fn root(&self) -> Option<PathBuf> {
        for dir in &self.0 {
            if tokio::fs::try_exists(dir.join(ENTRY)).await.unwrap_or(false) {
                return tokio::fs::canonicalize(dir).await.ok();
            }
        }
        None
    }

    fn missing(&self) -> Answer {
        let dirs: Vec<String> = self.0.iter().map(|dir| dir.display().to_string()).collect();
        let text = format!(
            "The console's page needs noVNC, which is not on this host. Whoever runs the host gets it with\n\n    scripts/novnc {}\n\nfrom \
             Cumulo's sources, or puts noVNC's files (those with {ENTRY}) into one of:\n\n    {}\n\nNothing needs to be restarted.\n",
            dirs.first().map_or("", String::as_str),
            dirs.join("\n    ")
        );
        plain("503 Service Unavailable", text)
    }
}

fn plain(status: &'static str, text: String) -> Answer {
    Answer::Text(status, "text/plain; charset=utf-8", text)
}

/// A file below the directory, if the path is a plain one and leads to no other place.
async fn open(root: &Path, path: &str) -> io::Result<Option<Answer>> {
    let (Some(below), Some(kind)) = (below(path), kind(path)) else { return Ok(None) };
    let Ok(path) = tokio::fs::canonicalize(root.join(below)).await else { return Ok(None) };
    if !path.starts_with(root) {
        return Ok(None);
    }
    let file = File::open(path).await?;
    let about = file.metadata().await?;
    Ok(about.is_file().then(|| Answer::File(kind, file, about.len())))
}

/// The path without its slash, if each of its words is a name that hides nothing.
fn below(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/')?;
    let is_name = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !word.is_empty() && !word.starts_with('.') && word.chars().all(plain)
    };
    path.split('/').all(is_name).then_some(path)
}

/// What the files of noVNC are; others are not given away.
fn kind(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "json" => Some("application/json"),
        "svg" => Some("image/svg+xml"),
        "png" => Some("image/png"),
        "ico" => Some("image/x-icon"),
        "woff" => Some("font/woff"),
        "oga" => Some("audio/ogg"),
        "mp3" => Some("audio/mpeg"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(pages: &Pages, request: &str) -> String {
        let mut to = Vec::new();
        pages.answer(&format!("{request} HTTP/1.1\r\n\r\n"), &mut to).await.unwrap();
        String::from_utf8(to).unwrap()
    }

    #[tokio::test]
    async fn nothing_but_novnc_is_given_away() {
        let dir = tempfile::tempdir().unwrap();
        let pages = Pages(vec![dir.path().join("novnc")]);
        let without = said(&pages, "GET /vnc_auto.html?path=x").await;
        assert!(without.starts_with("HTTP/1.1 503") && without.contains("scripts/novnc"), "{without}");

        let core = dir.path().join("novnc/core");
        std::fs::create_dir_all(&core).unwrap();
        std::fs::write(core.join("rfb.js"), "export default 1").unwrap();
        std::fs::write(core.join("secret.toml"), "s").unwrap();
        std::fs::write(dir.path().join("outside.js"), "s").unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside.js"), core.join("link.js")).unwrap();
        std::fs::create_dir(core.join("dir.js")).unwrap();
        for page in NAMES {
            assert!(said(&pages, &format!("GET {page}")).await.contains("core/rfb.js"), "{page}");
        }
        let script = said(&pages, "GET /core/rfb.js?v=1").await;
        assert!(script.contains("Content-Type: text/javascript") && script.ends_with("export default 1"), "{script}");
        assert!(said(&pages, "HEAD /core/rfb.js").await.ends_with("\r\n\r\n"));
        for path in [
            "/core/secret.toml",
            "/core/link.js",
            "/core/dir.js",
            "/core/none.js",
            "/../outside.js",
            "/core/../../outside.js",
            "/core/%2e%2e/%2e%2e/outside.js",
            "//outside.js",
            "/core//rfb.js",
            "/core/./rfb.js",
            "/core/.rfb.js",
            "/core",
            "",
        ] {
            assert!(said(&pages, &format!("GET {path}")).await.starts_with("HTTP/1.1 404"), "{path}");
        }
        assert!(said(&pages, "POST /core/rfb.js").await.starts_with("HTTP/1.1 405"));
    }
}
