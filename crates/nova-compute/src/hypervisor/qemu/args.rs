//! A guest as QEMU's command line: data in, arguments out, nothing touched.
//!
//! What the guest cannot do without is on the root bus; what may come and go (volumes, interfaces) sits behind PCIe root ports, a few of
//! which stay free for hot-plug. Valid for QEMU 7.2 to 10.

use serde_json::{Value, json};

use super::files::Files;
use super::firmware::{self, Flash};
use super::slots::Slots;
use super::{Machine, affinity, devices, nodes, processor, tpm};
use crate::hypervisor::hardware::{DiskBus, Hardware, MachineType, VifModel};
use crate::hypervisor::{Disk, DiskSource, Guest, Nic};

/// The controller of SCSI disks.
const SCSI: &str = "scsi";

/// What QEMU is handed open: the numbers of the descriptors.
#[derive(Clone, Debug, Default)]
pub struct Handed {
    /// The listening control socket.
    pub control: i32,
    /// Those of the guest's interfaces, in their order.
    pub taps: Vec<i32>,
    /// What the guest goes on from, if it does not begin.
    pub incoming: Incoming,
}

/// Where a guest's memory comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Incoming {
    /// It begins with none.
    #[default]
    None,
    /// A file that is open.
    File(i32),
    /// Another host, which will be told where to send it.
    Awaited,
}

/// The whole command line but the program's name.
pub fn arguments(guest: &Guest, host: (&Machine, Option<Flash>), files: &Files, slots: &Slots, handed: &Handed) -> Vec<String> {
    let mut line = Line::default();
    base(&mut line, guest, host, files, slots);
    line.pair("-chardev", format!("socket,id=qmp,fd={},server=on,wait=off", handed.control));
    line.pair("-mon", "chardev=qmp,mode=control");
    for port in 1..=slots.ports {
        line.device(json!({"driver": "pcie-root-port", "id": root_port(port), "chassis": port, "slot": port}));
    }
    controllers(&mut line, guest);
    for (index, disk) in guest.disks.iter().enumerate() {
        for key in nodes::keys(disk) {
            line.pair("-object", key.object(files));
        }
        line.pair("-blockdev", nodes::block_node(disk).to_string());
        let mut device = disk_device(disk);
        if guest.boot_disk.as_ref().map_or(index == 0, |boot| *boot == disk.id) {
            device["bootindex"] = json!(1);
        }
        slots.place(&node_name(&disk.id), &mut device);
        line.device(device);
    }
    for (nic, tap) in guest.nics.iter().zip(&handed.taps) {
        line.pair("-netdev", format!("tap,id={},fd={tap}", netdev_id(&nic.port_id)));
        let mut device = nic_device(nic, guest.hardware.vif_model);
        slots.place(&nic_id(&nic.port_id), &mut device);
        line.device(device);
    }
    match handed.incoming {
        Incoming::None => {}
        Incoming::File(memory) => line.pair("-incoming", format!("fd:{memory}")),
        Incoming::Awaited => line.pair("-incoming", "defer"),
    }
    line.0
}

