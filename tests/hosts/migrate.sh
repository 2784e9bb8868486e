#!/bin/bash
# A real guest moves between two hosts while it runs, with its disks, its memory, a volume and somebody who pings it; back again; aborted; and with its
# destination killed on the way. It is always the same guest, and it is always there.
. "$(dirname "$0")/lib.bash"
two_hosts
one_network
check "guest" openstack server create --flavor m1.nano --image cumulo-guest --network net --security-group open --key-name key \
  --config-drive True --availability-zone nova:h1 --wait g
one=$(address g)
eventually "ssh to it" 300 guest "$one" true
id=$(field id server show g)
check "volume" openstack volume create --size 1 data
eventually "volume is available" 60 status_of volume data available
check "volume attach" openstack server add volume g data
eventually "the guest sees it" 60 guest "$one" 'test -b /dev/vdc'

# what must not be lost: this boot, a process, a file in memory, one on disk, one on the volume
volume=data
booted=$(guest "$one" cat /proc/sys/kernel/random/boot_id)
check "a file on disk" guest "$one" 'echo kept > proof && sync'
check "a file in memory" guest "$one" 'sudo mount -t tmpfs none /mnt && echo kept | sudo tee /mnt/proof'
check "a file on the volume" guest "$one" 'echo kept | sudo dd of=/dev/vdc conv=fsync'
guest "$one" '(while sleep 1; do date +%s > alive.new; mv alive.new alive; done) </dev/null >/dev/null 2>&1 &'

on_host() { [ "$(field OS-EXT-SRV-ATTR:host server show g)" = "$1" ] && status_of server g ACTIVE; }
# same WHERE: it is the guest it was, and nothing of it is elsewhere.
same() {
  eventually "the guest answers on $1" 60 guest "$one" true
  expect "it is the same boot" "^$booted\$" guest "$one" cat /proc/sys/kernel/random/boot_id
  expect "the file in memory" '^kept$' guest "$one" cat /mnt/proof
  expect "the file on disk, from the disk" '^kept$' guest "$one" 'sync; echo 3 | sudo tee /proc/sys/vm/drop_caches >/dev/null; cat proof'
  [ -z "$volume" ] || expect "the file on the volume" '^kept' guest "$one" 'sudo dd if=/dev/vdc bs=5 count=1 2>/dev/null'
  check "its process goes on" guest "$one" 'test $(( $(date +%s) - $(cat alive) )) -lt 5'
  eventually "one QEMU on $1" 20 guests_on "$1" 1
}
guests_on() { [ "$(on "$1" pgrep -cf "^qemu-system.*$id")" = "$2" ]; }
gone_from() {
  eventually "no QEMU on $1" 30 guests_on "$1" 0
  absent "no tap on $1" 'cut' on "$1" ip -o link
  absent "no file on $1" "$id" ls "$work/$1/instances"
}

# moves TO ARGS...: live, with a ping from outside under way.
moves() {
  local to=$1; shift
  from_network ping -D -i 0.05 -W 1 "$one" >"$work/ping" 2>&1 &
  local pinging=$!
  sleep 1
  check "live migration to $to" openstack --os-compute-api-version 2.30 server migrate --live-migration --host "$to" "$@" --wait g
  eventually "it is on $to" 60 on_host "$to"
  sleep 1
  kill -INT $(pgrep -f "^ping -D -i 0.05 -W 1 $one")
  wait $pinging
  local gap; gap=$(longest_silence "$work/ping")
  echo "      to $to: the longest silence was $gap ms; $(grep -c 'bytes from' "$work/ping") answers"
  [ "$gap" -lt 1000 ] && ok "traffic stops for less than a second" || not_ok "traffic stops for less than a second" "$gap ms"
}
# longest_silence FILE: milliseconds between two answers of `ping -D`.
longest_silence() { awk -F'[][]' '/bytes from/ {if (last && $2 - last > gap) gap = $2 - last; last = $2} END {printf "%d", gap * 1000}' "$1"; }

