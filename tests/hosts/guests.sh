#!/bin/bash
# A controller and two compute hosts with real guests: one on each, on one network across the hosts, and they outlive their host's processes.
. "$(dirname "$0")/lib.bash"
two_hosts
one_network
for n in 1 2; do
  check "guest on h$n" openstack server create --flavor m1.nano --image cumulo-guest --network net --security-group open \
    --availability-zone nova:h$n --wait g$n
done
# power NAME NUMBER: whether a host's process has this of root's capabilities.
power() { [ $((0x$(on "$1" sed -n 's/^CapBnd:\t//p' "/proc/$(cat "$work/$1/cumulo.pid")/status") >> $2 & 1)) = 1 ]; }
check "a host changes networks" power h1 12
for n in 16 17 22 25; do refuse "a host has not the power $n of root" '^$' power h1 $n; done

# From where the network's DHCP server is, one guest is across the wire.
reached() { from_network ping -c 1 -W 2 "$1"; }
for n in 1 2; do eventually "g$n is reached" 120 reached "$(address g$n)"; done

# The host's processes die and come back; guests go on.
before=$(on h2 pgrep -f qemu-system)
crash h2
eventually "g2 goes on without its host's processes" 20 reached "$(address g2)"
host h2
ready h2
expect "it is the same process" "^$before\$" on h2 pgrep -f qemu-system
expect "and ACTIVE" ACTIVE openstack server show g2 -f value -c status
stop_nats
start_nats
check "stop after the bus was away" openstack server stop g2
eventually "g2 is stopped" 90 sh -c '[ "$(openstack server show g2 -f value -c status)" = SHUTOFF ]'
check "delete" openstack server delete --wait g1 g2
for n in 1 2; do
  absent "no guest is left on h$n" 'cut' on h$n ip -o link
done
all_fits "when all is deleted"
