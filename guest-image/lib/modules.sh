# The kernel modules that go along: a short list and what those depend on. Debian's kernel has thousands; a guest
# needs to find its disk (early, in the initramfs) and its NICs, drives and buttons (late, in the root).

choose_modules() {
  kernel_version=$(ls "$packages/lib/modules")
  modules=$packages/lib/modules/$kernel_version
  depmod -b "$packages" "$kernel_version"
  early=$(with_dependencies virtio_pci virtio_blk virtio_scsi sd_mod virtio_rng)
  late=$(with_dependencies virtio_net virtio_balloon virtio_console button evdev qemu_fw_cfg sr_mod isofs vfat \
    nls_iso8859-1 nls_cp437 nls_ascii ata_piix 8021q overlay dm_mod)
}

# Paths below the modules directory, in the order in which they must be loaded. What is built into the kernel has none.
with_dependencies() {
  local name
  for name in "$@"; do
    modprobe -d "$packages" -S "$kernel_version" --show-depends "$name" 2>/dev/null || true
  done | awk '$1 == "insmod" { print $2 }' | sed "s#.*lib/modules/$kernel_version/##" | awk '!seen[$0]++'
}

# A cpio archive on stdout: a static busybox, the early modules numbered in their order, and the script.
make_initramfs() {
  local module n=10
  mkdir -p "$initramfs"/{bin,dev,proc,sys,modules,newroot}
  cp "$packages/bin/busybox.static" "$initramfs/bin/busybox"
  ln -s busybox "$initramfs/bin/sh"
  install -m 755 "$here/initramfs/init" "$initramfs/init"
  for module in $early; do
    cp "$modules/$module" "$initramfs/modules/$n-$(basename "$module")"
    n=$((n + 1))
  done
  (cd "$initramfs" && find . | sort | cpio -o -H newc -R 0:0 --quiet --reproducible)
}
