#!/bin/bash
# The cloud is killed, again and again, while guests boot: nothing acknowledged is lost, nothing is left over, running guests never notice.
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
check "steady" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --wait steady
one=$(floating steady)
reachable steady "$one"

# How many guests have a process; the test has a machine of its own, so that all are this cloud's.
qemus() { for process in /proc/[0-9]*; do readlink "$process/exe"; done | grep -c qemu-system; true; }

boot_id=$(guest "$one" cat /proc/sys/kernel/random/boot_id)

for pause in 0.05 0.3 0.8 2; do
  openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key "crash-$pause" >"$work/create" 2>&1 &
  create=$!
  # the client itself needs a second or two before it asks; wait for the request, then a little
  for _ in $(seq 100); do grep -q 'POST.*servers' "$state/log/nova/nova-api.log" 2>/dev/null && break; sleep 0.1; done
  wait $create
  sleep "$pause"
  crash
  check "the guest goes on without the cloud (after $pause s)" guest "$one" true
  cloud
  export OS_CLOUD=cumulo-demo; unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_USER_DOMAIN_NAME OS_PROJECT_DOMAIN_NAME
  eventually "crash-$pause ends ACTIVE or ERROR" 120 sh -c "openstack server show crash-$pause -f value -c status | grep -qE 'ACTIVE|ERROR'"
done
expect "steady was never rebooted" "^$boot_id$" guest "$one" cat /proc/sys/kernel/random/boot_id
expect "steady is still ACTIVE" 'ACTIVE' openstack server show steady
guests=$(openstack server list --status ACTIVE -f value -c ID | wc -l)
expect "as many QEMU processes as active servers" "^$guests\$" qemus
fits "after the crashes"
check "delete all" openstack server delete --wait $(openstack server list -f value -c ID)
expect "no QEMU is left" '^0$' qemus
absent "no port of a server is left" 'compute:' openstack port list --long
provider=$(admin openstack resource provider list -f value -c uuid | head -1)
absent "no allocation is left" '[1-9]' admin openstack resource provider usage show "$provider" -f value -c usage
absent "no tap is left" 'cut[0-9a-f]' ip -o link
fits "when all is deleted"
