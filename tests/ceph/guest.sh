#!/bin/bash
# A guest that boots from a volume in a Ceph pool: what it writes there, and in another volume, is there after snapshots, clones, growing
# and the cloud's sudden end; and in the end the pool is empty. The cluster is the test's own.
here=$(cd "$(dirname "$0")/../.." && pwd)
[ -n "${CUMULO_TEST_CEPH:-}" ] || exec "$here/scripts/with-ceph" bash "$(readlink -f "$0")"
. "$here/tests/guests/lib.bash"
mkdir -p "$state" && chmod 711 "$state"
cat >"$state/cumulo.toml" <<CONF
[volumes]
ceph_directory = "$CUMULO_TEST_CEPH"
[[volumes.backends]]
name = "ceph"
driver = "rbd"
pool = "volumes"
CONF
world
is() { eventually "$1 $2 is $3" 300 sh -c "openstack $1 show $2 -f value -c status | grep -qx $3"; }
export CEPH_CONF=$CUMULO_TEST_CEPH/ceph.conf CEPH_KEYRING=$CUMULO_TEST_CEPH/ceph.client.cinder.keyring CEPH_ARGS="--id cinder"
mount_it='sudo mount -t ext4 /dev/vdb /mnt'
check "a type of the pool" admin openstack volume type create --property volume_backend_name=ceph ceph
check "an encrypted one" admin openstack volume type create --property volume_backend_name=ceph --encryption-provider luks \
  --encryption-cipher aes-xts-plain64 --encryption-key-size 256 --encryption-control-location front-end secret
expect "the pool has room" '^[1-9]' sh -c "OS_CLOUD=cumulo openstack volume backend pool list --long -f json | jq '.[] | select(.Name | test(\"@ceph\")) | .Capacity, .[\"Total Capacity\"] | numbers'"
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"

check "a volume from the image" openstack volume create --size 1 --image cumulo-guest --type ceph root
check "another" openstack volume create --size 1 --type ceph data
check "an encrypted one" openstack volume create --size 1 --type secret hidden
for volume in root data hidden; do is volume $volume available; done
expect "they are in the pool" "^volume-$(field id volume show root)\$" rbd ls volumes
check "a guest boots from it" openstack server create --flavor m1.nano --volume root --network private --key-name key --wait one
one=$(floating one)
reachable one "$one"
expect "QEMU reaches the pool by itself" '"driver":"rbd"' sh -c "cat /proc/[0-9]*/cmdline | tr '\0' '\n' | grep blockdev -A 1"
absent "no key is in a command line" "$(sed -n 's/.*key = //p' "$CUMULO_TEST_CEPH/ceph.client.cinder.keyring")" sh -c "cat /proc/[0-9]*/cmdline | tr '\0' '\n'"
check "it writes to its disk" guest "$one" 'echo root | sudo tee /kept && sync'
check "attach" openstack server add volume one data
eventually "the guest sees it" 30 guest "$one" 'test -b /dev/vdb'
check "write to it" guest "$one" "sudo mke2fs -q -t ext4 /dev/vdb && $mount_it && echo first | sudo tee /mnt/f && sync"
check "snapshot in use" openstack volume snapshot create --force --volume data then
is "volume snapshot" then available
check "write more" guest "$one" 'echo second | sudo tee /mnt/g && sync'
check "grow it in use" openstack --os-volume-api-version 3.42 volume set --size 2 data
eventually "the guest sees it grow" 60 guest "$one" "test \$(cat /sys/block/vdb/size) = 4194304"

crash
check "the guest goes on without the cloud" guest "$one" 'echo third | sudo tee /mnt/h && sync'
cloud
export OS_CLOUD=cumulo-demo; unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_USER_DOMAIN_NAME OS_PROJECT_DOMAIN_NAME
check "unmount" guest "$one" 'sudo umount /mnt'
check "detach" openstack server remove volume one data
is volume data available
eventually "the guest no longer has it" 30 guest "$one" 'test ! -b /dev/vdb'
check "attach again" openstack server add volume one data
eventually "the guest sees it again" 30 guest "$one" 'test -b /dev/vdb'
expect "all of it is there" '^first second third $' guest "$one" "$mount_it && cat /mnt/f /mnt/g /mnt/h | tr '\n' ' ' && sudo umount /mnt"
check "detach again" openstack server remove volume one data
is volume data available
eventually "it is gone again" 30 guest "$one" 'test ! -b /dev/vdb'

check "a clone of the snapshot" openstack volume create --snapshot then --size 1 --type ceph clone
is volume clone available
check "attach the clone" openstack server add volume one clone
eventually "the guest sees the clone" 30 guest "$one" 'test -b /dev/vdb'
expect "it holds what was there then" '^first no$' guest "$one" "$mount_it && echo \$(cat /mnt/f) \$(test -e /mnt/g && echo yes || echo no) && sudo umount /mnt"
check "detach the clone" openstack server remove volume one clone
is volume clone available
eventually "the clone is gone" 30 guest "$one" 'test ! -b /dev/vdb'

check "attach the encrypted one" openstack server add volume one hidden
eventually "the guest sees the encrypted one" 30 guest "$one" 'test -b /dev/vdb'
check "write to the encrypted one" guest "$one" "sudo mke2fs -q -t ext4 /dev/vdb && $mount_it && echo hidden | sudo tee /mnt/f && sudo umount /mnt"
expect "the pool has LUKS" '^LUKS' sh -c "rbd export volumes/volume-$(field id volume show hidden) - | head -c 4"
check "detach the encrypted one" openstack server remove volume one hidden
is volume hidden available

check "the guest starts anew" openstack server reboot --hard --wait one
reachable "one, again" "$one"
expect "its own disk has what was written" '^root$' guest "$one" cat /kept
check "delete the server" openstack server delete --wait one
check "delete the snapshot" openstack volume snapshot delete then
eventually "the snapshot is gone" 60 sh -c '! openstack volume snapshot show then'
check "delete the volumes" openstack volume delete root data clone hidden
eventually "the volumes are gone" 120 sh -c '[ -z "$(openstack volume list -f value)" ]'
expect "the pool is empty" '^0$' sh -c "rbd ls volumes | wc -l"
expect "so is its trash" '^0$' sh -c "rbd trash ls --all volumes | wc -l"
