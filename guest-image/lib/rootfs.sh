# The root file system as a directory: busybox, dropbear, resize2fs, the libraries they need, the late modules,
# and the overlay/ directory with everything that makes it a cloud guest.

make_root() {
  mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,mnt,root,etc/dropbear,var/lib,var/log,lib64,lib/x86_64-linux-gnu,usr/lib,usr/share,home/$user}
  # One directory of programs under four names, so that every tool is in any PATH.
  ln -s bin "$root/sbin"
  ln -s ../bin "$root/usr/bin"
  ln -s ../bin "$root/usr/sbin"
  add_programs
  add_modules
  tar -C "$here/overlay" -c . | tar -C "$root" -x --no-same-owner --keep-directory-symlink
  add_accounts
}

add_programs() {
  local program
  for program in bin/busybox usr/sbin/dropbear usr/bin/dropbearkey usr/bin/dbclient sbin/resize2fs sbin/mke2fs sbin/e2fsck; do
    cp -L "$packages/$program" "$root/bin/"
    add_libraries "$root/bin/${program##*/}"
  done
  add_busybox_links
  ln -sf dbclient "$root/bin/ssh"
  ln -sf mke2fs "$root/bin/mkfs.ext4"
  add_sudo
  cp -L "$packages/lib64/ld-linux-x86-64.so.2" "$root/lib64/"
}

# Copies the shared libraries a program names, and those that they name.
add_libraries() {
  local library from
  for library in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    [ "$library" != ld-linux-x86-64.so.2 ] && [ ! -e "$root/lib/x86_64-linux-gnu/$library" ] || continue
    from=$(find "$packages/lib" "$packages/usr/lib" -name "$library" | head -n 1)
    [ -n "$from" ] || die "no package of the list has $library, which ${1##*/} needs; add it to lib/packages.sh"
    cp -L "$from" "$root/lib/x86_64-linux-gnu/"
    add_libraries "$root/lib/x86_64-linux-gnu/$library"
  done
}

# The static busybox lists its applets anywhere; a name the dynamic one lacks simply says so when called.
add_busybox_links() {
  local applet
  "$packages/bin/busybox.static" --list | while read -r applet; do
    [ "$applet" = busybox ] || [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
  done
}

add_sudo() {
  as --64 -o "$work/sudo.o" "$here/sudo.S"
  ld --strip-all -o "$root/bin/sudo" "$work/sudo.o"
  chmod 4755 "$root/bin/sudo"
}

add_modules() {
  local module target=$root/lib/modules/$kernel_version
  mkdir -p "$target"
  for module in $early $late; do
    install -D -m 644 "$modules/$module" "$target/$module"
  done
  cp "$modules"/modules.{order,builtin,builtin.modinfo} "$target/"
  depmod -b "$root" "$kernel_version"
  # busybox modprobe reads modules.dep and modules.alias as text.
  rm -f "$target"/*.bin "$target"/modules.{symbols,order,devname,builtin.modinfo}
}

add_accounts() {
  local hash
  hash=$(openssl passwd -6 -salt cumuloguest "$password")
  printf '%s\n' "root:x:0:0:root:/root:/bin/sh" "$user:x:1000:1000:Cumulo guest:/home/$user:/bin/sh" > "$root/etc/passwd"
  printf '%s\n' "root:x:0:" "tty:x:5:" "$user:x:1000:" > "$root/etc/group"
  printf '%s\n' "root:*:19000:0:99999:7:::" "$user:$hash:19000:0:99999:7:::" > "$root/etc/shadow"
  echo "CLOUD_USER=$user" > "$root/etc/cumulo.conf"
  echo /bin/sh > "$root/etc/shells"
  printf '%s\n' "127.0.0.1 localhost" "::1 localhost" > "$root/etc/hosts"
  echo cumulo > "$root/etc/hostname"
  ln -sf /run/resolv.conf "$root/etc/resolv.conf"
  chmod 1777 "$root/tmp"
  chmod 700 "$root/root"
  chmod 600 "$root/etc/shadow"
}
