//! Devices that most guests do without or have the usual one of: sound, keyboards, further serial ports, other controllers.

use kit::{Error, Result};

use super::{Asked, DiskBus, unsupported, yes};

/// QEMU has ISA ports for so many.
const SERIAL_PORTS: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// QEMU's name of the controller of SCSI disks.
    pub scsi: &'static str,
    /// QEMU's name of the controller of what is on USB.
    pub usb: &'static str,
    /// The bus of CD drives; where none is asked for, a config drive is an ordinary disk, which more guests can read.
    pub cdrom_bus: Option<DiskBus>,
    /// A pointer that knows where it is, for screens.
    pub tablet: Option<InputBus>,
    pub keyboard: Option<InputBus>,
    pub sound: Option<Sound>,
    pub serial_ports: u32,
    /// Of the graphics card, in MiB.
    pub video_mb: Option<u32>,
    /// Bytes of randomness in so many milliseconds.
    pub rng_limit: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputBus {
    Usb,
    Virtio,
}

/// QEMU's name of a sound card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    Card(&'static str),
    /// The controller of a card on High Definition Audio.
    Hda(&'static str),
    Usb,
}

impl Default for Devices {
    fn default() -> Devices {
        Devices {
            scsi: "virtio-scsi-pci",
            usb: "qemu-xhci",
            cdrom_bus: None,
            tablet: None,
            keyboard: None,
            sound: None,
            serial_ports: 1,
            video_mb: None,
            rng_limit: None,
        }
    }
}

impl Devices {
    pub(super) fn of(asked: &Asked) -> Result<Devices> {
        let input = asked.image("hw_input_bus").map(input_bus).transpose()?;
        let pointer = asked.image("hw_pointer_model") == Some("usbtablet");
        let bytes = asked.number_of_flavor("hw_rng:rate_bytes")?;
        let period = asked.number_of_flavor("hw_rng:rate_period")?;
        Ok(Devices {
            scsi: asked.image("hw_scsi_model").map_or(Ok("virtio-scsi-pci"), scsi)?,
            usb: asked.either("hw:usb_model", "hw_usb_model").map_or(Ok("qemu-xhci"), usb)?,
            cdrom_bus: asked.image("hw_cdrom_bus").map(DiskBus::parse).transpose()?,
            tablet: input.or(pointer.then_some(InputBus::Usb)),
            keyboard: input,
            sound: asked.either("hw:sound_model", "hw_sound_model").map(sound).transpose()?,
            serial_ports: serial_ports(asked)?,
            video_mb: video_mb(asked)?,
            rng_limit: bytes.map(|bytes| (bytes, period.unwrap_or(1000))),
        })
    }
}

fn scsi(word: &str) -> Result<&'static str> {
    match word {
        "virtio-scsi" => Ok("virtio-scsi-pci"),
        "lsilogic" => Ok("lsi53c895a"),
        "lsisas1068" => Ok("mptsas1068"),
        "vmpvscsi" => Ok("pvscsi"),
        other => Err(unsupported("scsi model", other)),
    }
}

fn usb(word: &str) -> Result<&'static str> {
    match word {
        "qemu-xhci" => Ok("qemu-xhci"),
        "nec-xhci" => Ok("nec-usb-xhci"),
        other => Err(unsupported("usb model", other)),
    }
}

fn input_bus(word: &str) -> Result<InputBus> {
    match word {
        "usb" => Ok(InputBus::Usb),
        "virtio" => Ok(InputBus::Virtio),
        other => Err(unsupported("input bus", other)),
    }
}

fn sound(word: &str) -> Result<Sound> {
    match word {
        "ac97" => Ok(Sound::Card("AC97")),
        "es1370" => Ok(Sound::Card("ES1370")),
        "sb16" => Ok(Sound::Card("sb16")),
        "ich6" => Ok(Sound::Hda("intel-hda")),
        "ich9" => Ok(Sound::Hda("ich9-intel-hda")),
        "usb" => Ok(Sound::Usb),
        other => Err(unsupported("sound model", other)),
    }
}

fn serial_ports(asked: &Asked) -> Result<u32> {
    let (flavor, image) = (asked.number_of_flavor("hw:serial_port_count")?, asked.number_of_image("hw_serial_port_count")?);
    match (flavor, image) {
        (Some(flavor), Some(image)) if image > flavor => {
            Err(Error::bad_request(format!("The serial port count of image {image} exceeds the flavor's, {flavor}")))
        }
        (flavor, image) => match image.or(flavor).unwrap_or(1) {
            ports if ports <= SERIAL_PORTS => Ok(ports),
            _ => Err(Error::bad_request("Maximum number of serial port exceeds 4 for this virt type")),
        },
    }
}

/// As the image asks, up to what the flavor allows, which is nothing where it is silent.
fn video_mb(asked: &Asked) -> Result<Option<u32>> {
    let Some(wanted) = asked.number_of_image("hw_video_ram")? else { return Ok(None) };
    let most = asked.number_of_flavor("hw_video:ram_max_mb")?.unwrap_or(0);
    match wanted <= most {
        true => Ok(Some(wanted)),
        false => Err(Error::bad_request(format!(
            "The requested amount of video memory {wanted} is higher than the maximum allowed by flavor {most}."
        ))),
    }
}

/// `hw:boot_menu`, which the flavor decides.
pub(super) fn boot_menu(asked: &Asked) -> bool {
    asked.either("hw:boot_menu", "hw_boot_menu").is_some_and(yes)
}

#[cfg(test)]
mod tests {
    use super::super::Hardware;
    use super::super::tests::words;
    use super::*;

    fn of(image: &[(&str, &str)], flavor: &[(&str, &str)]) -> Result<Devices> {
        Hardware::of(&words(image), &words(flavor), 1).map(|hardware| hardware.devices)
    }

    #[test]
    fn devices_are_as_the_image_asks() {
        let devices = of(
            &[("hw_scsi_model", "lsilogic"), ("hw_cdrom_bus", "sata"), ("hw_input_bus", "virtio"), ("hw_sound_model", "ich9")],
            &[("hw_rng:rate_bytes", "2048"), ("hw:serial_port_count", "2")],
        );
        let wanted = Devices {
            scsi: "lsi53c895a",
            cdrom_bus: Some(DiskBus::Sata),
            tablet: Some(InputBus::Virtio),
            keyboard: Some(InputBus::Virtio),
            sound: Some(Sound::Hda("ich9-intel-hda")),
            serial_ports: 2,
            rng_limit: Some((2048, 1000)),
            ..Devices::default()
        };
        assert_eq!(devices.unwrap(), wanted);
        assert_eq!(of(&[("hw_pointer_model", "usbtablet")], &[]).unwrap().tablet, Some(InputBus::Usb));
    }

    #[test]
    fn a_flavor_limits_what_an_image_may_ask() {
        assert_eq!(of(&[("hw_video_ram", "16")], &[("hw_video:ram_max_mb", "32")]).unwrap().video_mb, Some(16));
        assert!(of(&[("hw_video_ram", "16")], &[]).is_err());
        assert!(of(&[("hw_serial_port_count", "3")], &[("hw:serial_port_count", "2")]).is_err());
        assert!(of(&[("hw_serial_port_count", "5")], &[]).is_err());
        assert!(of(&[("hw_sound_model", "pcspk")], &[]).is_err());
    }
}
