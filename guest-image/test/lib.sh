# The parts of test.sh: the network, the guest, and the checks.

heading() { echo; echo "== $*"; }

check() {
  local what=$1
  shift
  : > "$work/got"
  if "$@"; then
    passed=$((passed + 1))
    echo "ok      $what"
  else
    failed=$((failed + 1))
    echo "FAILED  $what"
    sed 's/^/        got: /' "$work/got"
    tail -n 15 "$work/console" 2>/dev/null | sed 's/^/        | /'
  fi
}

# --- network: a bridge with the guest's tap; this namespace is router, DHCP server and metadata service in one

make_network() {
  ip link add lan type bridge
  ip addr add 10.9.0.1/24 dev lan
  ip addr add 10.9.0.2/24 dev lan
  ip addr add 169.254.169.254/32 dev lan
  ip link set lan up
  ip tuntap add guest0 mode tap
  ip link set guest0 master lan up
}

make_keys() {
  ssh-keygen -q -t ed25519 -N '' -f id_first
  ssh-keygen -q -t ecdsa -N '' -f id_second
}

# Starts what the cloud offers: `openstack` and `ec2` have DHCP and metadata, `nothing` has neither.
dnsmasq_pid= metadata_pid=
serve() {
  for pid in $dnsmasq_pid $metadata_pid; do kill "$pid"; wait "$pid" 2>/dev/null || true; done
  dnsmasq_pid= metadata_pid=
  [ "$1" != nothing ] || return 0
  dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=lan --bind-interfaces --dhcp-authoritative --no-ping \
    --dhcp-range=10.9.0.0,static --dhcp-host=fa:16:3e:00:00:05,10.9.0.5 --dhcp-leasefile="$work/leases" --user=root \
    --dhcp-option=121,169.254.169.254/32,10.9.0.2,0.0.0.0/0,10.9.0.1 --dhcp-option=26,1400 > "$work/dnsmasq.log" 2>&1 &
  dnsmasq_pid=$!
  python3 "$here/test/metadata.py" "$1" "$work" > "$work/metadata.log" 2>&1 &
  metadata_pid=$!
}

# --- guest

# boot [DISK_SIZE] [CONFIG_DRIVE_FORMAT]: a fresh disk
boot() {
  qemu-img create -q -f qcow2 -F qcow2 -b "$image" "$work/disk.qcow2" ${1:-}
  drive=()
  if [ -n "${2:-}" ]; then
    make_config_drive "$2"
    drive=(-drive "if=virtio,format=raw,readonly=on,file=$work/drive")
  fi
  start_guest
}

start_guest() {
  : > "$work/console"
  qemu-system-x86_64 -M q35,accel=tcg -cpu qemu64 -m 128 -nodefaults -no-user-config -display none \
    -serial "file:$work/console" -qmp "unix:$work/qmp,server=on,wait=off" -device virtio-rng-pci \
    -drive "if=virtio,format=qcow2,file=$work/disk.qcow2" "${drive[@]}" \
    -netdev tap,id=n0,ifname=guest0,script=no,downscript=no -device virtio-net-pci,netdev=n0,mac=fa:16:3e:00:00:05,romfile= &
  qemu_pid=$!
}

make_config_drive() {
  rm -rf "$work/drive" "$work/tree"
  mkdir -p "$work/tree/openstack/latest"
  python3 "$here/test/metadata.py" config-drive "$work"
  case $1 in
    iso9660) genisoimage -quiet -J -r -V config-2 -o "$work/drive" "$work/tree" 2> /dev/null ;;
    vfat)
      truncate -s 64M "$work/drive"
      mkfs.vfat -n CONFIG-2 "$work/drive" > /dev/null
      mcopy -s -i "$work/drive" "$work/tree/openstack" ::
      ;;
  esac
}

# Presses the power button and waits for QEMU to be gone; a guest that does not listen is killed.
power_off() {
  python3 "$here/test/powerdown.py" "$work/qmp"
  await_exit && return 0
  kill -9 "$qemu_pid"
  return 1
}

await_exit() {
  for _ in $(seq $((limit * 5))); do
    kill -0 "$qemu_pid" 2>/dev/null || { wait "$qemu_pid" || true; return 0; }
    sleep 0.2
  done
  return 1
}

boots_again() {
  local before
  before=$(console_fingerprint)
  start_guest
  await_ssh 10.9.0.5 id_first true && [ "$(seen_fingerprint)" = "$before" ]
}

# --- checks

await() {
  local end=$((SECONDS + limit))
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.5
  done
}

await_console() { await grep -qF -- "$1" "$work/console"; }

ssh_options=(-F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=20)
address=
guest() { ssh "${ssh_options[@]}" -o BatchMode=yes -o IdentitiesOnly=yes -i "$work/$1" "cumulo@$address" "$2" 2> /dev/null < /dev/null; }
await_ssh() {
  address=$1
  await guest "$2" "$3"
}

equals() {
  local expected=$1 got
  shift
  got=$("$@") || true
  [ "$got" = "$expected" ] || { echo "$got" > "$work/got"; return 1; }
}
matches() {
  local pattern=$1 got
  shift
  got=$("$@") || true
  grep -qE -- "$pattern" <<< "$got" || { echo "$got" > "$work/got"; return 1; }
}

console_fingerprint() { await grep -q 'END SSH HOST KEY FINGERPRINTS' "$work/console"; tr -d '\r' < "$work/console" | grep -o 'SHA256:[^ ]*' | tail -n 1; }
seen_fingerprint() { ssh-keyscan -T 20 -t ed25519 "$address" 2> /dev/null | ssh-keygen -lf - | awk '{ print $2 }'; }

with_password() {
  printf '#!/bin/sh\ncat "%s/password"\n' "$work" > "$work/askpass"
  chmod 700 "$work/askpass"
  printf '%s\n' "$1" > "$work/password"
  SSH_ASKPASS=$work/askpass SSH_ASKPASS_REQUIRE=force ssh "${ssh_options[@]}" -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 \
    "cumulo@$address" true 2> "$work/ssh.log" < /dev/null
}
accepts_password() { with_password "$1"; }
refuses_password() { ! with_password "$1" && grep -q 'Permission denied' "$work/ssh.log"; }
