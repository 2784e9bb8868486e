#!/bin/bash
# A guest that booted from a volume made from an image writes while every process is killed at once: the cloud, the guest, what serves its
# disk, its network's servers. Only the disk is left. The guest boots from it again, and has everything it had synced.
grep -qz in-netns /proc/1/cmdline || { echo "power_cut.sh: would end every process of this machine. Run it with scripts/in-netns." >&2; exit 2; }
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
check "a server from a volume made from the image" openstack server create --flavor m1.nano --image cumulo-guest --boot-from-volume 1 \
  --network private --key-name key --wait rooted
one=$(floating rooted)
reachable rooted "$one"
vid=$(openstack server show rooted -f json -c volumes_attached -c attached_volumes 2>/dev/null | grep -oE '[0-9a-f-]{36}' | head -1)
expect "its root is on the volume" 'in-use' openstack volume show "$vid" -f value -c status
check "it writes and syncs" guest "$one" 'dd if=/dev/urandom of=/home/cumulo/kept bs=64k count=128 2>/dev/null && sync && sync'
sum=$(guest "$one" 'sha256sum < /home/cumulo/kept')
boot_id=$(guest "$one" cat /proc/sys/kernel/random/boot_id)
# a line is told only after it is synced
guest "$one" 'n=0; while :; do n=$((n + 1)); echo $n >> /home/cumulo/lines; sync; echo $n; done' > "$work/told" 2>/dev/null &
writer=$!
eventually "it tells of lines" 60 grep -q '^3$' "$work/told"

# Every process of this machine but its first one and this shell, in one stroke: none can start another meanwhile.
kill -9 -1
wait "$cloud_pid" "$writer" 2>/dev/null
eventually "no guest, no storage daemon, no cloud is left" 10 sh -c '! ls -l /proc/[0-9]*/exe 2>/dev/null | grep -E "qemu|dnsmasq|cumulo"'
told=$(tail -n 1 "$work/told")

cloud
export OS_CLOUD=cumulo-demo; unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_USER_DOMAIN_NAME OS_PROJECT_DOMAIN_NAME
eventually "the cloud sees that the guest is off" 60 sh -c 'openstack server show rooted -f value -c status | grep -q SHUTOFF'
check "it boots again" openstack server start rooted
reachable "rooted, again" "$one"
absent "it was a new boot" "$boot_id" guest "$one" cat /proc/sys/kernel/random/boot_id
expect "what it had written is there" "$sum" guest "$one" 'sha256sum < /home/cumulo/kept'
lines=$(guest "$one" 'wc -l < /home/cumulo/lines')
expect "so is every line it told of ($told of $lines)" '^yes$' sh -c "[ ${told:-0} -gt 0 ] && [ ${lines:-0} -ge ${told:-0} ] && echo yes"
check "the volume goes on being written" guest "$one" 'echo more >> /home/cumulo/lines && sync'
fits "after the power cut"
check "delete" openstack server delete --wait rooted
eventually "the volume is free" 60 sh -c "openstack volume show $vid -f value -c status | grep -q available"
check "volume delete" openstack volume delete "$vid"
fits "when all is deleted"
