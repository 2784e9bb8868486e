#!/bin/bash
# Three machines: a controller with several processes of each kind, and two compute hosts. Any of them may die; nothing is lost.
. "$(dirname "$0")/lib.bash"
inviting=api
wire
start_nats
mkdir -m 700 "$work/shared"

# Two of each that there may be several of. The second APIs stand on ports of their own, as a balancer would have them.
control api keystone,glance-api,placement,cinder-api
control nova1 nova-api
control nova2 nova-api "ports = { nova = 18774 }" "endpoints = { nova = 'http://$controller:8774' }"
control conductor1 nova-conductor,nova-scheduler
control conductor2 nova-conductor,nova-scheduler
control neutron1 neutron-server
control neutron2 neutron-server "ports = { neutron = 19696 }" "endpoints = { neutron = 'http://$controller:9696' }"
ready api nova1 nova2 conductor1 conductor2 neutron1 neutron2
. "$work/api/openrc"

machine h1 10.99.0.11
machine h2 10.99.0.12
host h1 --sim-hosts 1
host h2 --sim-hosts 1
ready h1 h2
both() { [ "$(openstack hypervisor list -f value -c 'Hypervisor Hostname' -c State | grep -c up)" = 2 ]; }
eventually "both hosts are there" 60 both

# powers NAME: the capabilities of a process, as it has them and as whatever it starts may have them.
powers() { grep -E '^Cap(Eff|Prm|Bnd):' "/proc/$(cat "$work/$1/cumulo.pid")/status" | awk '{print $2}' | sort -u; }
for name in api nova1 conductor1 neutron1; do expect "$name has no power of root" '^0{16}$' powers $name; done

# a host logs in as itself, and is no administrator; on the bus it says and hears what is its own
password=$(sed -n 's/^service_password = "\(.*\)"/\1/p' "$work/h1/secrets.toml")
as_h1() { OS_USERNAME=host-h1 OS_PASSWORD=$password OS_PROJECT_NAME=service openstack "$@"; }
check "a host logs in" as_h1 token issue
refuse "it does not see users" '403' as_h1 user list
refuse "it makes no flavor" '403' as_h1 flavor create --ram 1 --vcpus 1 own
refuse "it changes no host" '403' as_h1 compute service set --disable h2 nova-compute
says() {
  local answer
  exec 3<>"/dev/tcp/$controller/4222"
  printf 'CONNECT {"verbose":false,"user":"host-h1","pass":"%s"}\r\n%s\r\nPING\r\n' "$password" "$1" >&3
  answer=$(timeout 5 sed -E '/^(PONG|-ERR)/q' <&3)
  exec 3>&-
  grep -E '^(PONG|-ERR)' <<<"$answer"
}
publish() { says "PUB cumulo.$1 0"$'\r\n'; }
expect "it speaks for itself" PONG publish h1.conductor
for other in h2.conductor control.conductor h1.compute.h2 h1.scheduler; do
  expect "and does not say $other" 'Permissions Violation' publish "$other"
done
expect "it hears what is said to it" PONG says 'SUB cumulo.*.compute.h1 compute.h1 1'
for other in compute.h2 conductor neutron; do
  expect "and not what is said to $other" 'Permissions Violation' says "SUB cumulo.*.$other 1"
done

# at NAME STATUS COUNT: so many servers of this name are in this status.
at() { [ "$(openstack server list --name "$1" --status "$2" -f value -c ID | wc -l)" = "$3" ]; }
# boots NAME COUNT: asked for at once, and acknowledged.
boots() { check "$2 servers $1" openstack server create --flavor m1.nano --image cumulo-guest --network net --min "$2" --max "$2" "$1"; }
used() { openstack server list --long -f value -c Host | sort -u | tr '\n' ' '; }

check "quota" openstack quota set --instances 100 --cores 100 --ram -1 admin
check "network" openstack network create net
check "subnet" openstack subnet create --network net --subnet-range 10.5.0.0/24 sub
boots a 6
eventually "all are ACTIVE" 90 at a ACTIVE 6
expect "on both hosts" 'h1 h2' used

