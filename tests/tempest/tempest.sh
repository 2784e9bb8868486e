#!/bin/bash
# Starts a cloud, writes Tempest's configuration for it, runs the tests and reports. Called by scripts/tempest, inside scripts/in-netns.
#
#   usage: tests/tempest/tempest.sh OUT WORKERS     OUT has the files `include` and `exclude`: a regular expression on each line
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
out=$1 workers=$2
real=; [ "${GUESTS:-}" != real ] || real=1

# What some groups need that is off by default; and the database of scripts/with-postgres.
mkdir -p "$state"
echo > "$state/cumulo.toml"
[ -z "$real" ] || scripts/novnc "$state/novnc"
promises=false backends=
# where a server of the test's own has an image to download
web=8090
case ${out##*/} in
  identity) # the rules for passwords
    cat > "$state/cumulo.toml" <<END
[identity.security_compliance]
lockout_failure_attempts = 3
lockout_duration = 5
unique_last_password_count = 2
END
    ;;
  image) # images downloaded from the web, which is this machine
    printf "[images.web]\nports = [$web]\ninternal_mirrors = ['127.0.0.1']\n" > "$state/cumulo.toml" ;;
  placement) # what ports are promised
    promises=true
    printf '[network]\nexternal_bandwidth = 10000000\npacket_rate = 10000\n' > "$state/cumulo.toml" ;;
  volume) # volumes go from one backend to the other
    backends=$([ -n "$real" ] && echo file || echo sim),second
    printf "[[volumes.backends]]\nname = 'second'\n" > "$state/cumulo.toml" ;;
esac
[ -z "${CUMULO_TEST_DATABASE:-}" ] || sed -i "1i database = '$CUMULO_TEST_DATABASE'" "$state/cumulo.toml"
cloud $([ -n "$real" ] || echo --sim-hosts 3)

# two images that differ, as the tests want: what guests boot, or for simulated hosts anything
image_of() {
  local file=$image
  [ -n "$real" ] || { file=$work/$1.raw; head -c 1048576 /dev/urandom > "$file"; }
  field id image create --public --container-format bare --disk-format "$([ -n "$real" ] && echo qcow2 || echo raw)" --file "$file" "$1"
}
yes_for_real() { if [ -n "$real" ]; then echo true; else echo false; fi; }
yes_for_sim() { if [ -n "$real" ]; then echo false; else echo true; fi; }

# What an operator does before anybody asks for a network to be made for them, or for a volume of several servers.
prepare() {
  openstack volume type create --property multiattach='<is> True' multiattach
  openstack subnet pool create --share --default --pool-prefix 10.200.0.0/16 --default-prefix-length 26 default-v4
  openstack network set --default public
}
prepare > "$out/prepare.log" 2>&1 || { cat "$out/prepare.log"; exit 1; }

