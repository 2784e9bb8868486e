#!/bin/bash
# Everything the API can do with a server that exists, done to a real guest by the openstack client; what the guest should keep it keeps.
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
admin openstack flavor create --vcpus 2 --ram 192 --disk 2 m1.micro >/dev/null
check "first" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --wait first
one=$(floating first)
reachable first "$one"
boot_id() { guest "$one" cat /proc/sys/kernel/random/boot_id; }
status_is() { [ "$(field status server show first)" = "$1" ]; }
becomes() { eventually "first is $1" "$2" status_is "$1"; }
booted=$(boot_id)

# standing still: the same boot goes on
check "pause" openstack server pause first
becomes PAUSED 30
check "unpause" openstack server unpause first
becomes ACTIVE 30
expect "it went on after the pause" "^$booted\$" boot_id
check "suspend" openstack server suspend first
becomes SUSPENDED 60
check "resume" openstack server resume first
becomes ACTIVE 60
eventually "it goes on after the suspension" 30 guest "$one" true
expect "it is the same boot" "^$booted\$" boot_id

# what comes and goes while it runs
check "port create" openstack port create --network private extra
check "interface attach" openstack server add port first extra
eventually "the guest sees it" 20 guest "$one" 'test -e /sys/class/net/eth1'
check "interface detach" openstack server remove port first extra
eventually "the guest no longer has it" 30 guest "$one" 'test ! -e /sys/class/net/eth1'
check "volume create" openstack volume create --size 1 data
eventually "volume is available" 30 sh -c 'openstack volume show data -f value -c status | grep -q available'
check "volume attach" openstack server add volume first data
check "volume extend" openstack --os-volume-api-version 3.42 volume set --size 2 data
eventually "the guest sees the size" 60 guest "$one" 'test "$(cat /sys/block/vdb/size)" = 4194304'
check "volume detach" openstack server remove volume first data
eventually "volume is available again" 60 sh -c 'openstack volume show data -f value -c status | grep -q available'

# looked at
expect "diagnostics" 'num_cpus' admin openstack --os-compute-api-version 2.48 server show --diagnostics "$(field id server show first)"
url=$(field url console url show --novnc first)
expect "the console's page" 'noVNC' curl -s "$url"
token=${url##*%3D}
websocket() {
  curl -s -i --http1.1 --max-time 3 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' "${url%%/vnc_auto*}/?token=$token" | tr -d '\0'
  true
}
expect "the console greets" 'RFB 003.008' websocket
absent "its token is spent" 'RFB 003.008' websocket

# copies
check "image of a running guest" openstack server image create --name copy --wait first
expect "the image is active" '^active$' field status image show copy
guest "$one" 'echo kept > proof && sync'

# from here on it has the volume with it
check "volume attach again" openstack server add volume first data
eventually "the guest sees it" 20 guest "$one" 'test -b /dev/vdb'

# to another flavor and back, then for good
check "resize" openstack server resize --flavor m1.micro --wait first
becomes VERIFY_RESIZE 60
check "resize revert" openstack server resize revert first
becomes ACTIVE 60
reachable "first after the revert" "$one"
expect "one processor" '^1$' guest "$one" 'grep -c ^processor /proc/cpuinfo'
check "resize again" openstack server resize --flavor m1.micro --wait first
check "resize confirm" openstack server resize confirm first
becomes ACTIVE 60
reachable "first after the resize" "$one"
expect "two processors" '^2$' guest "$one" 'grep -c ^processor /proc/cpuinfo'
expect "the disk came along" '^kept$' guest "$one" cat proof
check "so did the volume" guest "$one" 'test -b /dev/vdb'

# rescued from another disk
check "rescue" openstack server rescue first
becomes RESCUE 60
reachable "first in rescue" "$one"
expect "its own disk and the volume are beside it" 'vdc' guest "$one" 'ls /sys/block'
check "unrescue" openstack server unrescue first
becomes ACTIVE 60
reachable "first after the rescue" "$one"

# off its host and back
check "shelve" openstack server shelve --wait first
check "unshelve" openstack server unshelve --wait first
reachable "first after shelving" "$one"
expect "the disk came back" '^kept$' guest "$one" cat proof
check "so did the volume" guest "$one" 'test -b /dev/vdb'

# anew
check "rebuild" openstack server rebuild --image cumulo-guest --wait first
reachable "first after the rebuild" "$one"
refuse "nothing is kept" 'No such file' guest "$one" cat proof
check "the volume is still there" guest "$one" 'test -b /dev/vdb'
check "delete" openstack server delete --wait first
eventually "volume is available again" 30 sh -c 'openstack volume show data -f value -c status | grep -q available'
check "volume delete" openstack volume delete data
