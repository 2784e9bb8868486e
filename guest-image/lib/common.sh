# What every part of the build uses: messages, the check for tools, and the hash that makes a second build instant.

say() { echo "guest-image: $*"; }
die() { echo "guest-image: $*" >&2; exit 1; }

# Each program the build calls, with the Debian package it comes from.
require_tools() {
  local missing=() entry
  for entry in apt-get:apt apt-cache:apt dpkg-deb:dpkg mke2fs:e2fsprogs debugfs:e2fsprogs mkfs.vfat:dosfstools mcopy:mtools mmd:mtools syslinux:syslinux \
               cpio:cpio readelf:binutils as:binutils depmod:kmod openssl:openssl qemu-img:qemu-utils; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
  done
  [ ${#missing[@]} = 0 ] && return
  case " ${missing[*]} " in
    *" apt "*) die "needs Debian's apt: the guest is made of Debian packages. Build it on Debian 12 and copy the image here." ;;
    *) die "missing: ${missing[*]}. Run: sudo scripts/deps guest   (or: apt-get install ${missing[*]})" ;;
  esac
}

# One hash over all that decides what comes out. apt's lists by their time: reading them takes seconds.
hash_inputs() {
  {
    stat -c %Y /var/lib/apt/lists 2>/dev/null || true
    echo "$password $user $boot_mb $root_mb"
    cd "$here"
    find build.sh sudo.S lib initramfs overlay -type f | sort | xargs sha256sum
  } | sha256sum | cut -d' ' -f1
}
