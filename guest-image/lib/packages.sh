# Which Debian packages the guest is made of, and their contents in one directory. Only their files are used: no package
# is installed and no maintainer script runs.

# Sets `wanted`, one line "package version" for each.
select_packages() {
  local kernel
  kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }')
  [ -n "$kernel" ] || die "apt does not know linux-image-cloud-amd64. Run: sudo apt-get update   (this needs Debian's main repository)"
  # busybox-static is for the initramfs only: name lookups in a static glibc binary are fragile, so the root gets the dynamic one.
  wanted=$(apt-cache policy "$kernel" busybox-static busybox dropbear-bin libtomcrypt1 libtommath1 libgmp10 libcrypt1 zlib1g libc6 \
    e2fsprogs libext2fs2 libcom-err2 libblkid1 libuuid1 syslinux-common syslinux-efi |
    awk '/^[^ ]/ { name = $1; sub(/:$/, "", name) } /Candidate:/ { print name, $2 }')
}

# Downloads what is not there yet. `apt-get download` checks the packages' signatures.
download_packages() {
  local name version missing=()
  debs=${XDG_CACHE_HOME:-$HOME/.cache}/cumulo/debs
  mkdir -p "$debs"
  while read -r name version; do
    [ -s "$(deb_file "$name" "$version")" ] || missing+=("$name=$version")
  done <<< "$wanted"
  [ ${#missing[@]} != 0 ] || return 0
  printf '  %s\n' "${missing[@]}"
  # apt would drop root for the download, and then could not write to a private directory.
  (cd "$debs" && apt-get -qq -o APT::Sandbox::User=root download "${missing[@]}") ||
    die "cannot download the packages above. Run: sudo apt-get update   and see that the network works"
}

# apt writes a colon of the version as %3a; the last part is the architecture, or all.
deb_file() { ls "$debs/${1}_${2//:/%3a}_"*.deb 2>/dev/null; }

unpack_packages() {
  local name version
  while read -r name version; do
    dpkg-deb -x "$(deb_file "$name" "$version")" "$1"
    # Both busyboxes have the same path.
    [ "$name" != busybox-static ] || mv "$1/bin/busybox" "$1/bin/busybox.static"
  done <<< "$wanted"
}
