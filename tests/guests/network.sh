#!/bin/bash
# What a guest's network lets through and what it drops.
. "$(dirname "$0")/lib.bash"
world
check "group" openstack security group create open
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 open
check "first" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --security-group open --wait first
check "second" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --security-group open --wait second
one=$(floating first)
reachable first "$one"
two=$(floating second)
reachable second "$two"

# default deny, opened, closed
refuse "ping is not let in" '' ping -c 1 -W 2 "$one"
rule=$(openstack security group rule create --protocol icmp open -f value -c id)
eventually "a rule lets ping in" 10 ping -c 1 -W 2 "$one"
check "rule delete" openstack security group rule delete "$rule"
eventually "without the rule it is not let in" 10 sh -c "! ping -c 1 -W 2 $one"

# spoofing: an address that is not first's own
mine=$(address second)
check "rule for ping again" openstack security group rule create --protocol icmp open
eventually "first reaches second" 20 guest "$one" "sudo ping -c 1 -W 2 $mine"
refuse "a spoofed address is dropped" '100% packet loss|sendto' guest "$one" "sudo ip addr add 10.0.0.249/24 dev eth0; sudo ping -c 2 -W 2 -I 10.0.0.249 $mine"
eventually "its own still works" 20 guest "$one" "sudo ping -c 1 -W 2 $mine"

# out through the router: the other side sees the floating IP
expect "the outside sees the floating IP" "$one" sh -c "
  (timeout 20 tcpdump -c 1 -n -i any icmp and src host $one 2>/dev/null) & sleep 2
  ssh ${ssh_options[*]} -i $work/key cumulo@$one sudo ping -c 3 -W 2 172.24.4.1 >/dev/null; wait"

# two tenants with the same addresses
check "a second project's network" admin openstack network create other
check "with the same range" admin openstack subnet create --network other --subnet-range 10.0.0.0/24 other
check "router" admin openstack router create other
check "gateway" admin openstack router set --external-gateway public other
check "interface" admin openstack router add subnet other other
check "keypair" admin openstack keypair create --public-key "$work/key.pub" key
agroup=$(admin openstack security group create other -f value -c id)
check "rule" admin openstack security group rule create --protocol tcp --dst-port 22 "$agroup"
check "third" admin openstack server create --flavor m1.nano --image cumulo-guest --nic "net-id=$(admin openstack network show other -f value -c id),v4-fixed-ip=$mine" \
  --key-name key --security-group "$agroup" --wait third
afip=$(admin openstack floating ip create public -f value -c floating_ip_address)
check "floating ip" admin openstack server add floating ip third "$afip"
reachable "third, which has second's address" "$afip"
expect "it is third" '^third$' guest "$afip" hostname
expect "and second is still second" '^second$' guest "$two" hostname
expect "third's metadata is third's" 'third' guest "$afip" 'wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json'
check "delete" openstack server delete --wait first second
check "delete third" admin openstack server delete --wait third
