//! Conversion on import, by `qemu-img` in a child that may use little memory and time: it reads what strangers wrote.

use std::process::Stdio;
use std::time::Duration;

use kit::{Error, Result};
use tokio::process::Command;

use crate::Glance;
use crate::config::DiskFormat;
use crate::data::inspect;
use crate::data::scratch::{Received, blocking};
use crate::images::Image;

/// KiB of memory, seconds of CPU, and seconds altogether that a conversion may take.
const MEMORY: &str = "--as=2147483648";
const CPU: &str = "--cpu=1800";
const TIME: Duration = Duration::from_secs(3600);

/// The file in another format; nothing when it has that format already, or is none that `qemu-img` knows.
pub async fn convert(app: &Glance, image: &Image, received: &Received, target: DiskFormat) -> Result<Option<Received>> {
    let declared = image.row.disk_format.clone().unwrap_or_default();
    let from = match declared.as_str() {
        same if same == target.as_str() => return Ok(None),
        "raw" | "qcow2" | "vmdk" | "vhdx" | "vdi" => declared.clone(),
        "vhd" => "vpc".to_owned(),
        _ => return Ok(None),
    };
    // nothing that points elsewhere, or is not what it says, is given to qemu-img
    let path = received.path().to_owned();
    let size = blocking(move || inspect::accept(&path, &declared, true)).await?;
    if size.is_some_and(|size| size > app.settings.image_size_cap) {
        return Err(Error::too_large("The disk inside the image is larger than an image may be."));
    }
    let out = app.scratch.incoming();
    // a sparse result may be as large as the disk, but not larger
    let largest = format!("--fsize={}", size.unwrap_or(0).saturating_add(1 << 30));
    let child = Command::new("prlimit")
        .args([MEMORY, CPU, &largest, "--core=0", "qemu-img", "convert", "-f", &from, "-O", target.as_str()])
        .args([received.path(), &out])
        // an arena for each of its threads would use up the address space
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let done = match tokio::time::timeout(TIME, child).await {
        Err(_) => Err(Error::bad_request("The image's conversion took too long.")),
        Ok(Err(error)) => Err(Error::unavailable("qemu-img cannot be run.").source(error)),
        Ok(Ok(output)) if !output.status.success() => {
            tracing::warn!(image = image.row.id, message = %String::from_utf8_lossy(&output.stderr), "qemu-img failed");
            Err(Error::bad_request("The image could not be converted."))
        }
        Ok(Ok(_)) => Ok(()),
    };
    if let Err(error) = done {
        blocking(move || crate::data::scratch::remove(&out)).await?;
        return Err(error);
    }
    app.scratch.read(out).await.map(Some)
}
