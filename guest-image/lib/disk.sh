# The disk: MBR | FAT16 with syslinux, kernel and initramfs at 1 MiB | ext4 root, last so that it can grow.
# syslinux and not GRUB: under emulation GRUB needs 3 s more to read the kernel.

make_disk() {
  local fat=$work/fat ext4=$work/ext4
  make_boot_partition "$fat"
  make_root_partition "$ext4"
  truncate -s $((1 + boot_mb + root_mb))M "$1"
  dd if="$packages/usr/lib/syslinux/mbr/mbr.bin" of="$1" bs=440 count=1 conv=notrunc status=none
  dd if="$fat" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
  dd if="$ext4" of="$1" bs=1M seek=$((1 + boot_mb)) conv=notrunc,sparse status=none
  partition_table | dd of="$1" bs=1 seek=446 conv=notrunc status=none
}

make_boot_partition() {
  truncate -s "${boot_mb}M" "$1"
  mkfs.vfat -F 16 -h 2048 -n CUMULOBOOT "$1" > /dev/null
  # quiet: each line on an emulated serial port costs; no_timer_check and random.trust_cpu save waiting for what a guest has anyway.
  cat > "$work/syslinux.cfg" <<CONFIG
DEFAULT cumulo
PROMPT 0
TIMEOUT 0
LABEL cumulo
 KERNEL /vmlinuz
 INITRD /initrd
 APPEND root=LABEL=cumulo-root ro console=tty0 console=ttyS0,115200 quiet loglevel=3 mitigations=off audit=0 random.trust_cpu=on no_timer_check net.ifnames=0 panic=10
CONFIG
  syslinux --install "$1"
  mcopy -i "$1" "$packages/boot/vmlinuz-$kernel_version" ::vmlinuz
  mcopy -i "$1" "$work/initrd" ::initrd
  mcopy -i "$1" "$work/syslinux.cfg" ::syslinux.cfg
  # UEFI finds its loader by this name, and the loader its configuration in the root.
  mmd -i "$1" ::EFI ::EFI/BOOT
  mcopy -i "$1" "$packages/usr/lib/SYSLINUX.EFI/efi64/syslinux.efi" ::EFI/BOOT/BOOTX64.EFI
  mcopy -i "$1" "$packages/usr/lib/syslinux/modules/efi64/ldlinux.e64" ::EFI/BOOT/ldlinux.e64
}

make_root_partition() {
  # resize=: room in the group descriptors for growing to 64 GB; the rest is done at the first boot by resize2fs.
  # metadata_csum_seed is off because the guest's tools may be older than the host's.
  mke2fs -q -t ext4 -b 4096 -L cumulo-root -m 1 -J size=4 -O ^metadata_csum_seed \
    -E root_owner=0:0,resize=16777216,lazy_itable_init=0 -d "$root" "$1" "${root_mb}M" > /dev/null
  own_files "$1"
}

# mke2fs takes owners from the directory, so a build without root makes everything the builder's; say whose it is.
own_files() {
  {
    (cd "$root" && find . -mindepth 1 -printf '/%P\n') | while read -r path; do
      case $path in
        /home/$user | /home/$user/*) echo "set_inode_field $path uid 1000"; echo "set_inode_field $path gid 1000" ;;
        *) echo "set_inode_field $path uid 0"; echo "set_inode_field $path gid 0" ;;
      esac
    done
  } | debugfs -w -f - "$1" > /dev/null 2>&1
}

partition_table() {
  partition '\x80' '\x0e' 2048 $((boot_mb * 2048))
  partition '\x00' '\x83' $((2048 + boot_mb * 2048)) $((root_mb * 2048))
  head -c 32 /dev/zero
  printf '\x55\xaa'
}

# boot flag, type, first sector, sectors; the CHS fields say "see LBA"
partition() {
  printf "$1\\xfe\\xff\\xff$2\\xfe\\xff\\xff"
  little_endian "$3"
  little_endian "$4"
}

little_endian() {
  printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)))"
}
