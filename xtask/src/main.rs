//! `cargo xtask`: checks on the repository that the compiler and clippy do not make. The only command is `tidy`.
#![allow(clippy::print_stdout, reason = "a command line tool speaks on its standard output")]

mod edges;
mod files;
mod finding;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use finding::Finding;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => match tidy(&root()) {
            Ok(findings) => report(&findings),
            Err(error) => {
                eprintln!("tidy: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: cargo xtask tidy    layering, file sizes, module headers, words that must not be in the repository");
            ExitCode::FAILURE
        }
    }
}

fn report(findings: &[Finding]) -> ExitCode {
    for finding in findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: all is well");
        return ExitCode::SUCCESS;
    }
    println!("tidy: {} to mend", findings.len());
    ExitCode::FAILURE
}

/// Everything that is not as it should be in the repository at `root`.
fn tidy(root: &Path) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for path in tracked(root)? {
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue }; // gone from the work tree, or not text
        findings.extend(files::check(&path, &text));
        if path.ends_with("Cargo.toml") {
            findings.extend(edges::check(&path, &text));
        }
    }
    Ok(findings)
}

/// What git knows of or would add: the repository without build output.
fn tracked(root: &Path) -> Result<Vec<String>, String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git ({error}); tidy checks the files that git knows"))?;
    if !listed.status.success() {
        return Err(format!("git ls-files failed in {}: {}", root.display(), String::from_utf8_lossy(&listed.stderr).trim()));
    }
    let names = String::from_utf8_lossy(&listed.stdout);
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// The workspace's root, which is above this crate. Cargo says where it is now: one target folder may serve several clones.
fn root() -> PathBuf {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    here.parent().unwrap_or(&here).to_path_buf()
}
