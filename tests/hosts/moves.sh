#!/bin/bash
# Real guests that change their host without running meanwhile: migrated and back, migrated for good, made anew elsewhere because their host is lost. A host
# that comes back ends what is not its own any more. Volumes are reached from wherever the guest is.
. "$(dirname "$0")/lib.bash"
two_hosts
one_network
check "flavor" openstack flavor create --vcpus 1 --ram 128 --disk 1 --ephemeral 1 --swap 64 m1.whole
check "guest" openstack server create --flavor m1.whole --image cumulo-guest --network net --security-group open --key-name key \
  --availability-zone nova:h1 --wait g
id=$(field id server show g) one=$(address g)
eventually "ssh to it" 300 guest "$one" true
on_host() { [ "$(field OS-EXT-SRV-ATTR:host server show g)" = "$1" ]; }
guests_on() { [ "$(on "$1" pgrep -cf "^qemu-system.*$id")" = "$2" ]; }
nothing_on() {
  eventually "no QEMU on $1" 60 guests_on "$1" 0
  absent "no tap on $1" 'cut' on "$1" ip -o link
  absent "no file on $1" "$id" ls "$work/$1/instances"
  refuse "nobody serves its disks on $1" '^$' on "$1" pgrep -af "qemu-nbd.*$id"
}

# A volume on each host: whichever the guest is on, one of them is elsewhere.
check "volume" openstack volume create --size 1 data1
eventually "data1 is available" 60 status_of volume data1 available
check "volume on the other host" openstack volume create --size 1 --hint different_host="$(field id volume show data1)" data2
eventually "data2 is available" 60 status_of volume data2 available
for n in 1 2; do check "attach data$n" openstack server add volume g data$n; done
volumes() { guest "$one" 'for d in /dev/vdd /dev/vde; do sudo dd if=$d bs=512 count=1 2>/dev/null | head -c 4; done'; }
eventually "the guest sees both" 60 guest "$one" 'test -b /dev/vdd && test -b /dev/vde'
check "files" guest "$one" 'echo kept > proof; sync; for d in /dev/vdd /dev/vde; do echo kept | sudo dd of=$d conv=fsync; done'
kept() {
  eventually "ssh to it on $1" 300 guest "$one" true
  expect "its file is there" '^kept$' guest "$one" cat proof
  expect "its volumes are there" 'keptkept' volumes
}

# cold, and back
check "migrate" openstack server migrate --host h2 --wait g
eventually "it waits for a word" 120 status_of server g VERIFY_RESIZE
check "it is on h2" on_host h2
kept h2
check "revert" openstack server migrate revert g
eventually "as before" 120 status_of server g ACTIVE
check "it is on h1" on_host h1
kept h1
nothing_on h2

# cold, for good
check "migrate" openstack server migrate --host h2 --wait g
eventually "it waits for a word" 120 status_of server g VERIFY_RESIZE
check "confirm" openstack server migrate confirm g
eventually "it is so" 60 status_of server g ACTIVE
kept h2
nothing_on h1

# a volume of the host that is about to be lost would be lost with it
for n in 1 2; do
  case $(field os-vol-host-attr:host volume show data$n) in h2@*) lost=data$n ;; esac
done
check "detach the volume that h2 keeps" openstack server remove volume g "$lost"
eventually "it is free" 60 status_of volume "$lost" available

# a host is only cut off: what was made anew elsewhere meanwhile ends there when it is heard again, though none of its processes ended
check "another guest" openstack server create --flavor m1.nano --image cumulo-guest --network net --availability-zone nova:h2 --wait other
other=$(field id server show other)
runs() { [ "$(on "$1" pgrep -cf "^qemu-system.*$other")" = "$2" ]; }
is_down() { [ "$(openstack compute service list --service nova-compute --host h2 -f value -c State)" = down ]; }
ip link set w-h2 down
eventually "h2 is missed" 120 is_down
check "evacuate" openstack --os-compute-api-version 2.29 server evacuate --host h1 other
eventually "it is made anew" 300 runs h1 1
check "h2 runs it still" runs h2 1
ip link set w-h2 up
eventually "h2 ends it" 60 runs h2 0
eventually "both hosts are there" 60 hosts_are_up 2
check "the new one goes on" runs h1 1
check "delete" openstack server delete --wait other
check "what is h2's by right goes on" guests_on h2 1

# its host is lost, or so it seems: it runs elsewhere, and the host that comes back ends what it had
crash h2
eventually "h2 is down" 120 is_down
# without --wait, with which the client of today looks for a word that it never reads
check "evacuate" openstack --os-compute-api-version 2.29 server evacuate --host h1 g
eventually "it is on h1" 120 on_host h1
eventually "ssh to the new one" 300 guest "$one" true
refuse "made anew, it has no file" 'No such file' guest "$one" cat proof
expect "its volume is the old one" '^kept' guest "$one" 'sudo dd if=/dev/vdd bs=512 count=1 2>/dev/null'
host h2
ready h2
nothing_on h2
eventually "it is reached now that the old one is gone" 60 guest "$one" true
check "delete" openstack server delete --wait g
nothing_on h1
for n in 1 2; do eventually "data$n is available again" 60 status_of volume data$n available; done
all_fits "when the guest is deleted"