# What the network service announces is what is tested.
extensions=$(openstack extension list --network -f value -c Alias | paste -sd,)
mkdir -p "$work/ws" "$work/lock" "$work/web"
cp "$image" "$work/web/image"
python3 -m http.server --bind 127.0.0.1 --directory "$work/web" $web > "$work/web.log" 2>&1 &
cat > "$out/tempest.conf" <<END
[DEFAULT]
log_file = $out/tempest.log
debug = true
[oslo_concurrency]
lock_path = $work/lock
[auth]
admin_username = $OS_USERNAME
admin_password = $OS_PASSWORD
admin_project_name = $OS_PROJECT_NAME
admin_domain_name = Default
use_dynamic_credentials = true
[identity]
uri_v3 = http://127.0.0.1:5000/v3
uri = http://127.0.0.1:5000/v2.0
auth_version = v3
region = RegionOne
user_unique_last_password_count = 2
user_lockout_failure_attempts = 3
user_lockout_duration = 5
[identity-feature-enabled]
trust = true
application_credentials = true
access_rules = true
external_idp = false
project_tags = true
security_compliance = true
[enforce_scope]
keystone = true
nova = true
neutron = true
glance = true
cinder = true
placement = true
[compute]
image_ref = $(image_of tempest-1)
image_ref_alt = $(image_of tempest-2)
flavor_ref = $(field id flavor show m1.nano)
flavor_ref_alt = $(field id flavor show m1.tiny)
min_compute_nodes = $([ -n "$real" ] && echo 1 || echo 3)
max_microversion = latest
build_interval = 1
build_timeout = 300
compute_volume_common_az = nova
volume_device_name = vdb
[compute-feature-enabled]
resize = true
cold_migration = $(yes_for_sim)
live_migration = $(yes_for_sim)
block_migration_for_live_migration = $(yes_for_sim)
volume_backed_live_migration = $(yes_for_sim)
change_password = $(yes_for_sim)
hostname_fqdn_sanitization = true
nova_policy_roles = admin,manager,member,reader,service
scheduler_enabled_filters = all
vnc_console = $(yes_for_real)
rescue = true
stable_rescue = true
suspend = true
pause = true
shelve = true
shelve_migrate = $(yes_for_sim)
snapshot = true
interface_attach = true
personality = true
config_drive = true
swap_volume = $(yes_for_sim)
volume_multiattach = true
[network]
public_network_id = $(field id network show public)
floating_network_name = public
project_network_cidr = 10.100.0.0/16
[network-feature-enabled]
api_extensions = $extensions
ipv6 = true
ipv6_subnet_attributes = true
port_security = true
floating_ips = true
qos_placement_physnet = public
qos_min_bw_and_pps = $promises
provider_net_base_segmentation_id = 3000
[neutron_plugin_options]
available_type_drivers = flat,vlan,vxlan,local
provider_vlans = public
l3_agent_mode = legacy
max_mtu = 1450
firewall_driver = iptables
[image]
build_timeout = 60
http_image = http://127.0.0.1:$web/image
http_qcow2_image = http://127.0.0.1:$web/image
[image-feature-enabled]
import_image = true
[volume]
max_microversion = latest
build_interval = 1
build_timeout = 120
storage_protocol = $([ -n "$real" ] && echo nbd || echo sim)
vendor_name = Cumulo
backend_names = $backends
volume_type_multiattach = multiattach
[volume-feature-enabled]
multi_backend = $([ -n "$backends" ] && echo true || echo false)
backup = true
snapshot = true
clone = true
manage_volume = true
manage_snapshot = true
extend_attached_volume = true
consistency_group = true
volume_revert = true
concurrency_tests = true
[service_available]
cinder = true
neutron = true
glance = true
nova = true
swift = false
horizon = false
[placement]
max_microversion = latest
[scenario]
img_file = $image
[validation]
run_validation = $(yes_for_real)
connect_method = floating
image_ssh_user = cumulo
ssh_shell_prologue = set -eu; PATH=\$\$PATH:/sbin:/usr/sbin;
END

cd "$work/ws" || exit 1
tempest init --workspace-path "$work/workspaces.yaml" --name cumulo cloud > "$out/init.log" 2>&1 || { cat "$out/init.log"; exit 1; }
cp "$out/tempest.conf" cloud/etc/
cd cloud || exit 1
tempest run --workspace-path "$work/workspaces.yaml" --include-list "$out/include" --exclude-list "$out/exclude" --concurrency "$workers" 2>&1 |
  tee "$out/tests.txt" | grep --line-buffered 'FAILED$'
stestr last --subunit > "$out/subunit" 2>/dev/null
cp -r "$state/log" "$out/cloud-log"
read -r passed failed < <(python "$here/tests/tempest/report.py" "$out/subunit" "$out/report.txt")
cat "$out/report.txt"
[ $((passed + failed)) -gt 0 ] || not_ok "no test ran" "$(tail -n 5 "$out/tests.txt")"
