//! Whether a guest may have this image: what it is against what it claims to be, and against the flavor's disk.

use kit::{Error, Result};

use super::inspect::{Format, Inspection};

/// Refuses, in words its owner understands, an image that is not what it says or that reaches outside itself.
pub fn check_content(image_id: &str, disk_format: Option<&str>, found: &Inspection) -> Result<()> {
    let unacceptable = |why: String| Err(Error::bad_request(format!("Image {image_id} is unacceptable: {why}")));
    if let Some(danger) = &found.danger {
        return unacceptable(format!("{danger}."));
    }
    let claimed = disk_format.unwrap_or("raw");
    let same = match found.format {
        // a bootable ISO is also a valid raw disk, and both are used as one
        Format::Iso => matches!(claimed, "iso" | "raw"),
        Format::Raw => matches!(claimed, "raw" | "ami" | "ari" | "aki"),
        Format::Qcow2 | Format::Vmdk | Format::Vhd | Format::Vhdx | Format::Vdi => claimed == found.format.disk_format(),
        Format::Luks => return unacceptable("it is encrypted with LUKS, which servers cannot use.".into()),
    };
    if same {
        Ok(())
    } else {
        unacceptable(format!("its disk format is said to be {claimed}, but its content is {}.", found.format.disk_format()))
    }
}

/// Refuses an image whose disk does not fit. A flavor with no disk size takes any.
pub fn check_size(image_id: &str, virtual_size: u64, root_gb: u64) -> Result<()> {
    let room = root_gb << 30;
    if root_gb > 0 && virtual_size > room {
        return Err(Error::bad_request(format!(
            "Image {image_id} is unacceptable: its disk of {virtual_size} bytes is larger than the flavor's root disk of {room} bytes."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(format: Format) -> Inspection {
        Inspection { format, virtual_size: 1 << 30, danger: None }
    }

    #[test]
    fn what_is_said_must_be_what_is() {
        assert!(check_content("i", Some("qcow2"), &found(Format::Qcow2)).is_ok());
        assert!(check_content("i", Some("raw"), &found(Format::Iso)).is_ok());
        let error = check_content("i", Some("raw"), &found(Format::Qcow2)).unwrap_err();
        assert_eq!(error.message, "Image i is unacceptable: its disk format is said to be raw, but its content is qcow2.");
        let dangerous = Inspection { danger: Some("it has a backing file".into()), ..found(Format::Qcow2) };
        let error = check_content("i", Some("qcow2"), &dangerous).unwrap_err();
        assert_eq!(error.message, "Image i is unacceptable: it has a backing file.");
        assert!(check_content("i", Some("raw"), &found(Format::Luks)).is_err());
    }

    #[test]
    fn a_disk_must_fit_its_flavor() {
        assert!(check_size("i", 1 << 30, 1).is_ok());
        assert!(check_size("i", u64::MAX, 0).is_ok());
        assert!(check_size("i", (1 << 30) + 1, 1).unwrap_err().message.contains("larger than the flavor's root disk"));
    }
}
