# What the tests with real guests share: one cloud, a reachable project network, ssh into a guest.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
ssh_options=(-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 -o BatchMode=yes -o LogLevel=ERROR)

# world: a key, and the network `private` of project demo, whose user the rest of the test is.
world() {
  cloud "$@"
  export OS_CLOUD=cumulo-demo
  unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_USER_DOMAIN_NAME OS_PROJECT_DOMAIN_NAME
  ssh-keygen -q -t ed25519 -N '' -f "$work/key"
  check "keypair create" openstack keypair create --public-key "$work/key.pub" key
}

# admin COMMAND...: as the administrator.
admin() { OS_CLOUD=cumulo "$@"; }

# guest ADDRESS COMMAND...: in the guest.
guest() { local address=$1; shift; ssh "${ssh_options[@]}" -i "$work/key" "cumulo@$address" "$@"; }

# reachable NAME ADDRESS: waits for ssh.
reachable() { eventually "ssh to $1 by $2" 300 guest "$2" true; }

# floating SERVER: makes a floating IP for it and prints it.
floating() {
  local address; address=$(openstack floating ip create public -f value -c floating_ip_address)
  openstack server add floating ip "$1" "$address"
  echo "$address"
}

# address SERVER: its fixed address.
address() { openstack server show "$1" -f json -c addresses | grep -oE '10\.[0-9.]+' | head -1; }
