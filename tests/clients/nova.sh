#!/bin/bash
# python-novaclient of two ages, unmodified: 18.x, and 2.26.0, which knows only identity v2.0 and asks nova itself for images.
. "$(dirname "$0")/../lib.sh"
new=$("$here/scripts/venv" openstack)/bin/nova
old=$("$here/scripts/venv" nova-legacy)/bin/nova
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
cloud --sim-hosts 2
net=$(openstack network create -f value -c id net1)
check "subnet create" openstack subnet create --network net1 --subnet-range 10.8.0.0/24 sub1
guest=$(field id image show cumulo-guest)

# 18.x
expect "nova list" 'Status' "$new" list
expect "nova flavor-list" 'm1.tiny' "$new" flavor-list
check "nova boot" "$new" boot --flavor m1.nano --image "$guest" --nic "net-id=$net" --poll n1
expect "nova show" 'ACTIVE' "$new" show n1
expect "nova instance-action-list" 'create' "$new" instance-action-list n1
check "nova stop" "$new" stop n1
eventually "n1 is SHUTOFF" 30 sh -c "$new show n1 | grep -q SHUTOFF"
check "nova start" "$new" start n1
eventually "n1 is ACTIVE" 30 sh -c "$new show n1 | grep -q ' ACTIVE '"
check "nova console-log" "$new" console-log n1
expect "nova hypervisor-list" 'up' "$new" hypervisor-list
expect "nova service-list" 'nova-compute' "$new" service-list
expect "nova quota-show" 'instances' "$new" quota-show
check "nova delete" "$new" delete n1

# 2.26.0, as in the walk-throughs of its time
export OS_AUTH_URL=http://127.0.0.1:35357/v2.0 OS_TENANT_NAME=admin
unset OS_IDENTITY_API_VERSION OS_USER_DOMAIN_NAME OS_PROJECT_DOMAIN_NAME OS_PROJECT_NAME OS_CLIENT_CONFIG_FILE
expect "legacy nova boot" 'BUILD|ACTIVE' "$old" --debug boot ubuntu_test --flavor 2 --image "$guest" --num-instance 1 --nic "net-id=$net"
eventually "ubuntu_test is ACTIVE" 30 sh -c "$old show ubuntu_test | grep -q ' ACTIVE '"
expect "legacy nova list" 'ubuntu_test' "$old" list
expect "legacy nova image-list" 'cumulo-guest' "$old" image-list
expect "legacy nova flavor-list" 'm1.small' "$old" flavor-list
check "legacy nova reboot" "$old" reboot --poll ubuntu_test
check "legacy nova boot, simplest form" "$old" boot simplest --flavor 42 --image "$guest" --nic "net-id=$net" --poll
check "legacy nova delete" "$old" delete ubuntu_test simplest
eventually "both are gone" 30 sh -c "! $old list | grep -qE 'ubuntu_test|simplest'"
