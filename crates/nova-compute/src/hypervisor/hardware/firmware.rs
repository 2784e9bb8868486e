//! What runs in a guest before its operating system does, and what vouches for both: BIOS or UEFI, secure boot, a trusted platform module.

use kit::{Error, Result};

use super::{Asked, MachineType, unsupported};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firmware {
    #[default]
    Bios,
    Uefi(SecureBoot),
}

/// Whether nothing is started that nobody signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureBoot {
    Disabled,
    /// If the host can.
    Optional,
    Required,
}

/// A trusted platform module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tpm {
    pub version: TpmVersion,
    /// QEMU's name of the device.
    pub model: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpmVersion {
    V1_2,
    V2_0,
}

/// `hw_firmware_type` and `os_secure_boot`.
pub(super) fn firmware(asked: &Asked, machine: MachineType) -> Result<Firmware> {
    let secure_boot = match asked.agreed("os:secure_boot", "os_secure_boot")? {
        None | Some("disabled") => SecureBoot::Disabled,
        Some("optional") if machine == MachineType::Pc => SecureBoot::Disabled,
        Some("optional") => SecureBoot::Optional,
        Some("required") => SecureBoot::Required,
        Some(other) => return Err(unsupported("secure boot policy", other)),
    };
    let firmware = match asked.image("hw_firmware_type") {
        None | Some("bios") => Firmware::Bios,
        Some("uefi") => Firmware::Uefi(secure_boot),
        Some(other) => return Err(unsupported("firmware type", other)),
    };
    // only UEFI can, and only where the machine has memory that is closed to the operating system
    if secure_boot == SecureBoot::Required && (firmware == Firmware::Bios || machine == MachineType::Pc) {
        return Err(Error::bad_request("Secure Boot is not supported by host"));
    }
    Ok(firmware)
}

/// `hw:tpm_version` and `hw:tpm_model`: without a version there is none.
pub(super) fn tpm(asked: &Asked) -> Result<Option<Tpm>> {
    let version = match asked.agreed("hw:tpm_version", "hw_tpm_version")? {
        None => return Ok(None),
        Some("1.2") => TpmVersion::V1_2,
        Some("2.0") => TpmVersion::V2_0,
        Some(other) => return Err(Error::bad_request(format!("Invalid TPM version '{other}'. Allowed values: 1.2, 2.0."))),
    };
    let model = match asked.agreed("hw:tpm_model", "hw_tpm_model")? {
        None | Some("tpm-tis") => "tpm-tis",
        Some("tpm-crb") if version == TpmVersion::V1_2 => {
            return Err(Error::bad_request("TPM model CRB is only valid with TPM version 2.0."));
        }
        Some("tpm-crb") => "tpm-crb",
        Some(other) => return Err(Error::bad_request(format!("Invalid TPM model '{other}'. Allowed values: tpm-tis, tpm-crb."))),
    };
    Ok(Some(Tpm { version, model }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::super::{Hardware, MachineType};
    use super::*;

    fn of(image: &[(&str, &str)], flavor: &[(&str, &str)]) -> Result<Hardware> {
        Hardware::of(&words(image), &words(flavor), 1)
    }

    #[test]
    fn firmware_is_what_the_image_needs() {
        let firmware = |image: &[(&str, &str)], flavor: &[(&str, &str)]| of(image, flavor).map(|hardware| hardware.firmware);
        let uefi = ("hw_firmware_type", "uefi");
        assert_eq!(firmware(&[uefi], &[]).unwrap(), Firmware::Uefi(SecureBoot::Disabled));
        assert_eq!(firmware(&[uefi], &[("os:secure_boot", "required")]).unwrap(), Firmware::Uefi(SecureBoot::Required));
        assert_eq!(firmware(&[uefi, ("os_secure_boot", "optional")], &[]).unwrap(), Firmware::Uefi(SecureBoot::Optional));
        let old = [uefi, ("os_secure_boot", "optional"), ("hw_machine_type", "pc")];
        assert_eq!(of(&old, &[]).unwrap().machine, MachineType::Pc);
        assert_eq!(firmware(&old, &[]).unwrap(), Firmware::Uefi(SecureBoot::Disabled));
    }

    #[test]
    fn a_server_that_must_boot_securely_is_not_booted_otherwise() {
        let required = ("os_secure_boot", "required");
        for image in [vec![required], vec![required, ("hw_firmware_type", "uefi"), ("hw_machine_type", "pc")]] {
            assert_eq!(of(&image, &[]).unwrap_err().message, "Secure Boot is not supported by host");
        }
        let error = of(&[required, ("hw_firmware_type", "uefi")], &[("os:secure_boot", "disabled")]).unwrap_err();
        assert!(error.message.contains("conflicting with the image"), "{}", error.message);
    }

    #[test]
    fn a_trusted_platform_module_has_a_version_and_a_model() {
        let tpm = |flavor: &[(&str, &str)]| of(&[], flavor).map(|hardware| hardware.tpm);
        assert_eq!(tpm(&[("hw:tpm_model", "tpm-crb")]).unwrap(), None);
        assert_eq!(tpm(&[("hw:tpm_version", "1.2")]).unwrap(), Some(Tpm { version: TpmVersion::V1_2, model: "tpm-tis" }));
        let crb = [("hw:tpm_version", "2.0"), ("hw:tpm_model", "tpm-crb")];
        assert_eq!(tpm(&crb).unwrap(), Some(Tpm { version: TpmVersion::V2_0, model: "tpm-crb" }));
        assert!(tpm(&[("hw:tpm_version", "1.2"), ("hw:tpm_model", "tpm-crb")]).is_err());
    }
}