/// The machine and what every guest has.
fn base(line: &mut Line, guest: &Guest, (machine, flash): (&Machine, Option<Flash>), files: &Files, slots: &Slots) {
    line.pair("-name", format!("guest={},debug-threads=on", guest.name));
    line.pair("-uuid", &guest.id);
    line.flag("-S");
    line.pair("-pidfile", files.pid().display());
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.pair("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    let hardware = &guest.hardware;
    let kind = slots.machine.as_deref().or(hardware.machine_version.as_deref()).unwrap_or(machine_name(hardware.machine));
    firmware(line, &format!("{kind},usb=off,vmport=off{}", if hardware.hpet { "" } else { ",hpet=off" }), flash, files);
    line.pair("-accel", machine.accel.argument());
    line.pair("-cpu", processor::model(machine.accel, hardware));
    line.pair("-smp", processor::arrangement(guest.vcpus, hardware.topology));
    line.pair("-m", format!("{}M", guest.memory_mb));
    affinity::memory(&guest.placement.cells).into_iter().for_each(|(option, value)| line.pair(option, value));
    line.pair("-rtc", if guest.hardware.local_time { "base=localtime" } else { "base=utc" });
    line.pair("-boot", if hardware.boot_menu { "strict=on,menu=on" } else { "strict=on" });
    line.pair(
        "-smbios",
        format!(
            "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,version={},serial={id},uuid={id},family=Virtual Machine",
            env!("CARGO_PKG_VERSION"),
            id = guest.id
        ),
    );
    let diagnostics = escape(&files.diagnostics().display().to_string());
    line.pair("-chardev", format!("socket,id=diagnostics,path={diagnostics},server=on,wait=off"));
    line.pair("-mon", "chardev=diagnostics,mode=control");
    let (socket, log) = (files.serial().display().to_string(), files.console().display().to_string());
    line.pair("-chardev", format!("socket,id=serial,path={},server=on,wait=off,logfile={},logappend=on", escape(&socket), escape(&log)));
    line.pair("-serial", "chardev:serial");
    line.pair("-display", "none");
    if let Some(video) = hardware.video {
        line.device(devices::screen(video, hardware.devices.video_mb));
        line.pair("-vnc", format!("unix:{}", escape(&files.vnc().display().to_string())));
    }
    if hardware.rng {
        line.device(devices::rng(hardware.devices.rng_limit));
    }
    line.device(json!({"driver": "virtio-balloon-pci", "id": "balloon", "deflate-on-oom": true}));
    extras(line, &guest.hardware, files);
}

/// Those of disks, and what hangs on them that is no disk.
fn controllers(line: &mut Line, guest: &Guest) {
    let devices = &guest.hardware.devices;
    let on = |bus| guest.disks.iter().any(|disk| disk.bus == bus);
    if on(DiskBus::Scsi) {
        line.device(json!({"driver": devices.scsi, "id": SCSI}));
    }
    if on(DiskBus::Usb) || devices::need_usb(devices) {
        line.device(json!({"driver": devices.usb, "id": devices::USB}));
    }
    if devices.sound.is_some() {
        // nobody listens on a host
        line.pair("-audiodev", format!("none,id={}", devices::SOUND));
    }
    devices::people(devices).into_iter().for_each(|device| line.device(device));
}

/// The machine, and what it starts with.
fn firmware(line: &mut Line, kind: &str, flash: Option<Flash>, files: &Files) {
    let Some(flash) = flash else { return line.pair("-machine", kind) };
    let memory = format!("pflash0={},pflash1={}", firmware::CODE, firmware::VARS);
    for node in flash.nodes(files) {
        line.pair("-blockdev", node);
    }
    if flash.secure {
        line.pair("-machine", format!("{kind},smm=on,{memory}"));
        line.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
        // a way around the firmware
        line.pair("-global", "ICH9-LPC.disable_s3=1");
    } else {
        line.pair("-machine", format!("{kind},{memory}"));
    }
}

/// What only some guests have.
fn extras(line: &mut Line, hardware: &Hardware, files: &Files) {
    if hardware.agent {
        let path = escape(&files.agent().display().to_string());
        line.pair("-chardev", format!("socket,id=agent,path={path},server=on,wait=off"));
        line.device(json!({"driver": "virtio-serial-pci", "id": "ports"}));
        line.device(json!({"driver": "virtserialport", "chardev": "agent", "name": "org.qemu.guest_agent.0"}));
    }
    if let Some(action) = hardware.watchdog {
        line.device(json!({"driver": "i6300esb", "id": "watchdog"}));
        line.pair("-action", format!("watchdog={action}"));
    }
    if let Some(tpm) = hardware.tpm {
        let (socket, backend, device) = tpm::device(tpm, &escape(&files.tpm_socket().display().to_string()));
        line.pair("-chardev", socket);
        line.pair("-tpmdev", backend);
        line.device(device);
    }
    for port in 1..hardware.devices.serial_ports {
        let path = escape(&files.serial_port(port).display().to_string());
        line.pair("-chardev", format!("socket,id=serial{port},path={path},server=on,wait=off"));
        line.pair("-serial", format!("chardev:serial{port}"));
    }
}

fn machine_name(machine: MachineType) -> &'static str {
    match machine {
        MachineType::Q35 => "q35",
        MachineType::Pc => "pc",
    }
}

