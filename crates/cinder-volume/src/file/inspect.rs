//! Which images may become volumes. An image is a stranger's file: it is read only as the format its owner declared, and refused when it
//! refers to any other file (CVE-2022-47951, CVE-2024-32498) or would not fit.

use std::path::Path;

use kit::{Error, Kind, Result};
use serde_json::Value;

use super::disk::gib;

/// QEMU's name of a glance disk format.
pub fn format(disk_format: &str) -> Result<&'static str> {
    match disk_format {
        "raw" | "iso" | "ami" => Ok("raw"),
        "qcow2" => Ok("qcow2"),
        "vmdk" => Ok("vmdk"),
        "vhd" => Ok("vpc"),
        "vhdx" => Ok("vhdx"),
        "vdi" => Ok("vdi"),
        other => Err(unacceptable(&format!("volumes cannot be made from the disk format '{other}'"))),
    }
}

/// Refuses what `qemu-img info` shows to be unsafe or too large.
pub fn check(info: &Value, format: &str, file: &Path, bytes: u64) -> Result<()> {
    let specific = &info["format-specific"]["data"];
    if info["format"].as_str() != Some(format) {
        return Err(unacceptable(&format!("it is not in the format {format}")));
    }
    if !info["backing-filename"].is_null() || !info["full-backing-filename"].is_null() {
        return Err(unacceptable("it has a backing file"));
    }
    if !specific["data-file"].is_null() {
        return Err(unacceptable("it has a data file"));
    }
    if info["encrypted"].as_bool() == Some(true) {
        return Err(unacceptable("it is encrypted"));
    }
    if format == "vmdk" {
        check_vmdk(specific, file)?;
    }
    check_size(info, bytes)
}

/// Refuses what would not fit.
pub fn check_size(info: &Value, bytes: u64) -> Result<()> {
    match info["virtual-size"].as_u64() {
        None => Err(unacceptable("its size is unknown")),
        Some(size) if size > bytes => {
            let sentence = format!("Image virtual size is {}GB and doesn't fit in a volume of size {}GB.", gib(size), gib(bytes));
            Err(Error::new(Kind::TooLarge, sentence))
        }
        Some(_) => Ok(()),
    }
}

/// A VMDK may be a description of other files; only the two kinds that are one file pass, and only if that file is itself.
fn check_vmdk(specific: &Value, file: &Path) -> Result<()> {
    let kind = specific["create-type"].as_str().unwrap_or_default();
    if !matches!(kind, "monolithicSparse" | "streamOptimized") {
        return Err(unacceptable(&format!("a VMDK of type '{kind}' is not one file")));
    }
    let own = file.to_string_lossy();
    let mut extents = specific["extents"].as_array().into_iter().flatten();
    if extents.any(|extent| extent["filename"].as_str() != Some(&*own)) {
        return Err(unacceptable("it refers to another file"));
    }
    Ok(())
}

fn unacceptable(why: &str) -> Error {
    Error::bad_request(format!("Image is unacceptable: {why}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(info: Value, format: &str) -> String {
        check(&info, format, Path::new("/v/image.part"), 2 << 30).map_or_else(|error| error.message, |()| "fine".into())
    }

    #[test]
    fn refuses_whatever_refers_to_other_files() {
        assert_eq!(verdict(json!({"format": "qcow2", "virtual-size": 1 << 20}), "qcow2"), "fine");
        for (extra, why) in [
            (json!({"backing-filename": "/etc/passwd"}), "backing file"),
            (json!({"format-specific": {"data": {"data-file": "/etc/passwd"}}}), "data file"),
            (json!({"encrypted": true}), "encrypted"),
            (json!({"format": "raw"}), "format qcow2"),
            (json!({"virtual-size": 3u64 << 30}), "3GB"),
        ] {
            let mut info = json!({"format": "qcow2", "virtual-size": 1 << 20});
            for (key, value) in extra.as_object().unwrap() {
                info[key] = value.clone();
            }
            assert!(verdict(info, "qcow2").contains(why), "{why}");
        }
    }

    #[test]
    fn a_vmdk_must_be_one_file() {
        let vmdk = |kind: &str, file: &str| {
            json!({"format": "vmdk", "virtual-size": 1,
                "format-specific": {"data": {"create-type": kind, "extents": [{"filename": file}]}}})
        };
        assert_eq!(verdict(vmdk("monolithicSparse", "/v/image.part"), "vmdk"), "fine");
        assert!(verdict(vmdk("monolithicFlat", "/v/image.part"), "vmdk").contains("not one file"));
        assert!(verdict(vmdk("streamOptimized", "/etc/shadow"), "vmdk").contains("another file"));
    }
}
