#!/bin/bash
# Builds cumulo-guest, a tiny bootable guest (BIOS or UEFI, virtio, some 18 MB), from Debian packages only.
#
#   usage: build.sh [OUTPUT]        default: out/cumulo-guest.qcow2 beside the Makefile
#   env:   XDG_CACHE_HOME           downloaded packages go to $XDG_CACHE_HOME/cumulo/debs
#          GUEST_PASSWORD           console password of the user `cumulo` (default: cumulo); ssh takes it as well
#
# Nothing is mounted and no loop device is used, so it runs in any container: file systems are filled by mke2fs -d
# and mcopy. The image is only built anew when one of its inputs changed (this directory, apt's package lists, the
# password): the hash of the inputs is kept beside the output.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
output=$(realpath -m "${1:-$here/../out/cumulo-guest.qcow2}")
shown=${output#"$PWD"/}
password=${GUEST_PASSWORD:-cumulo}
user=cumulo
boot_mb=20    # FAT: boot loader, kernel, initramfs
root_mb=32    # ext4: everything else; grows to the flavor's disk at boot
. "$here/lib/common.sh"
. "$here/lib/packages.sh"
. "$here/lib/modules.sh"
. "$here/lib/rootfs.sh"
. "$here/lib/disk.sh"

inputs=$(hash_inputs)
if [ -s "$output" ] && [ "$(cat "$output.inputs" 2>/dev/null)" = "$inputs" ]; then
  say "$shown is up to date"
  exit 0
fi

require_tools
select_packages
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=$work/packages root=$work/root initramfs=$work/initramfs

say "fetching packages"
download_packages
unpack_packages "$packages"
say "choosing kernel modules"
choose_modules
say "making the initramfs and the root file system"
make_initramfs > "$work/initrd"
make_root
say "writing the disk"
make_disk "$work/disk.raw"
mkdir -p "$(dirname "$output")"
qemu-img convert -c -O qcow2 "$work/disk.raw" "$output.part"
mv "$output.part" "$output"
echo "$inputs" > "$output.inputs"
say "$shown: $(du -h --apparent-size "$output" | cut -f1)"
