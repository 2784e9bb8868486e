#!/bin/bash
# Real guests with the hardware that their image asks for: another machine and bus, processors in one socket, UEFI with a trusted platform module;
# and what asks for secure boot boots nothing that nobody signed. One has a processor of its own, and a config drive in FAT.
. "$(dirname "$0")/lib.bash"
mkdir -p "$state"
printf '[compute]\nconfig_drive_format = "vfat"\ncpu_dedicated_set = "1"\ncpu_shared_set = "0"\n' >"$state/cumulo.toml"
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

admin openstack flavor create --vcpus 1 --ram 128 --disk 1 --property hw:cpu_policy=dedicated --property hw:emulator_threads_policy=share m1.pinned >/dev/null
check "a server with a processor of its own" openstack server create --flavor m1.pinned --image cumulo-guest --network private --key-name key \
  --config-drive True --wait pinned
# threads NAMES: where the threads of these names may run.
threads() { grep -h Cpus_allowed_list $(grep -lE "^Name:[[:space:]]+$1" "/proc/$(cat "$state/instances/$(field id server show pinned)/pid")"/task/*/status) | sort -u; }
expect "its processor runs where nobody else does" '^Cpus_allowed_list:[[:space:]]+1$' threads 'CPU 0'
expect "its other threads run where all do" '^Cpus_allowed_list:[[:space:]]+0$' threads 'qemu'
refuse "there is no second" '' openstack server create --flavor m1.pinned --image cumulo-guest --network private --wait another
expect "for want of one" 'No valid host' field fault server show another
three=$(floating pinned)
reachable pinned "$three"
expect "it read its config drive" 'datasource config' guest "$three" 'sudo dmesg'
expect "which has FAT on it" 'TYPE="vfat"' guest "$three" 'sudo blkid | grep config-2'
check "delete" openstack server delete --wait pinned another

check "a server with secure boot" variant secure hw_firmware_type=uefi os_secure_boot=required
eventually "starts nothing that is not signed" 120 console_says secure 'Access Denied|Security Violation'
refuse "a BIOS boots nothing securely" '' variant unsafe os_secure_boot=required
expect "and it is said" 'Secure Boot is not supported by host' field fault server show unsafe
