//! What the checker says of what is no cloud; of clouds it is tested where there are some, in the program's own tests.

use std::process::Command;

#[test]
fn what_is_no_cloud_is_not_well() {
    let said = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cumulo-check")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(matches!(said(&[]), (Some(2), text) if text.contains("usage: cumulo-check")));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert!(matches!(said(&[path]), (Some(2), text) if text.contains("no cloud has run in")));
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("run/effective.toml"), "database = \"sqlite\"\n").unwrap();
    assert!(matches!(said(&["--patience", "0", path]), (Some(2), text) if text.contains("has a database of nova")));
}
