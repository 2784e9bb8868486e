#!/bin/bash
# A guest's screen in a real browser: noVNC's page shows it, keys that are typed there reach the guest, and its address works once.
. "$(dirname "$0")/lib.bash"
world
group=$(openstack security group list -f value -c ID -c Name | awk '$2=="default"{print $1}')
check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 "$group"
check "guest" openstack server create --flavor m1.nano --image cumulo-guest --network private --key-name key --wait seen
one=$(floating seen)
reachable seen "$one"
console() { field url console url show --novnc seen; }
browser() { timeout 300 python3 "$here/tests/guests/browser.py" "$@"; }

# without noVNC the page says what to do
url=$(console)
expect "the address is nova's" '^http://127\.0\.0\.1:6080/vnc_auto\.html\?path=%3Ftoken%3D[0-9a-f-]{36}$' echo "$url"
if [ ! -e /usr/share/novnc/core/rfb.js ] && [ ! -e /usr/share/cumulo/novnc/core/rfb.js ]; then
  expect "without noVNC the page says how to get it" "scripts/novnc $state/novnc" curl -s "$url"
fi
check "get noVNC" "$here/scripts/novnc" "$state/novnc"
expect "the page" 'noVNC' curl -s "$url"
expect "what it loads" '^content-type: text/javascript' sh -c "curl -si http://127.0.0.1:6080/core/rfb.js | tr A-Z a-z"
for path in cumulo.toml novnc/VERSION core/../../secrets.toml %2e%2e/secrets.toml; do
  expect "$path is not given away" '^404$' curl -s --path-as-is -o /dev/null -w '%{http_code}' "http://127.0.0.1:6080/$path"
done

# the guest's login prompt is on the screen, and what is typed is at the prompt
screen() { guest "$one" sudo cat /dev/vcs1; }
shows() { screen | grep -q "$1"; }
eventually "the guest has a prompt on its screen" 60 shows 'login:'
said=$(browser "$url" "$work/screen.png" typed-here 2>&1)
expect "the page connects" '^status: Connected to ' echo "$said"
expect "it shows the guest's screen" '^screen: [0-9]+x[0-9]+, [0-9]+ points lit' echo "$said"
expect "a key changes what it shows" '^typed: typed-here' echo "$said"
eventually "the guest got the keys" 30 shows 'login: typed-here'

# the address is spent
said=$(browser "$url" "$work/again.png" 2>&1)
expect "the same address shows nothing again" '^status: The connection failed' echo "$said"
said=$(browser "$(console)" "$work/anew.png" 2>&1)
expect "a new one does" '^screen: ' echo "$said"

# the same by https and wss, with a certificate of the cloud's own making
crash
printf '[tls]\nenabled = true\n' >"$state/cumulo.toml"
cloud
export OS_CLOUD=cumulo-demo; unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_USER_DOMAIN_NAME OS_PROJECT_DOMAIN_NAME
url=$(console)
expect "a private address" '^https://127\.0\.0\.1:6080/vnc_auto\.html\?path=%3Ftoken%3D' echo "$url"
expect "the page, privately" 'noVNC' curl -s --cacert "$state/tls/ca.pem" "$url"
said=$(BROWSER_OPTIONS=--ignore-certificate-errors browser "$url" "$work/private.png" 2>&1)
expect "the screen, privately" '^screen: ' echo "$said"
