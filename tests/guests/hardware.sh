#!/bin/bash
# Real guests with the hardware that their image asks for: other machines, buses and cards, UEFI with a trusted platform module, a watchdog.
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
admin openstack flavor create --vcpus 4 --ram 256 --disk 1 m1.quad >/dev/null

# variant NAME PROPERTY...: the guest image with these properties.
variant() {
  local name=$1 property properties=(); shift
  for property; do properties+=(--property "$property"); done
  openstack image create --disk-format qcow2 --container-format bare --file "$image" "${properties[@]}" "$name" >/dev/null
}
# boots NAME: a server of the image of that name, and the serial number of its console's boot.
boots() { check "$1 boots" openstack server create --flavor m1.quad --image "$1" --network private --key-name key --wait "$1"; }

variant old hw_machine_type=pc hw_disk_bus=scsi hw_vif_model=virtio hw_cpu_sockets=1 hw_cpu_cores=2 hw_cpu_threads=2
variant uefi hw_firmware_type=uefi hw_tpm_version=2.0 hw_tpm_model=tpm-crb hw_rng_model=virtio hw_input_bus=usb hw_sound_model=ich9 \
  hw_scsi_model=virtio-scsi hw_disk_bus=scsi hw_watchdog_action=pause
boots old
boots uefi
one=$(floating old)
reachable old "$one"
expect "its disk is behind SCSI" '^sda$' guest "$one" 'ls /sys/block'
expect "four processors" '^4$' guest "$one" 'grep -c ^processor /proc/cpuinfo'
expect "in two cores of two threads" '^0-1$' guest "$one" 'cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list'
two=$(floating uefi)
reachable uefi "$two"
expect "it booted by UEFI" '^efi$' guest "$two" 'ls /sys/firmware | grep efi'
pid=$(cat "$state/instances/$(field id server show uefi)/pid" 2>/dev/null || find "$state" -path "*$(field id server show uefi)/pid" -exec cat {} +)
expect "with a trusted platform module of its own" 'tpm-crb' sh -c "tr '\0' '\n' < /proc/$pid/cmdline"
check "a reboot" openstack server reboot --hard --wait uefi
reachable "uefi after the reboot" "$two"

# a server that must boot only what is signed boots nothing else
variant signed hw_firmware_type=uefi os_secure_boot=required
boots signed
eventually "what is not signed is not started" 120 sh -c 'openstack console log show signed | grep -q "Access Denied\|Security Violation"'
variant unsafe os_secure_boot=required
refuse "there is no secure boot with a BIOS" '' openstack server create --flavor m1.quad --image unsafe --network private --wait unsafe
expect "and it says so" 'Secure Boot is not supported by host' field fault server show unsafe
