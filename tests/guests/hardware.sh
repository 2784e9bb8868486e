#!/bin/bash
# Real guests with the hardware that their image asks for: another machine and bus, processors in one socket, UEFI with a trusted platform module;
# and what asks for secure boot boots nothing that nobody signed.
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
admin openstack flavor create --vcpus 2 --ram 256 --disk 1 m1.dual >/dev/null

# variant NAME PROPERTY...: the guest image with these properties, and a server of it, both of that name.
variant() {
  local name=$1 property properties=(); shift
  for property; do properties+=(--property "$property"); done
  openstack image create --disk-format qcow2 --container-format bare --file "$image" "${properties[@]}" "$name" >/dev/null
  openstack server create --flavor m1.dual --image "$name" --network private --key-name key --wait "$name"
}
console_says() { openstack console log show "$1" | grep -qE "$2"; }
has_module() { tr '\0' '\n' <"/proc/$(cat "$state/instances/$1/pid")/cmdline" | grep -q '^emulator,id=tpm'; }

check "a pc boots from SCSI" variant old hw_machine_type=pc hw_disk_bus=scsi hw_cpu_sockets=1
check "a q35 boots by UEFI" variant uefi hw_firmware_type=uefi hw_tpm_version=2.0 hw_tpm_model=tpm-crb hw_input_bus=usb hw_sound_model=ich9
one=$(floating old)
reachable old "$one"
expect "its disk is behind SCSI" '^sda$' guest "$one" 'ls /sys/block'
expect "its processors are in one socket" '^1$' guest "$one" "grep 'physical id' /proc/cpuinfo | sort -u | grep -c ."
two=$(floating uefi)
reachable uefi "$two"
expect "the other knows its firmware" '^efi$' guest "$two" 'ls /sys/firmware'
check "and has a trusted platform module" has_module "$(field id server show uefi)"
check "a hard reboot" openstack server reboot --hard --wait uefi
reachable "uefi after the reboot" "$two"
check "delete" openstack server delete --wait old uefi

check "a server with secure boot" variant secure hw_firmware_type=uefi os_secure_boot=required
eventually "starts nothing that is not signed" 120 console_says secure 'Access Denied|Security Violation'
refuse "a BIOS boots nothing securely" '' variant unsafe os_secure_boot=required
expect "and it is said" 'Secure Boot is not supported by host' field fault server show unsafe