# a token revoked at keystone is refused by the others within a second
token=$(openstack token issue -f value -c id)
list() { curl -s -o /dev/null -w '%{http_code}' -H "x-auth-token: $token" "http://$controller:18774/v2.1/servers"; }
expect "the second nova-api answers" 200 list
check "token revoke" openstack token revoke "$token"
sleep 1.1
expect "and refuses a revoked token" 401 list

# a compute host dies: what is asked for meanwhile goes to the other; what it had is there when it comes back
crash h1
boots b 4
eventually "the other host takes them" 120 at b ACTIVE 4
host h1 --sim-hosts 1
ready h1
expect "those it had are still ACTIVE" '^6$' sh -c "openstack server list --name a --status ACTIVE -f value -c ID | wc -l"
boots c 6
sleep 0.3
crash h1
host h1 --sim-hosts 1
ready h1
eventually "boots under way on it end well" 120 at c ACTIVE 6

# a conductor dies during boots; another takes up what it did
boots d 8
crash conductor1
eventually "the other conductor goes on" 120 at d ACTIVE 8
control conductor1 nova-conductor,nova-scheduler

# the bus dies during boots
boots e 8
stop_nats
sleep 2
start_nats
eventually "boots go on when the bus is back" 120 at e ACTIVE 8

# the neutron-server that speaks with the hosts dies; the other does so
ready conductor1
speaker=$(grep -l 'held=true' "$work"/neutron?/log/neutron/*.log "$work"/neutron?/log/cumulo.log 2>/dev/null | grep -o 'neutron[12]/' | head -1)
crash neutron1
control neutron1 neutron-server
ready neutron1
boots f 4
eventually "networks are wired without ${speaker%/}" 120 at f ACTIVE 4

# the database dies in the middle of transactions: what was acknowledged is in it, and goes on
ready neutron1
boots g 8
restart_postgres
eventually "boots go on when PostgreSQL is back" 120 at g ACTIVE 8

# keystone, glance, placement and cinder die during boots
boots h 4
crash api
control api keystone,glance-api,placement,cinder-api
ready api
eventually "boots go on when what they asked is back" 120 at h ACTIVE 4

# one host is cut off for as long as it takes to be missed: what is asked for meanwhile goes to the other
ip link set w-h1 down
only_h2() { [ "$(openstack hypervisor list -f value -c 'Hypervisor Hostname' -c State | grep up)" = "h2 up" ]; }
eventually "the host is missed" 120 only_h2
boots i 4
eventually "the other host takes them" 60 at i ACTIVE 4
# one of those it runs is made anew on the other; it ends it when it is heard again, and nothing else
evacuated=$(openstack server list --name a --host h1 -f value -c ID | head -1)
check "evacuate" openstack --os-compute-api-version 2.29 server evacuate --host h2 "$evacuated"
moved() { [ "$(field OS-EXT-SRV-ATTR:host server show "$evacuated")" = h2 ] && status_of server "$evacuated" ACTIVE; }
eventually "it is on the other host" 60 moved
ip link set w-h1 up
eventually "the host is there again" 60 both
ended() { grep -h 'was evacuated while the host was cut off' "$work/h1/log/nova/nova-compute.log"; }
eventually "it ends what it lost" 60 ended
expect "and nothing else" "^1\$" sh -c "grep -c 'was evacuated' '$work/h1/log/nova/nova-compute.log'"
expect "which the other has" "$evacuated.*|instance=.?$evacuated" ended
boots j 4
eventually "and takes servers again" 60 at j ACTIVE 4

# nothing is lost, and nothing is left
expect "every server that was acknowledged is ACTIVE" '^56$' sh -c "openstack server list --status ACTIVE -f value -c ID | wc -l"
all_fits "after all this"
check "server delete" sh -c "openstack server delete \$(openstack server list -f value -c ID)"
eventually "all are gone" 120 sh -c '[ -z "$(openstack server list -f value -c ID)" ]'
eventually "no port is left" 30 sh -c '[ -z "$(openstack port list --device-owner compute:nova -f value -c ID)" ]'
no_usage() { for p in $(openstack resource provider list -f value -c uuid); do openstack resource provider usage show "$p" -f value; done | awk '{n += $2} END {exit n > 0}'; }
check "no allocation is left" no_usage
all_fits "when all is deleted"
