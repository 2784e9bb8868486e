#!/bin/bash
# A guest writes to a volume without a pause, and syncs each line before it tells of it, while the volume's storage daemon is killed, the
# volume moves to another place under the guest, and comes back as another type. The guest waits when it must, and never notices more.
. "$(dirname "$0")/lib.bash"
mkdir -p "$state"
printf '[[volumes.backends]]\nname = "second"\n' >"$state/cumulo.toml"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
for place in file second; do
  check "a type of the place $place" admin openstack volume type create --property "volume_backend_name=$place" "at-$place"
done
check "server create" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --wait writer
one=$(floating writer)
check "volume create" openstack volume create --size 1 data
eventually "volume is available" 30 sh -c 'openstack volume show data -f value -c status | grep -q available'
vid=$(field id volume show data)
reachable writer "$one"
check "attach" openstack server add volume writer data
eventually "the guest sees it" 30 guest "$one" 'test -b /dev/vdb'
check "a file system" guest "$one" 'sudo mke2fs -q -t ext4 /dev/vdb && sudo mount -t ext4 /dev/vdb /mnt && sudo chmod 777 /mnt'
check "it writes and syncs" guest "$one" 'dd if=/dev/urandom of=/mnt/kept bs=64k count=64 2>/dev/null && sync'
sum=$(guest "$one" 'sha256sum < /mnt/kept')
boot_id=$(guest "$one" cat /proc/sys/kernel/random/boot_id)
guest "$one" 'n=0; while :; do n=$((n + 1)); echo $n >> /mnt/lines; sync; echo $n; done' >"$work/told" 2>/dev/null &
writer=$!

# goes_on WHEN: the guest tells of more than it had until now.
goes_on() {
  local before; before=$(tail -n 1 "$work/told")
  eventually "the guest goes on writing $1" 60 sh -c "[ \$(tail -n 1 '$work/told') -gt $((before + 3)) ]"
}
# moved WHERE: the volume is there, and in use as it was.
moved() {
  eventually "it is there" 180 is_in "$1"
  goes_on "from there"
}
is_in() {
  local shown word
  shown=$(admin openstack volume show "$vid") || return
  for word in "@$1#" success in-use; do grep -q "$word" <<<"$shown" || return; done
}
# The test has a machine of its own, so that all of them are this cloud's.
daemons() { for process in /proc/[0-9]*; do case $(readlink "$process/exe") in *qemu-storage-daemon) echo "${process#/proc/}" ;; esac; done; }
export -f daemons
eventually "the guest writes" 30 sh -c "[ -s '$work/told' ]"

for time in first second; do
  old=$(daemons)
  check "kill its storage daemon, the $time time" kill -9 "$old"
  eventually "another one serves it" 30 bash -c "[ -n \"\$(daemons)\" ] && [ \"\$(daemons)\" != '$old' ]"
  goes_on "after that"
done
host=$(admin openstack volume show "$vid" -f value -c os-vol-host-attr:host)
case $host in *@file#*) here=file there=second ;; *) here=second there=file ;; esac
check "migrate it to the other place" admin openstack volume migrate --host "${host%@*}@$there" "$vid"
moved "$there"
check "retype it, which takes it back" openstack volume set --type "at-$here" --retype-policy on-demand data
moved "$here"
expect "it is of that type" "^at-$here$" openstack volume show data -f value -c type
eventually "one storage daemon is left" 30 bash -c '[ "$(daemons | wc -l)" = 1 ]'

# the last line may be under way
kill "$writer"; wait "$writer" 2>/dev/null
told=$(grep -E '^[0-9]+$' "$work/told" | tail -n 1)
expect "every line it told of is there ($told)" '^yes$' guest "$one" "tail -n +1 /mnt/lines | sort -nu | awk -v told=$told '\$1 <= told { n++ } END { if (n == told) print \"yes\"; else print n }'"
expect "what was written before is whole" "$sum" guest "$one" 'sha256sum < /mnt/kept'
expect "the guest was never rebooted" "^$boot_id$" guest "$one" cat /proc/sys/kernel/random/boot_id
check "unmount, as whoever wrote is gone" guest "$one" 'for n in 1 2 3 4 5; do sudo umount /mnt && break; sleep 1; done; test ! -e /mnt/kept'
check "detach" openstack server remove volume writer data
eventually "volume is available again" 60 sh -c 'openstack volume show data -f value -c status | grep -q available'
check "delete" openstack server delete --wait writer
check "volume delete" openstack volume delete data