/// The device of a disk. One on virtio has no bus yet.
pub fn disk_device(disk: &Disk) -> Value {
    let mut device = json!({"driver": "virtio-blk-pci", "id": disk_id(&disk.id), "drive": node_name(&disk.id)});
    // virtio-blk carries twenty characters
    let mut serial_length = 20;
    match disk.bus {
        DiskBus::Virtio => {}
        DiskBus::Scsi => {
            device["driver"] = json!(if disk.cdrom { "scsi-cd" } else { "scsi-hd" });
            device["bus"] = json!(format!("{SCSI}.0"));
            serial_length = 36;
        }
        DiskBus::Sata => device["driver"] = json!(if disk.cdrom { "ide-cd" } else { "ide-hd" }),
        DiskBus::Usb => {
            device["driver"] = json!("usb-storage");
            device["bus"] = json!(format!("{}.0", devices::USB));
            device["removable"] = json!(disk.cdrom);
        }
    }
    if let Some(serial) = &disk.serial {
        device["serial"] = json!(serial.chars().take(serial_length).collect::<String>());
    }
    if matches!(disk.source, DiskSource::Nbd { .. }) {
        device["werror"] = json!("stop");
        device["rerror"] = json!("stop");
    }
    device
}

/// The device of an interface, without its bus.
pub fn nic_device(nic: &Nic, model: VifModel) -> Value {
    let mut device = json!({"driver": model.driver(), "id": nic_id(&nic.port_id), "netdev": netdev_id(&nic.port_id), "mac": nic.mac});
    if model == VifModel::Virtio {
        device["host_mtu"] = json!(nic.mtu);
    }
    device["romfile"] = json!("");
    device
}

pub fn root_port(number: usize) -> String {
    format!("rp{number}")
}

pub fn disk_id(disk: &str) -> String {
    format!("disk-{disk}")
}

pub fn nic_id(port: &str) -> String {
    format!("net-{port}")
}

pub fn netdev_id(port: &str) -> String {
    format!("tap-{port}")
}

/// QEMU allows node names 31 characters.
pub fn node_name(disk: &str) -> String {
    format!("d-{}", disk.chars().filter(|c| *c != '-').take(28).collect::<String>())
}

