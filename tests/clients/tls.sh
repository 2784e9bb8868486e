#!/bin/bash
# The same unmodified client against a cloud that speaks TLS with a certificate of its own making: it needs the file that clouds.yaml names, and no more.
. "$(dirname "$0")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
mkdir -m 700 "$state"
printf '[tls]\nenabled = true\n' >"$state/cumulo.toml"
cloud --sim-hosts 2

expect "openrc says https" '^https://127.0.0.1:5000/v3$' sh -c 'echo $OS_AUTH_URL'
check "token issue" openstack token issue
expect "by clouds.yaml" 'enabled' env -i PATH="$PATH" HOME="$work" OS_CLIENT_CONFIG_FILE="$state/clouds.yaml" OS_CLOUD=cumulo \
  openstack project show admin
absent "the catalog names nothing else" 'http://' openstack catalog list
refuse "who does not know the authority does not believe" 'certificate' env -u OS_CACERT OS_CLIENT_CONFIG_FILE=/nonexistent openstack token issue
refuse "nor is plain HTTP answered" '' curl -sf http://127.0.0.1:5000/v3
links() { curl -s --cacert "$OS_CACERT" "https://127.0.0.1:$1/"; }
for port in 5000 8774 9292 9696 8776; do
  expect "links of port $port lead back" "https://127.0.0.1:$port/" links $port
  absent "and nowhere else" "http://127" links $port
done
# each service asks the others, a command beside the cloud asks all of them
check "network" openstack network create net
check "subnet" openstack subnet create --network net --subnet-range 10.5.0.0/24 sub
check "server create" openstack server create --flavor m1.nano --image cumulo-guest --network net --wait s
check "volume create" openstack volume create --size 1 v
eventually "volume is available" 30 sh -c '[ "$(openstack volume show v -f value -c status)" = available ]'
check "server add volume" openstack server add volume s v
check "timeline" "$bin" --state-dir "$state" server timeline s
check "server delete" openstack server delete --wait s
authority=$(sha256sum "$state/tls/ca.pem")
crash
cloud --sim-hosts 2
expect "the authority stays" "^${authority%% *} " sha256sum "$state/tls/ca.pem"
check "and is believed" openstack token issue
