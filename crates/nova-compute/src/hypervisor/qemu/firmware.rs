//! UEFI for guests: the firmware of the package `ovmf`, read-only, and beside it the guest's own copy of what the firmware remembers (boot
//! entries, the keys of secure boot), which stays with the guest's disks.

use std::fs::File;
use std::io;
use std::path::Path;

use kit::{Error, Result};
use serde_json::{Value, json};

use super::account::Account;
use super::files::{Files, create_plain};
use crate::hypervisor::hardware::{Firmware, SecureBoot};

const DIR: &str = "/usr/share/OVMF";
/// The block nodes of the two halves of the flash memory.
pub const CODE: &str = "firmware";
pub const VARS: &str = "firmware-vars";

/// Which firmware a guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flash {
    /// Only what somebody signed is started, and only the firmware itself may change what it remembers.
    pub secure: bool,
}

/// What is installed here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    pub uefi: bool,
    pub secure_boot: bool,
}

impl Installed {
    pub fn find() -> Installed {
        let is_there = |flash: Flash| Path::new(DIR).join(flash.code()).exists() && Path::new(DIR).join(flash.template()).exists();
        Installed { uefi: is_there(Flash { secure: false }), secure_boot: is_there(Flash { secure: true }) }
    }

    /// What a guest boots with; none is a BIOS. Another host may have what this one lacks.
    pub fn flash(self, firmware: Firmware) -> Result<Option<Flash>> {
        let secure = match firmware {
            Firmware::Bios => return Ok(None),
            Firmware::Uefi(SecureBoot::Required) if !self.secure_boot => {
                return Err(Error::unavailable("Secure Boot is not supported by host"));
            }
            Firmware::Uefi(SecureBoot::Required) => true,
            Firmware::Uefi(SecureBoot::Optional) => self.secure_boot,
            Firmware::Uefi(SecureBoot::Disabled) => false,
        };
        match secure || self.uefi {
            true => Ok(Some(Flash { secure })),
            false => Err(Error::unavailable("UEFI is not supported")),
        }
    }
}

impl Flash {
    fn code(self) -> &'static str {
        if self.secure { "OVMF_CODE_4M.secboot.fd" } else { "OVMF_CODE_4M.fd" }
    }

    /// What a new guest's firmware remembers; for secure boot the keys that Linux distributions and Windows are signed with.
    fn template(self) -> &'static str {
        if self.secure { "OVMF_VARS_4M.ms.fd" } else { "OVMF_VARS_4M.fd" }
    }

    /// Makes the guest's copy, unless it has one already.
    pub fn prepare(self, files: &Files, account: Account) -> Result<()> {
        if files.vars().exists() {
            return Ok(());
        }
        let partial = files.vars().with_extension("part");
        io::copy(&mut File::open(Path::new(DIR).join(self.template()))?, &mut create_plain(&partial)?)?;
        account.own(&partial)?;
        Ok(std::fs::rename(&partial, files.vars())?)
    }

    /// For `-blockdev`, in the order of the flash memory.
    pub fn nodes(self, files: &Files) -> [Value; 2] {
        let node = |name: &str, path: &Path, read_only: bool| {
            let file = json!({"driver": "file", "filename": path, "read-only": read_only});
            json!({"driver": "raw", "node-name": name, "read-only": read_only, "file": file})
        };
        [node(CODE, &Path::new(DIR).join(self.code()), true), node(VARS, &files.vars(), false)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gets_what_it_must_have_or_none() {
        let (none, plain) = (Installed::default(), Installed { uefi: true, secure_boot: false });
        let all = Installed { uefi: true, secure_boot: true };
        assert_eq!(none.flash(Firmware::Bios).unwrap(), None);
        assert_eq!(none.flash(Firmware::Uefi(SecureBoot::Disabled)).unwrap_err().message, "UEFI is not supported");
        assert_eq!(plain.flash(Firmware::Uefi(SecureBoot::Optional)).unwrap(), Some(Flash { secure: false }));
        assert!(plain.flash(Firmware::Uefi(SecureBoot::Required)).is_err());
        assert_eq!(all.flash(Firmware::Uefi(SecureBoot::Optional)).unwrap(), Some(Flash { secure: true }));
        assert_eq!(all.flash(Firmware::Uefi(SecureBoot::Disabled)).unwrap(), Some(Flash { secure: false }));
    }
}
