//! A guest's command line run by hand: what booting takes when no cloud is involved.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use tokio::process::Command;

use crate::Outcome;
use crate::guests::until_greeted;

/// Where the guest's ssh server is reached.
const SSH: &str = "127.0.0.1:2222";

/// One QEMU, ready to run.
pub struct ByHand {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
}

impl ByHand {
    /// The same command with fresh disks: an overlay on the same base, and a copy of whatever else the guest reads.
    pub fn like(arguments: &[String]) -> Outcome<ByHand> {
        let theirs =
            value_of(arguments, "-pidfile").and_then(|path| Path::new(path).parent()).ok_or("QEMU was started without -pidfile")?;
        let directory = tempfile::tempdir()?;
        let ours = directory.path().to_string_lossy().into_owned();
        let mut line = Vec::new();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let takes_value = word != "-S" && word.starts_with('-') && !FLAGS.contains(&word.as_str());
            let value = if takes_value { words.next() } else { None };
            match (word.as_str(), value.map(String::as_str)) {
                // started running, and with nobody at its control socket
                ("-S", _) => {}
                ("-chardev" | "-mon", Some(value)) if value.contains("qmp") => {}
                ("-netdev", Some(value)) => {
                    let id = value.split(',').find(|part| part.starts_with("id=")).unwrap_or("id=net");
                    line.extend(["-netdev".to_owned(), format!("user,{id},hostfwd=tcp:{SSH}-:22")]);
                }
                (word, value) => {
                    line.push(word.to_owned());
                    line.extend(value.map(|value| value.replace(&*theirs.to_string_lossy(), &ours)));
                }
            }
        }
        for disk in files(arguments, theirs) {
            copy(&disk, &directory.path().join(disk.file_name().unwrap_or_default()))?;
        }
        Ok(ByHand { directory, arguments: line })
    }

    /// Seconds from exec to the ssh server's greeting.
    pub async fn run(self) -> Outcome<f64> {
        let (program, arguments) = self.arguments.split_first().ok_or("an empty command line")?;
        let errors = std::fs::File::create(self.directory.path().join("stderr"))?;
        let began = Instant::now();
        let mut qemu =
            Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true).spawn()?;
        let seconds = tokio::select! {
            greeted = until_greeted(SSH, began) => greeted.map(|()| began.elapsed().as_secs_f64()),
            ended = qemu.wait() => {
                let said = std::fs::read_to_string(self.directory.path().join("stderr"))?;
                Err(format!("QEMU by hand ended ({}): {said}", ended?).into())
            }
        };
        qemu.kill().await?;
        seconds
    }
}

/// QEMU's options without a value, of those that guests have.
const FLAGS: [&str; 3] = ["-S", "-nodefaults", "-no-user-config"];

fn value_of<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    arguments.windows(2).find_map(|pair| match pair {
        [name, value] if name == option => Some(value.as_str()),
        _ => None,
    })
}

/// The files of the guest's own folder that its block nodes name.
fn files(arguments: &[String], folder: &Path) -> Vec<PathBuf> {
    let nodes = arguments.iter().filter_map(|word| serde_json::from_str::<Value>(word).ok());
    nodes.filter_map(|node| node["file"]["filename"].as_str().map(PathBuf::from)).filter(|path| path.starts_with(folder)).collect()
}

/// A disk as it was before its first boot: an overlay anew, anything else as it is.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let info = std::process::Command::new("qemu-img").args(["info", "--force-share", "--output=json"]).arg(from).output()?;
    let info: Value = serde_json::from_slice(&info.stdout)?;
    match info["full-backing-filename"].as_str() {
        Some(base) => {
            let format = info["backing-filename-format"].as_str().unwrap_or("raw");
            let size = info["virtual-size"].as_u64().unwrap_or_default().to_string();
            let made = std::process::Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-b", base, "-F", format])
                .arg(to)
                .arg(size)
                .status()?;
            if made.success() { Ok(()) } else { Err("qemu-img create failed".into()) }
        }
        None => std::fs::copy(from, to).map(drop).map_err(Into::into),
    }
}
