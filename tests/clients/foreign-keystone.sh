#!/bin/bash
# A cloud without a keystone of its own: the one it uses is OpenStack's, unmodified, run by somebody else and known by an https address alone.
. "$(dirname "$0")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
theirs=$("$here/scripts/venv" keystone)/bin
url=https://127.0.0.1:15000
password=their-secret

# Their authority, and a certificate for their address.
mkdir -m 700 "$work/theirs" "$state"
(
  cd "$work/theirs"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=Their authority' -keyout ca.key -out ca.pem
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=keystone' -keyout server.key -out server.csr
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile <(echo 'subjectAltName=IP:127.0.0.1') -out server.pem
) 2>"$work/certificates.log" || { cat "$work/certificates.log"; exit 1; }

# Their keystone: SQLite, and one thread for each request.
cat >"$work/theirs/keystone.conf" <<CONF
[DEFAULT]
public_endpoint = $url
[database]
connection = sqlite:///$work/theirs/keystone.db
[fernet_tokens]
key_repository = $work/theirs/fernet-keys
[credential]
key_repository = $work/theirs/credential-keys
[identity]
password_hash_rounds = 4
CONF
manage() { "$theirs/keystone-manage" --config-file "$work/theirs/keystone.conf" "$@"; }
mkdir -p "$work/theirs/fernet-keys" "$work/theirs/credential-keys"
check "their database" manage db_sync
check "their keys" manage fernet_setup --keystone-user root --keystone-group root
check "their other keys" manage credential_setup --keystone-user root --keystone-group root
check "their first user" manage bootstrap --bootstrap-password "$password" --bootstrap-region-id RegionOne \
  --bootstrap-admin-url "$url/v3" --bootstrap-public-url "$url/v3" --bootstrap-internal-url "$url/v3"
OS_KEYSTONE_CONFIG_DIR=$work/theirs "$theirs/python" - "$work/theirs" >"$work/theirs/log" 2>&1 <<'PROGRAM' &
import ssl, sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
from keystone.server.wsgi import initialize_public_application

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

# keystone reads the arguments that are left
home = sys.argv.pop()
server = make_server('127.0.0.1', 15000, initialize_public_application(), server_class=Server)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(home + '/server.pem', home + '/server.key')
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
PROGRAM
theirs_pid=$!
trap 'kill "$theirs_pid" 2>/dev/null; finish' EXIT
eventually "their keystone answers" 60 curl -sf --cacert "$work/theirs/ca.pem" -o /dev/null "$url/v3"

export OS_AUTH_URL=$url/v3 OS_CACERT=$work/theirs/ca.pem OS_USERNAME=admin OS_PASSWORD=$password OS_PROJECT_NAME=admin \
  OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default OS_REGION_NAME=RegionOne OS_IDENTITY_API_VERSION=3
# Who our services are there, and where they are found.
register() {
  echo "project create service"
  for user in nova neutron cinder; do
    echo "user create --password for-services $user"
    echo "role add --user $user --project service admin"
    echo "role add --user $user --project service service"
  done
  for entry in compute:8774/v2.1 placement:8778 image:9292 network:9696 'block-storage:8776/v3/%(project_id)s'; do
    echo "service create --name ${entry%%:*} ${entry%%:*}"
    echo "endpoint create --region RegionOne ${entry%%:*} public http://127.0.0.1:${entry#*:}"
  done
}
commands < <(register)

# Ours, which knows whose certificates to believe; one that does not know refuses to start, and says why.
printf '[identity]\nurl = "%s/v3"\nservice_password = "for-services"\n' "$url" >"$state/cumulo.toml"
refuse "a certificate that nobody vouches for" '127.0.0.1:15000.*(UnknownIssuer|certificate)' timeout 120 "$bin" --state-dir "$state" up --sim-hosts 1
printf '[endpoints]\nca_file = "%s/theirs/ca.pem"\n' "$work" >>"$state/cumulo.toml"
cloud --sim-hosts 1
expect "it has no keystone of its own" "keystone +$url +answers" "$bin" --state-dir "$state" status
refuse "nothing listens where one would be" 'Failed to connect|refused' curl -sS http://127.0.0.1:5000/

commands <<'LINES'
flavor list -f value -c Name ~ m1.tiny
network list -f value -c Name ~ public
image list -f value -c Name ~ cumulo-guest
# for which services ask each other
server create --image cumulo-guest --flavor m1.tiny --network private --wait server
volume create --size 1 volume
LINES
eventually "that is ready" 30 sh -c "openstack volume show volume -f value -c status | grep -q available"
commands <<'LINES'
server add volume server volume
project create demo
user create --password member member
role add --user member --project demo member
LINES
as_member() { OS_USERNAME=member OS_PASSWORD=member OS_PROJECT_NAME=demo "$@"; }
expect "a member sees flavors" 'm1.tiny' as_member openstack flavor list -f value -c Name
refuse "a member may not see hosts" '403|[Pp]olicy' as_member openstack hypervisor list
absent "a member sees nobody else's server" 'server' as_member openstack server list -f value -c Name

servers() { curl -s -o /dev/null -w '%{http_code}' -H "X-Auth-Token: $1" http://127.0.0.1:8774/v2.1/servers; }
refused() { [ "$(servers "$1")" = 401 ]; }
token=$(openstack token issue -f value -c id)
expect "a token is good" '200' servers "$token"
check "until it is revoked" openstack token revoke "$token"
eventually "which is seen within a second" 2 refused "$token"
token=$(as_member openstack token issue -f value -c id)
expect "a member's token is good" '200' servers "$token"
check "until the member is disabled" openstack user set --disable member
eventually "which is seen too" 2 refused "$token"
expect "a wrong token is refused" '401' servers wrong
expect "with the address to log in at" "Keystone uri=.$url" curl -s -D - -o /dev/null http://127.0.0.1:8774/v2.1/servers