/// A comma in a value is doubled.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn pair(&mut self, option: &str, value: impl ToString) {
        self.0.push(option.to_owned());
        self.0.push(value.to_string());
    }

    fn device(&mut self, device: Value) {
        self.pair("-device", device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::hardware::{Devices, Firmware, InputBus, SecureBoot, Sound, Topology, Tpm, TpmVersion};
    use crate::hypervisor::qemu::Accel;
    use crate::hypervisor::qemu::firmware::Installed;
    use crate::hypervisor::{DiskFormat, DiskLimits, NbdServer, Placement};

    fn guest() -> Guest {
        let file = |path: &str, format| DiskSource::File { path: path.into(), format };
        let disk = |id: &str, source, removable| Disk {
            id: id.into(),
            source,
            bus: DiskBus::Virtio,
            read_only: id == "config",
            cdrom: false,
            removable,
            serial: None,
            limits: DiskLimits::default(),
        };
        let nbd = DiskSource::Nbd { server: NbdServer::Unix("/run/v,1.sock".into()), export: "v1".into() };
        let mut volume = disk("8f0c6a3e-1111-2222-3333-444455556666", nbd, true);
        volume.serial = Some(volume.id.clone());
        Guest {
            id: "11111111-2222-3333-4444-555555555555".into(),
            name: "instance-00000001".into(),
            vcpus: 2,
            memory_mb: 128,
            disks: vec![
                disk("root", file("/i/disk", DiskFormat::Qcow2), false),
                disk("config", file("/i/config", DiskFormat::Raw), false),
                volume,
            ],
            nics: vec![Nic { port_id: "p1".into(), mac: "fa:16:3e:00:00:01".into(), mtu: 1450, tap: "cutp1".into() }],
            boot_disk: None,
            hardware: Hardware::default(),
            placement: Placement::default(),
        }
    }

    fn machine() -> Machine {
        Machine { accel: Accel::Tcg, version: 7_002_022, firmware: Installed { uefi: true, secure_boot: true }, tpm: true }
    }

    fn text() -> String {
        text_of(&guest())
    }

    fn text_of(guest: &Guest) -> String {
        let machine = machine();
        let handed = Handed { control: 16, taps: vec![17], ..Handed::default() };
        let flash = machine.firmware.flash(guest.hardware.firmware).unwrap();
        arguments(guest, (&machine, flash), &Files::new("/i".into()), &Slots::of(guest), &handed).join(" ")
    }

    #[test]
    fn the_guest_is_stopped_sandboxed_and_has_nothing_by_default() {
        let text = text();
        for part in
            ["-S ", "-nodefaults", "-no-user-config", "elevateprivileges=deny,spawn=deny", "-machine q35", "-cpu qemu64", "-smp 2 -m 128M"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.contains("product=OpenStack Nova"));
        assert!(text.contains("logfile=/i/console.log,logappend=on"));
    }

    #[test]
    fn the_first_disk_boots_and_volumes_are_behind_root_ports() {
        let text = text();
        assert!(text.contains(r#"{"driver":"virtio-blk-pci","id":"disk-root","drive":"d-root","bootindex":1}"#));
        assert!(text.contains(r#""drive":"d-config"}"#));
        assert!(text.contains(r#""serial":"8f0c6a3e-1111-2222-3","werror":"stop","rerror":"stop","bus":"rp1"}"#));
        assert!(text.contains(r#""server":{"type":"unix","path":"/run/v,1.sock"}"#));
        assert!(text.contains("-netdev tap,id=tap-p1,fd=17"));
        assert!(text.contains(r#""mac":"fa:16:3e:00:00:01","host_mtu":1450,"romfile":"","bus":"rp2"}"#));
        assert_eq!(text.matches("pcie-root-port").count(), 2 + crate::hypervisor::qemu::slots::SPARE_PORTS);
    }

    #[test]
    fn a_guest_has_the_hardware_it_asks_for() {
        let mut guest = guest();
        guest.hardware = Hardware {
            machine: MachineType::Pc,
            vif_model: VifModel::E1000,
            video: None,
            topology: Topology { cores: Some(2), threads: None },
            agent: true,
            watchdog: Some("reset"),
            ..Hardware::default()
        };
        guest.disks.iter_mut().for_each(|disk| disk.bus = DiskBus::Scsi);
        guest.boot_disk = Some("config".into());
        let text = text_of(&guest);
        for part in [
            "-machine pc,usb=off",
            "-smp 2,sockets=1,cores=2,threads=1",
            r#"{"driver":"virtio-scsi-pci","id":"scsi"}"#,
            r#"{"driver":"scsi-hd","id":"disk-config","drive":"d-config","bus":"scsi.0","bootindex":1}"#,
            r#"{"driver":"e1000","id":"net-p1","netdev":"tap-p1","mac":"fa:16:3e:00:00:01","romfile":""}"#,
            "path=/i/agent.sock",
            "-action watchdog=reset",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("-vnc") && !text.contains("pcie-root-port"));
    }

    #[test]
    fn a_guest_has_what_most_do_without() {
        let mut guest = guest();
        guest.hardware = Hardware {
            machine_version: Some("pc-q35-6.2".into()),
            boot_menu: true,
            hpet: false,
            pmu: Some(false),
            hidden: true,
            devices: Devices {
                tablet: Some(InputBus::Usb),
                keyboard: Some(InputBus::Virtio),
                sound: Some(Sound::Hda("ich9-intel-hda")),
                serial_ports: 2,
                video_mb: Some(32),
                rng_limit: Some((1024, 500)),
                ..Devices::default()
            },
            ..Hardware::default()
        };
        (guest.disks[0].bus, guest.disks[1].bus, guest.disks[1].cdrom) = (DiskBus::Usb, DiskBus::Sata, true);
        let text = text_of(&guest);
        for part in [
            "-machine pc-q35-6.2,usb=off,vmport=off,hpet=off -accel",
            "-cpu qemu64,tcg-cpuid=off,pmu=off",
            "-boot strict=on,menu=on",
            "path=/i/serial1.sock,server=on,wait=off -serial chardev:serial1",
            r#"{"driver":"VGA","id":"video","vgamem_mb":32}"#,
            r#"{"driver":"virtio-rng-pci","id":"rng","max-bytes":1024,"period":500}"#,
            r#"{"driver":"qemu-xhci","id":"usb"}"#,
            r#"{"driver":"usb-tablet","id":"tablet","bus":"usb.0"}"#,
            r#"{"driver":"virtio-keyboard-pci","id":"keyboard"}"#,
            r#"{"driver":"hda-duplex","audiodev":"sound""#,
            r#"{"driver":"usb-storage","id":"disk-root","drive":"d-root","bus":"usb.0","removable":false,"bootindex":1}"#,
            r#"{"driver":"ide-cd","id":"disk-config","drive":"d-config"}"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn a_guest_boots_by_uefi_with_what_vouches_for_it() {
        let mut guest = guest();
        guest.hardware.firmware = Firmware::Uefi(SecureBoot::Disabled);
        let text = text_of(&guest);
        assert!(text.contains("-machine q35,usb=off,vmport=off,pflash0=firmware,pflash1=firmware-vars -accel"), "{text}");
        assert!(text.contains("OVMF_CODE_4M.fd") && text.contains(r#""filename":"/i/uefi-vars","read-only":false"#), "{text}");
        guest.hardware.firmware = Firmware::Uefi(SecureBoot::Required);
        guest.hardware.tpm = Some(Tpm { version: TpmVersion::V2_0, model: "tpm-crb" });
        let text = text_of(&guest);
        for part in [
            "smm=on,pflash0=firmware",
            "-global driver=cfi.pflash01,property=secure,value=on",
            "OVMF_CODE_4M.secboot.fd",
            "-chardev socket,id=tpm-socket,path=/i/tpm.sock -tpmdev emulator,id=tpm,chardev=tpm-socket",
            r#"{"driver":"tpm-crb","tpmdev":"tpm"}"#,
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn a_guest_that_comes_waits_on_its_own_machine() {
        let (mut guest, machine) = (guest(), machine());
        let server = NbdServer::Tcp { host: "10.0.0.2".into(), port: 4711, key: Some("00ff".into()) };
        guest.disks[2].source = DiskSource::Nbd { server, export: "v1".into() };
        let mut slots = Slots::of(&guest);
        slots.machine = Some("pc-q35-7.1".into());
        let handed = Handed { control: 16, taps: vec![17], incoming: Incoming::Awaited };
        let text = arguments(&guest, (&machine, None), &Files::new("/i".into()), &slots, &handed).join(" ");
        assert!(text.contains("-machine pc-q35-7.1,usb=off") && text.ends_with("-incoming defer"), "{text}");
        assert!(text.contains(r#""server":{"type":"inet","host":"10.0.0.2","port":"4711"}"#), "{text}");
        assert!(
            text.contains(r#""tls-creds":"d-8f0c6a3e11112222333344445555""#) && !text.contains("00ff"),
            "a key is not in a command line: {text}"
        );
    }

    #[test]
    fn node_names_are_short_enough() {
        assert!(node_name("8f0c6a3e-1111-2222-3333-444455556666").len() <= 31);
    }
}
