#!/bin/bash
# Real guests booted through each of the three clients, and what they find in themselves.
. "$(dirname "$0")/lib.bash"
world
new=$("$here/scripts/venv" openstack)/bin/nova
old=$("$here/scripts/venv" nova-legacy)/bin/nova
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
check "rule for ping" openstack security group rule create --protocol icmp "$group"
printf '#!/bin/sh\necho user-data-ran > /home/cumulo/proof\n' >"$work/user-data"

# openstack
check "openstack server create --wait" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key \
  --user-data "$work/user-data" --property purpose=test --wait first
one=$(floating first)
reachable first "$one"
expect "the host name is the server's" '^first$' guest "$one" hostname
expect "metadata is this server's" "$(field id server show first)" guest "$one" 'wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json'
expect "metadata carries the property" '"purpose": ?"test"' guest "$one" 'wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json'
expect "EC2 metadata answers" "$(address first)" guest "$one" 'wget -q -O - http://169.254.169.254/latest/meta-data/local-ipv4'
eventually "user data ran" 30 guest "$one" 'grep -q user-data-ran /home/cumulo/proof'
expect "the root disk has the flavor's size" '^(9[0-9][0-9]|10[0-9][0-9])$' guest "$one" "df -m / | awk 'NR==2{print \$2}'"
expect "the console says who it is" 'login:' openstack console log show first

# nova 18.x: a second guest on the same network, by config drive
net=$(field id network show private)
img=$(field id image show cumulo-guest)
demo_password=$(sed -n '/cumulo-demo/,$s/^ *password: //p' "$state/clouds.yaml")
check "nova boot" env OS_AUTH_URL=http://127.0.0.1:5000/v3 OS_USERNAME=demo OS_PASSWORD="$demo_password" OS_PROJECT_NAME=demo OS_USER_DOMAIN_NAME=Default \
  OS_PROJECT_DOMAIN_NAME=Default "$new" boot --flavor m1.nano --image "$img" --nic "net-id=$net" --key-name key --config-drive true --poll second
two=$(floating second)
reachable second "$two"
expect "second read its config drive" 'datasource config' guest "$two" "sudo dmesg"
expect "first reaches second" ' 0% packet loss' guest "$one" "sudo ping -c 2 -W 3 $(address second)"

# life
check "reboot, soft" openstack server reboot --wait first
reachable "first after the reboot" "$one"
check "stop" openstack server stop first
eventually "first is SHUTOFF" 60 sh -c 'openstack server show first -f value -c status | grep -q SHUTOFF'
check "start" openstack server start first
reachable "first after the start" "$one"
check "delete" openstack server delete --wait first second

# nova 2.26.0
check "legacy nova boot" env -u OS_CLOUD -u OS_CLIENT_CONFIG_FILE OS_AUTH_URL=http://127.0.0.1:35357/v2.0 OS_TENANT_NAME=demo OS_USERNAME=demo \
  OS_PASSWORD="$demo_password" "$old" boot ubuntu_test --flavor 42 --image "$img" --key-name key --num-instance 1 --nic "net-id=$net" --poll
three=$(floating ubuntu_test)
reachable ubuntu_test "$three"
check "delete" openstack server delete --wait ubuntu_test
