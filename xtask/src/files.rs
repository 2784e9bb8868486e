//! What holds for each file by itself: its length, its header, and what must not be written anywhere in the repository.

use crate::finding::Finding;

/// Lines a source file may have. Longer ones want splitting by concern.
const LONGEST: usize = 500;

/// Files that may be longer, each with its reason.
const LONG: &[(&str, &str)] = &[];

/// Paths of somebody's machine: the repository must stand alone. Written apart so that this file passes its own check.
const FOREIGN: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("../sha", "red")];

/// Places within our guest image and test namespaces, which are the same on every machine.
const NOT_FOREIGN: &[&str] = &[concat!("/ho", "me/$"), concat!("/ho", "me/cumulo")];

/// Checks one text file, whose path is relative to the repository's root.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.ends_with(".lock") || path == "LICENSE" {
        return findings; // written by others
    }
    findings.extend(foreign_paths(path, text));
    if path.ends_with(".rs") {
        findings.extend(header(path, text));
        findings.extend(ignored_tests(path, text));
    }
    if [".rs", ".sh", ".py"].iter().any(|extension| path.ends_with(extension)) {
        findings.extend(length(path, text));
    }
    findings
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let reasoned = LONG.iter().any(|(long, _)| *long == path);
    (lines > LONGEST && !reasoned).then(|| {
        Finding::new(path, lines, format!("{lines} lines, {LONGEST} at most: split it by concern, or give a reason in xtask/src/files.rs"))
    })
}

fn header(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    (!first.starts_with("//!"))
        .then(|| Finding::new(path, 1, "a module opens with `//!`: one to three sentences on what it is for and what it leaves to others"))
}

fn ignored_tests(path: &str, text: &str) -> Vec<Finding> {
    let ignore = concat!("#[ig", "nore");
    lines_with(text, |line| line.trim_start().starts_with(ignore))
        .map(|line| Finding::new(path, line, "an ignored test tests nothing: let it run, or delete it"))
        .collect()
}

fn foreign_paths(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in FOREIGN {
        let named = lines_with(text, |line| names(line, word));
        findings.extend(named.map(|line| {
            Finding::new(path, line, format!("`{word}` is a path of one machine: derive it, or take it from the environment"))
        }));
    }
    findings
}

/// Whether the line has the path by itself and not as part of a longer one such as `tmp/home/`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let starts_here = !before.ends_with(|last: char| last.is_alphanumeric() || "._-}$".contains(last));
        starts_here && !NOT_FOREIGN.iter().any(|known| rest.starts_with(known))
    })
}

/// The numbers of the lines that `matches`.
fn lines_with(text: &str, matches: impl Fn(&str) -> bool) -> impl Iterator<Item = usize> {
    text.lines().enumerate().filter(move |(_, line)| matches(line)).map(|(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_calm_file_passes() {
        assert!(messages("crates/kit/src/clock.rs", "//! Time.\n\npub fn now() {}\n").is_empty());
    }

    #[test]
    fn a_module_without_header_is_named() {
        let found = messages("a.rs", "use std::io;\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.rs:1: "), "{}", found[0]);
    }

    #[test]
    fn an_empty_module_has_no_header_either() {
        assert_eq!(messages("a.rs", "").len(), 1);
    }

    #[test]
    fn a_long_file_is_named() {
        let text = format!("//! Long.\n{}", "fn f() {}\n".repeat(LONGEST));
        assert!(messages("a.rs", &text)[0].contains("501 lines"));
        assert!(messages("a.rs", &text[..text.len() - 10]).is_empty());
    }

    #[test]
    fn an_ignored_test_is_named_with_its_line() {
        let text = format!("//! Tests.\n\n    {}]\nfn f() {{}}\n", concat!("#[ig", "nore"));
        assert!(messages("a.rs", &text)[0].starts_with("a.rs:3: "));
    }

    #[test]
    fn paths_of_a_machine_are_named() {
        for path in FOREIGN {
            let text = format!("cd {path}x\n");
            assert_eq!(messages("run.sh", &text).len(), 1, "{path}");
            assert_eq!(messages("run.sh", &format!("p=\"{path}x\"\n")).len(), 1, "{path} in quotes");
        }
    }

    #[test]
    fn longer_paths_and_the_guests_own_are_not() {
        for text in [concat!("tmp/ho", "me/x"), concat!("$dir/ro", "ot/x"), concat!("/ho", "me/$user"), concat!("frame", "work/x")] {
            assert!(messages("run.sh", text).is_empty(), "{text}");
        }
    }
}
