#!/bin/bash
# The newest python-openstackclient, unmodified, against simulated hosts: every action on a server.
. "$(dirname "$0")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
cloud --sim-hosts 3

# becomes NAME STATUS: the server comes to rest in this state.
becomes() { eventually "$1 is $2" 60 sh -c "openstack server show $1 -f value -c status -c OS-EXT-STS:task_state | tr '\n' ' ' | grep -qE '^(None $2|$2 None) *$'"; }

check "network create" openstack network create net1
check "subnet create" openstack subnet create --network net1 --subnet-range 10.7.0.0/24 sub1
check "server create" openstack server create --flavor m1.nano --image cumulo-guest --network net1 --wait s1
explain() { "$bin" --state-dir "$state" server explain "$1"; }
expect "who asks is told where a server is" 's1 \(.*\) is ACTIVE, on ' explain s1
expect "and which filters its host passed" 'ComputeFilter +3 -> 3' explain s1
expect "and that it was claimed there" 'chosen and claimed: ' explain s1
check "server create where no host suits" openstack server create --flavor m1.nano --image cumulo-guest --network net1 \
  --hint 'query=["=", "$host", "nowhere"]' lost; becomes lost ERROR
expect "who asks is told that it is nowhere" 'lost \(.*\) is ERROR, on no host' explain lost
expect "and which filter left none" 'JsonFilter +3 -> 0 +none is left' explain lost
expect "and the fault" 'fault: No valid host was found' explain lost
check "server delete" openstack server delete --wait lost
check "server pause" openstack server pause s1; becomes s1 PAUSED
refuse "a paused server cannot be suspended" 'while it is in vm_state paused' openstack server suspend s1
check "server unpause" openstack server unpause s1; becomes s1 ACTIVE
check "server suspend" openstack server suspend s1; becomes s1 SUSPENDED
check "server resume" openstack server resume s1; becomes s1 ACTIVE
check "server lock" openstack --os-compute-api-version 2.73 server lock --reason mine s1
expect "the reason shows" 'mine' openstack --os-compute-api-version 2.73 server show s1
check "server unlock" openstack server unlock s1
check "server rescue" openstack server rescue s1; becomes s1 RESCUE
check "server unrescue" openstack server unrescue s1; becomes s1 ACTIVE
check "server rebuild" openstack server rebuild --image cumulo-guest --wait s1; becomes s1 ACTIVE
check "server image create" openstack server image create --name snap --wait s1; becomes s1 ACTIVE
expect "the image is active" 'active' openstack image show snap -f value -c status
check "server backup create" openstack server backup create --name back --type daily --rotate 1 --wait s1; becomes s1 ACTIVE
check "server resize" openstack server resize --flavor m1.tiny s1; becomes s1 VERIFY_RESIZE
check "server resize revert" openstack server resize revert s1; becomes s1 ACTIVE
expect "the flavor is the old one" 'm1.nano' openstack server show s1 -f value -c flavor
check "server resize again" openstack server resize --flavor m1.tiny s1; becomes s1 VERIFY_RESIZE
check "server resize confirm" openstack server resize confirm s1; becomes s1 ACTIVE
expect "the flavor is the new one" 'm1.tiny' openstack server show s1 -f value -c flavor
check "server migrate" openstack server migrate s1; becomes s1 VERIFY_RESIZE
check "server migration confirm" openstack server migrate confirm s1; becomes s1 ACTIVE
expect "server migration list" 'confirmed' openstack --os-compute-api-version 2.80 server migration list --server s1
check "server shelve" openstack server shelve s1; becomes s1 SHELVED_OFFLOADED
check "server unshelve" openstack server unshelve s1; becomes s1 ACTIVE
check "server set property" openstack server set --property a=b --name s1 s1
check "server unset property" openstack server unset --property a s1
check "server set tag" openstack --os-compute-api-version 2.26 server set --tag t s1
expect "server list by tag" 's1' openstack --os-compute-api-version 2.26 server list --tags t
check "server set state" openstack server set --auto-approve --state error s1; becomes s1 ERROR
check "server set state active" openstack server set --auto-approve --state active s1; becomes s1 ACTIVE
refuse "a simulated guest has no console to show" "not ready" openstack console url show s1
check "server add network" openstack server add network s1 net1
expect "server event list" 'shelve' openstack server event list s1
expect "diagnostics" 'memory' openstack --os-compute-api-version 2.48 server show --diagnostics s1
expect "server list by regular expression" 's1' openstack server list --name '^s[0-9]+$'
check "server delete" openstack server delete --wait s1
expect "no allocation is left" '^0 *$' sh -c 'for p in $(openstack resource provider list -f value -c uuid); do openstack resource provider usage show $p -f value -c usage; done | sort -u | tr "\n" " "'
check "image delete" openstack image delete snap
check "subnet delete" openstack subnet delete sub1
check "network delete" openstack network delete net1
