#!/bin/bash
# An encrypted volume in a guest's hands; what it held comes back from a backup, from one built on it, and from an image; and nothing of it
# lies in the clear on this host. A gigabyte is hashed several times on the way, which takes minutes where the program is not optimized.
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
check "a type that encrypts" admin openstack volume type create --encryption-provider luks --encryption-cipher aes-xts-plain64 \
  --encryption-key-size 256 --encryption-control-location front-end secret
check "server create" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --wait holder
one=$(floating holder)
reachable holder "$one"
is() { eventually "$1 $2 is $3" 300 sh -c "openstack $1 show $2 -f value -c status | grep -qx $3"; }
use() { # use VOLUME WHAT COMMAND: the guest does something with the volume
  check "attach $1" openstack server add volume holder "$1"
  eventually "the guest sees $1" 30 guest "$one" 'test -b /dev/vdb'
  check "$2" guest "$one" "$3"
  check "detach $1" openstack server remove volume holder "$1"
  is volume "$1" available
  eventually "the guest no longer has $1" 30 guest "$one" 'test ! -b /dev/vdb'
}
mark=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
check "volume create" openstack volume create --size 1 --type secret data
is volume data available
use data "write to it" "sudo mke2fs -q -t ext4 /dev/vdb && sudo mount -t ext4 /dev/vdb /mnt && sudo sh -c 'echo first-$mark > /mnt/f' && sudo umount /mnt"
check "backup" openstack volume backup create --name full data
is "volume backup" full available
use data "write more" "sudo mount -t ext4 /dev/vdb /mnt && sudo sh -c 'echo second-$mark > /mnt/g' && sudo umount /mnt"
check "incremental backup" openstack volume backup create --name step --incremental data
is "volume backup" step available
check "image of it" openstack image create --volume data secret-image
is image secret-image active
is volume data available
check "volume delete" openstack volume delete data

check "restore the first" openstack volume backup restore full back
is volume back available
use back "what was written first is there, and no more" "sudo mount -t ext4 /dev/vdb /mnt && grep -q first-$mark /mnt/f && test ! -e /mnt/g && sudo umount /mnt"
check "restore the second over it" openstack volume backup restore --force step back
is volume back available
use back "what was written later is there" "sudo mount -t ext4 /dev/vdb /mnt && grep -q first-$mark /mnt/f && grep -q second-$mark /mnt/g && sudo umount /mnt"
refuse "not into the clear" '400|type' openstack volume create --size 1 --image secret-image clear
check "a volume of the image" openstack volume create --size 1 --type secret --image secret-image copy
is volume copy available
use copy "all of it is there" "sudo mount -t ext4 /dev/vdb /mnt && grep -q second-$mark /mnt/g && sudo umount /mnt"
expect "nothing of it lies here in the clear" '^0$' sh -c "grep -rlF -D skip first-$mark '$state' | wc -l"
check "a new master key" "$bin" --state-dir "$state" cinder-manage rotate-master-key
use back "it opens as before" "sudo mount -t ext4 /dev/vdb /mnt && grep -q first-$mark /mnt/f && sudo umount /mnt"
check "delete the server" openstack server delete --wait holder
check "delete the volumes" openstack volume delete back copy
check "delete the image" openstack image delete secret-image
check "delete what builds on the other" openstack volume backup delete step
eventually "it is gone" 30 sh -c '! openstack volume backup show step'
check "delete the other" openstack volume backup delete full
