#!/bin/bash
# The token filter that real OpenStack services use, unmodified, in front of a three-line program: our keystone is one it can work with.
. "$(dirname "$0")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
python=$("$here/scripts/venv" keystonemiddleware)/bin/python
cloud --sim-hosts 1

export SERVICE_PASSWORD
SERVICE_PASSWORD=$(sed -n 's/^service_password = "\(.*\)"/\1/p' "$state/secrets.toml")
"$python" - >"$work/filter.log" 2>&1 <<'PROGRAM' &
import os
from wsgiref.simple_server import make_server
from keystonemiddleware.auth_token import AuthProtocol

def program(environ, start):
    start('200 OK', [('Content-Type', 'text/plain')])
    return ['{HTTP_X_USER_NAME} in {HTTP_X_PROJECT_NAME} as {HTTP_X_ROLES} '.format(**environ).encode()]

settings = dict(
    www_authenticate_uri=os.environ['OS_AUTH_URL'], auth_url=os.environ['OS_AUTH_URL'], auth_type='password', username='nova',
    password=os.environ['SERVICE_PASSWORD'], project_name='service', user_domain_name='Default', project_domain_name='Default',
    service_type='compute', token_cache_time='-1', service_token_roles_required='true', service_token_roles='service')
make_server('127.0.0.1', 18080, AuthProtocol(program, settings)).serve_forever()
PROGRAM
filter_pid=$!
trap 'kill "$filter_pid" 2>/dev/null; finish' EXIT
# call PATH [HEADER...]: the status and the answer.
call() { local path=$1; shift; curl -s -m 10 -w '%{http_code}' "${@/#/-H}" "http://127.0.0.1:18080$path"; }
eventually "the filter answers" 20 sh -c 'curl -s -m 2 -o /dev/null http://127.0.0.1:18080/'

token=$(openstack token issue -f value -c id)
expect "a token is known" 'admin in admin as .*admin.*200' call / "X-Auth-Token: $token"
demo=$(OS_USERNAME=demo OS_PASSWORD=$(sed -n 's/^demo_password = "\(.*\)"/\1/p' "$state/secrets.toml") OS_PROJECT_NAME=demo \
  openstack token issue -f value -c id)
expect "so is another user's" 'demo in demo as .*member.*200' call / "X-Auth-Token: $demo"
expect "no token is refused" '401' call /
expect "a wrong token is refused" '401' call / "X-Auth-Token: gAAAAwrong"
service=$(OS_USERNAME=nova OS_PASSWORD=$SERVICE_PASSWORD OS_PROJECT_NAME=service openstack token issue -f value -c id)
expect "a service vouches for a user" 'admin in admin.*200' call / "X-Auth-Token: $token" "X-Service-Token: $service"
check "a credential for some paths only" openstack application credential create --secret narrow \
  --access-rules '[{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]' narrow
id=$(openstack application credential show narrow -f value -c id)
narrow=$(env -u OS_USERNAME -u OS_PASSWORD -u OS_PROJECT_NAME -u OS_USER_DOMAIN_NAME -u OS_PROJECT_DOMAIN_NAME \
  openstack --os-auth-type v3applicationcredential --os-application-credential-id "$id" --os-application-credential-secret narrow token issue -f value -c id)
expect "its path is open" '200' call /v2.1/servers "X-Auth-Token: $narrow"
expect "others are not" '401' call /v2.1/flavors "X-Auth-Token: $narrow"
check "fernet-rotate" "$bin" --state-dir "$state" keystone fernet-rotate
expect "tokens outlive a rotation" '200' call / "X-Auth-Token: $token"
check "token revoke" openstack token revoke "$token"
expect "a revoked token is refused" '401' call / "X-Auth-Token: $token"
