#!/bin/bash
# The newest python-openstackclient, unmodified, against simulated hosts: every command the first release promises.
. "$(dirname "$0")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
cloud --sim-hosts 3

expect "token issue" 'gAAAA' openstack token issue
expect "catalog list" 'compute' openstack catalog list
expect "project list" 'demo' openstack project list
expect "user list" 'admin' openstack user list
expect "role list" 'manager' openstack role list
expect "role assignment list" 'admin' openstack role assignment list --names
refuse "a wrong password" '401' openstack --os-password wrong token issue

# images
head -c 3000000 /dev/urandom >"$work/blob"
check "image create" openstack image create --disk-format raw --container-format bare --file "$work/blob" --property os_distro=none blob
expect "image list" 'blob +\| active' openstack image list
expect "image show" 'os_distro' openstack image show blob -f json
check "image set" openstack image set --property colour=blue blob
check "image save" openstack image save --file "$work/back" blob
check "the image came back whole" cmp "$work/blob" "$work/back"
check "image delete" openstack image delete blob
refuse "image show after delete" 'No Image found|Could not find|404' openstack image show blob

# flavors, keys
expect "flavor list" 'm1.xlarge' openstack flavor list
expect "flavor show" '"ram": 128' openstack flavor show m1.nano -f json
check "keypair create" sh -c "umask 077; openstack keypair create generated >'$work/key' && ssh-keygen -y -f '$work/key' >/dev/null"
check "keypair create (generated)" grep -q PRIVATE "$work/key"
ssh-keygen -q -t ed25519 -N '' -f "$work/mine"
check "keypair create (imported)" openstack keypair create --public-key "$work/mine.pub" mine
expect "keypair list" 'mine' openstack keypair list
expect "keypair show" 'ssh' openstack keypair show mine
check "keypair delete" openstack keypair delete generated

# networks
check "network create" openstack network create net1
check "subnet create" openstack subnet create --network net1 --subnet-range 10.7.0.0/24 sub1
expect "network show" 'ACTIVE' openstack network show net1
expect "subnet list" '10.7.0.0/24' openstack subnet list
check "port create" openstack port create --network net1 --fixed-ip subnet=sub1,ip-address=10.7.0.77 port1
expect "port list" '10.7.0.77' openstack port list
check "router create" openstack router create r1
check "router set gateway" openstack router set --external-gateway public r1
check "router add subnet" openstack router add subnet r1 sub1
expect "router show" '172.24.4' openstack router show r1 -f json
check "security group create" openstack security group create sg1
check "security group rule create" openstack security group rule create --protocol tcp --dst-port 80:81 --remote-ip 10.0.0.0/8 sg1
expect "security group rule list" '80:81' openstack security group rule list sg1
check "floating ip create" openstack floating ip create --port port1 public
expect "floating ip list" '10.7.0.77' openstack floating ip list
for id in $(openstack floating ip list -f value -c ID); do check "floating ip delete" openstack floating ip delete "$id"; done

# volumes
check "volume create" openstack volume create --size 1 vol1
eventually "volume becomes available" 30 sh -c 'openstack volume show vol1 -f value -c status | grep -q available'
expect "volume list" 'vol1' openstack volume list

# servers
check "server create" openstack server create --flavor m1.nano --image cumulo-guest --network net1 --key-name mine --security-group sg1 \
  --user-data "$work/mine.pub" --config-drive True --property a=b --wait s1
expect "server list" 's1 +\| ACTIVE' openstack server list
expect "server list by name" 's1' openstack server list --name '^s1$' --all-projects
expect "server show" 'ACTIVE' openstack server show s1
check "server create with a given port" openstack server create --flavor m1.nano --image cumulo-guest --nic port-id=port1 --wait s2
check "server create, several" openstack server create --flavor m1.nano --image cumulo-guest --network net1 --min 2 --max 2 --wait many
expect "the several are numbered" 'many-2' openstack server list
check "server create in a zone" openstack server create --flavor m1.nano --image cumulo-guest --network net1 --availability-zone nova --wait zoned
refuse "an unknown zone" 'availability zone' openstack server create --flavor m1.nano --image cumulo-guest --network net1 --availability-zone mars s9
refuse "an unknown flavor" 'No Flavor found|could not be found|No flavor' openstack server create --flavor huge --image cumulo-guest --network net1 s9
check "server create from a volume" openstack server create --flavor m1.nano --image cumulo-guest --network net1 --boot-from-volume 1 --wait booted
check "server add volume" openstack server add volume s1 vol1
eventually "the volume is in use" 30 sh -c 'openstack volume show vol1 -f value -c status | grep -q in-use'
check "server remove volume" openstack server remove volume s1 vol1
eventually "the volume is free again" 30 sh -c 'openstack volume show vol1 -f value -c status | grep -q available'
fip=$(openstack floating ip create public -f value -c floating_ip_address)
check "server add floating ip" openstack server add floating ip s1 "$fip"
eventually "the floating ip shows" 15 sh -c "openstack server show s1 -f value -c addresses | grep -q $fip"
check "server remove floating ip" openstack server remove floating ip s1 "$fip"
check "server stop" openstack server stop s1
eventually "s1 is SHUTOFF" 30 sh -c 'openstack server show s1 -f value -c status | grep -q SHUTOFF'
check "server start" openstack server start s1
eventually "s1 is ACTIVE again" 30 sh -c 'openstack server show s1 -f value -c status | grep -q ACTIVE'
check "server reboot (soft)" openstack server reboot --wait s1
check "server reboot (hard)" openstack server reboot --hard --wait s1
check "console log show" openstack console log show s1
expect "server event list" 'create' openstack server event list s1
request=$(openstack server event list s1 -f value -c "Request ID" -c Action | awk '$2=="create"{print $1}')
expect "server event show" 'compute' openstack server event show s1 "$request"
expect "timeline" 'nova-compute' "$bin" --state-dir "$state" server timeline s1
expect "quota show" 'cores' openstack quota show
expect "hypervisor list" 'up' openstack hypervisor list
expect "hypervisor show" 'state' openstack hypervisor show "$(openstack hypervisor list -f value -c ID | head -1)"
expect "compute service list" 'nova-conductor' openstack compute service list
expect "availability zone list" 'nova' openstack availability zone list
provider=$(openstack resource provider list -f value -c uuid | head -1)
expect "resource provider list" . echo "$provider"
expect "resource provider inventory list" 'VCPU' openstack resource provider inventory list "$provider"
expect "resource provider allocation show" 'MEMORY_MB' openstack resource provider allocation show "$(field id server show s1)"
for name in s1 s2 many-1 many-2 zoned booted; do check "server delete $name" openstack server delete --wait "$name"; done
absent "no port of a server is left" 'compute:' openstack port list --long
expect "no allocation is left" '^$' sh -c "openstack resource provider usage show $provider -f value -c usage | grep -v '^0$' | tr -d '\n'; echo"
check "volume delete" openstack volume delete vol1

# what was made goes away
check "port delete" openstack port delete port1
check "router unset gateway" openstack router unset --external-gateway r1
check "router remove subnet" openstack router remove subnet r1 sub1
check "router delete" openstack router delete r1
check "security group delete" openstack security group delete sg1
check "subnet delete" openstack subnet delete sub1
check "network delete" openstack network delete net1

# the other user sees none of it
export OS_CLOUD=cumulo-demo
unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_USER_DOMAIN_NAME OS_PROJECT_DOMAIN_NAME
expect "demo sees its network" 'private' openstack network list
refuse "demo may not list hypervisors" '403' openstack hypervisor list
