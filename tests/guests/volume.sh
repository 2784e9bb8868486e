#!/bin/bash
# A volume attached to a running guest, written, detached, attached to another; a guest that boots from one; a network without DHCP.
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
check "first" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --wait first
one=$(floating first)
reachable first "$one"
check "volume create" openstack volume create --size 1 data
eventually "volume is available" 30 sh -c 'openstack volume show data -f value -c status | grep -q available'
check "attach" openstack server add volume first data
eventually "the guest sees it" 20 guest "$one" 'test -b /dev/vdb'
check "write to it" guest "$one" 'sudo mke2fs -q -t ext4 /dev/vdb && sudo mount -t ext4 /dev/vdb /mnt && sudo sh -c "echo kept > /mnt/f" && sync && sudo umount /mnt'
check "detach" openstack server remove volume first data
eventually "volume is available again" 60 sh -c 'openstack volume show data -f value -c status | grep -q available'
eventually "the guest no longer has it" 30 guest "$one" 'test ! -b /dev/vdb'

# the same volume at boot of another
vid=$(field id volume show data)
check "second, with the volume" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key \
  --block-device "uuid=$vid,source_type=volume,destination_type=volume,boot_index=-1" --wait second
two=$(floating second)
reachable second "$two"
expect "what was written is there" '^kept$' guest "$two" 'sudo mount -t ext4 /dev/vdb /mnt && cat /mnt/f'
check "delete" openstack server delete --wait first second
eventually "volume outlives the server" 30 sh -c 'openstack volume show data -f value -c status | grep -q available'
check "volume delete" openstack volume delete data

# boot from a volume made from the image
check "third, from a volume" openstack server create --flavor m1.nano --image cumulo-guest --boot-from-volume 1 --network private --key-name key --wait third
three=$(floating third)
reachable third "$three"
check "delete" openstack server delete --wait third

# no DHCP: the config drive carries the address
check "network without DHCP" openstack network create static
check "subnet without DHCP" openstack subnet create --network static --subnet-range 10.9.0.0/24 --no-dhcp static
check "router interface" openstack router add subnet router1 static
check "fourth, by config drive" openstack server create --flavor m1.nano --image cumulo-guest --network static --key-name key --config-drive True --wait fourth
four=$(floating fourth)
reachable "fourth, without DHCP" "$four"
check "delete" openstack server delete --wait fourth
