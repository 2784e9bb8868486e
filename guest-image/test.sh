#!/bin/bash
# Boots the guest image for real, one guest at a time under emulation, and checks all it promises a cloud.
#
#   usage: guest-image/test.sh [IMAGE]      (root; about 2 minutes)
#
# Runs whole inside scripts/in-netns: the taps, dnsmasq and the metadata server (test/metadata.py) live in a network
# that exists for this test only. Waits are for events, each with a wide limit, because an emulated guest on a busy
# machine can be five times slower than on an idle one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
image=$(realpath "${1:-$here/../out/cumulo-guest.qcow2}")
[ -s "$image" ] || { echo "no image at $image. Run: make guest-image" >&2; exit 1; }
if [ -z "${GUEST_TEST_INSIDE:-}" ]; then
  GUEST_TEST_INSIDE=1 exec timeout -k 10 1200 "$here/../scripts/in-netns" "$0" "$image"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT   # processes end with the namespace
cd "$work"
passed=0 failed=0
limit=120
. "$here/test/lib.sh"

make_network
make_keys

heading "OpenStack metadata over DHCP"
serve openstack
boot 512M
check "DHCP address" await_console 'address=eth0 10.9.0.5/24'
check "datasource" await_console 'datasource=openstack'
check "login line on ttyS0" await_console 'login:'
check "ssh as cumulo with the first key" await_ssh 10.9.0.5 id_first true
check "ssh with the second key" guest id_second true
check "hostname" equals metadata-host guest id_first hostname
check "option 121: route to metadata" matches '169.254.169.254 via 10.9.0.2' guest id_first 'ip route'
check "everybody may ping" matches '1 packets received' guest id_first 'ping -c1 -w5 10.9.0.2'
check "curl reads the metadata" matches 'metadata-host' guest id_first 'curl -sf http://169.254.169.254/openstack/latest/meta_data.json'
check "option 121: default route" matches 'default via 10.9.0.1' guest id_first 'ip route'
check "option 26: MTU" equals 1400 guest id_first 'cat /sys/class/net/eth0/mtu'
check "gzip user-data script ran" await equals 'ran as root' guest id_first 'cat /user-data-ran'
check "sudo" equals root guest id_first 'sudo -n id -un'
check "root grew to the disk" await matches '^4[5-9]' guest id_first "df -m / | tail -n 1 | awk '{print \$2}'"
check "EC2 view" equals i-00000001 guest id_first 'wget -q -O - http://169.254.169.254/latest/meta-data/instance-id'
check "host key on the console is the one ssh sees" equals "$(console_fingerprint)" seen_fingerprint
check "no password over ssh without admin_pass" refuses_password cumulo
check "ACPI power-off" power_off
check "second boot keeps the host key" boots_again
check "user-data does not run twice" equals 1 guest id_first 'wc -l < /user-data-count'
check "ACPI power-off" power_off

heading "EC2 metadata alone"
serve ec2
boot
check "datasource" await_console 'datasource=ec2'
check "ssh with the first key" await_ssh 10.9.0.5 id_first true
check "ssh with the second key" guest id_second true
check "hostname" equals ec2-host guest id_first hostname
check "user-data script ran" await equals 'ran as root' guest id_first 'cat /user-data-ran'
check "ACPI power-off" power_off

for format in iso9660 vfat; do
  heading "config drive ($format), static address, no DHCP"
  serve nothing
  boot 256M "$format"
  check "datasource" await_console 'datasource=config-drive'
  check "ssh at the static address" await_ssh 10.9.0.77 id_first true
  check "hostname" equals drive-host guest id_first hostname
  check "static route" matches 'default via 10.9.0.1' guest id_first 'ip route'
  check "MTU" equals 1350 guest id_first 'cat /sys/class/net/eth0/mtu'
  check "name server" matches '10.9.0.53' guest id_first 'cat /etc/resolv.conf'
  check "admin_pass over ssh" accepts_password 'Adm1n"pa$s#&/'
  check "user-data script ran" await equals 'ran as root' guest id_first 'cat /user-data-ran'
  check "ACPI power-off" power_off
done

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