moves h2
same h2
gone_from h1
expect "its console came along" 'login:' openstack console log show g
expect "the volume is in use, once" '^1$' sh -c "openstack --os-volume-api-version 3.27 volume attachment list -f value -c ID | wc -l"
moves h1
same h1
gone_from h2

# a guest that stands still does so elsewhere
check "pause" openstack server pause g
eventually "paused" 30 status_of server g PAUSED
check "migrate it" openstack --os-compute-api-version 2.30 server migrate --live-migration --host h2 g
paused_on() { [ "$(field OS-EXT-SRV-ATTR:host server show g)" = "$1" ] && status_of server g PAUSED; }
eventually "it is on h2, and paused" 60 paused_on h2
check "unpause" openstack server unpause g
eventually "it runs" 30 status_of server g ACTIVE
same h2
gone_from h1

# on a slow wire there is time to look, and to think again
slow() { on "$1" tc qdisc add dev eth0 root tbf rate 8mbit burst 64kbit latency 400ms; }
fast() { on "$1" tc qdisc del dev eth0 root; }
guest "$one" 'sudo dd if=/dev/urandom of=/mnt/ballast bs=1M count=24 2>/dev/null'
slow h2
check "begin a migration" openstack --os-compute-api-version 2.30 server migrate --live-migration --host h1 g
under_way() { openstack --os-compute-api-version 2.80 server migration list --server g --status running -f value -c Id | head -1 | grep .; }
eventually "it is under way" 60 under_way
migration=$(under_way)
token=$(openstack token issue -f value -c id)
far() {
  curl -s -H "x-auth-token: $token" -H 'openstack-api-version: compute 2.80' "http://$controller:8774/v2.1/servers/$id/migrations" |
    grep -E '"(memory|disk)_total_bytes": ?[1-9]'
}
eventually "its progress is told" 60 far
check "abort" openstack --os-compute-api-version 2.80 server migration abort g "$migration"
eventually "it stays on h2" 60 on_host h2
fast h2
same h2
gone_from h1
expect "the migration is cancelled" cancelled openstack --os-compute-api-version 2.80 server migration list --server g -f value -c Status
slow h2
check "begin another" openstack --os-compute-api-version 2.30 server migrate --live-migration --host h1 g
eventually "it is under way" 60 under_way
check "force it to complete" openstack --os-compute-api-version 2.80 server migration force complete g "$(under_way)"
sleep 2
fast h2
eventually "it is on h1" 120 on_host h1
same h1
gone_from h2

# the host's own process dies on the way: the guest goes on, on one side
slow h1
check "begin a migration" openstack --os-compute-api-version 2.30 server migrate --live-migration --host h2 g
eventually "it is under way" 60 under_way
crash h1
fast h1
host h1
ready h1
eventually "the server is settled" 120 status_of server g ACTIVE
now=$(field OS-EXT-SRV-ATTR:host server show g)
same "$now"
other_than() { [ "$1" = h1 ] && echo h2 || echo h1; }
gone_from "$(other_than "$now")"

check "the volume stays behind, for its host may be the one that is lost" openstack server remove volume g data
eventually "volume is available again" 60 status_of volume data available
volume=

# the destination is lost with all it has; what is asked of the guest comes from where the network's DHCP server is
stays=$(dhcp_host)
lost=$(other_than "$stays")
[ "$now" = "$stays" ] || { moves "$stays"; same "$stays"; }
slow "$stays"
check "begin a migration" openstack --os-compute-api-version 2.30 server migrate --live-migration --host "$lost" g
eventually "it is under way" 60 under_way
kill -9 "${machines[$lost]}"
eventually "the guest answers" 30 guest "$one" true
fast "$stays"
eventually "it stays on $stays" 240 on_host "$stays"
same "$stays"
no_usage_of() { [ "$(openstack resource provider usage show "$(openstack resource provider list --name "$1" -f value -c uuid)" -f value | awk '{n += $2} END {print n}')" = 0 ]; }
check "nothing is claimed on the lost host" no_usage_of "$lost"
check "delete" openstack server delete --wait g
absent "no guest is left" 'cut' on "$stays" ip -o link
