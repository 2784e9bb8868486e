# What the tests with several hosts share: machines as namespaces on one wire, and the cloud's processes on them.
#
# The test itself is the first machine, the controller; `machine NAME ADDRESS` makes another. Every process has a state directory and a
# configuration of its own. PostgreSQL comes from scripts/with-postgres, NATS is started here.
[ -n "${CUMULO_TEST_DATABASE:-}" ] || exec "$(dirname "${BASH_SOURCE[0]}")/../../scripts/with-postgres" bash "$0" "$@"
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH:/usr/sbin
controller=10.99.0.1
nats=nats://cumulo:of-the-bus@$controller:4222
declare -A pids machines

# wire: what the machines are joined by.
wire() {
  ip link add wire type bridge
  ip addr add $controller/24 dev wire
  ip link set wire up
}

# machine NAME ADDRESS: a network, processes and mounts of its own; what runs there ends with it.
machine() {
  "$here/scripts/in-netns" sleep infinity &
  local outer=$! inner net
  # until it is in its own namespace, its child may be anybody
  until inner=$(pgrep -P $outer) && net=$(readlink "/proc/$inner/ns/net") && [ "$net" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
  machines[$1]=$inner
  until on "$1" ip link show lo 2>/dev/null | grep -q UP; do sleep 0.1; done
  ip link add "w-$1" master wire up type veth peer name eth0 netns "$inner"
  on "$1" sh -c "ip addr add $2/24 dev eth0 && ip link set eth0 up"
}

# on MACHINE COMMAND...: there.
on() { local inner=${machines[$1]}; shift; nsenter -t "$inner" -n -m -p "$@"; }

# start_nats, stop_nats (as a power cut would). Each host has a user of its own there.
start_nats() {
  [ -e "$work/users.conf" ] || printf 'users = [\n  {user: "cumulo", password: "of-the-bus"}\n]\n' >"$work/users.conf"
  echo 'authorization { include "users.conf" }' >"$work/nats.conf"
  nats-server -a $controller -p 4222 -c "$work/nats.conf" >>"$work/nats.log" 2>&1 &
  pids[nats]=$!
  eventually "NATS listens" 20 sh -c "echo PING | timeout 1 bash -c 'exec 3<>/dev/tcp/$controller/4222; head -c 4 <&3' | grep -q INFO"
}
stop_nats() { kill -9 "${pids[nats]}"; wait "${pids[nats]}" 2>/dev/null; }

# restart_postgres: it dies, every connection with it, and comes back with what was committed.
restart_postgres() {
  local data=${CUMULO_TEST_DATABASE##*host=}/data
  (cd "$data" && setpriv --reuid nobody --regid nogroup --clear-groups "$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)/pg_ctl" \
    -D "$data" -m immediate -w restart >/dev/null)
}

# control NAME ROLES LINES...: a process of the controller.
control() {
  local name=$1 roles=$2; shift 2
  [ -e "$work/$name/cumulo.toml" ] || {
    mkdir -p "$work/$name"
    printf '%s\n' "listen = '0.0.0.0'" "public_host = '$controller'" "database = '$CUMULO_TEST_DATABASE'" "shared_dir = '$work/shared'" "$@" \
      '[bus]' "url = '$nats'" "users = '$work/users.conf'" >"$work/$name/cumulo.toml"
  }
  "$bin" --state-dir "$work/$name" up --role "$roles" --guest-image "$image" >>"$work/$name.out" 2>&1 &
  pids[$name]=$!
}

# host NAME ARGS...: a process on the machine of this name. The first time it joins, with a token of the controller `inviting`.
host() {
  local name=$1; shift
  if [ ! -e "$work/$name/cumulo.toml" ]; then
    set -- "$@" --join "$("$bin" --state-dir "$work/$inviting" host add "$name" | sed -n 's/.*--join //p')"
    # it reads its users again
    local before; before=$(grep -c 'Reloaded server' "$work/nats.log")
    kill -HUP "${pids[nats]}"
    until [ "$(grep -c 'Reloaded server' "$work/nats.log")" -gt "$before" ]; do sleep 0.1; done
  fi
  on "$name" "$bin" --state-dir "$work/$name" up --role nova-compute,neutron-agent,cinder-volume "$@" >>"$work/$name.out" 2>&1 &
  pids[$name]=$!
}

# ready NAME...: these processes are.
ready() {
  local name
  for name in "$@"; do
    eventually "$name is ready" 120 test -e "$work/$name/cumulo.pid"
    [ -e "$work/$name/cumulo.pid" ] || tail -n 3 "$work/$name.out"
  done
}

# crash NAME: ends a process as a power cut would; what it started on its machine goes on.
crash() {
  # on a machine it is a grandchild
  kill -9 "$(pgrep -f "^$bin --state-dir $work/$1 up")"
  wait "${pids[$1]}" 2>/dev/null
  rm -f "$work/$1/cumulo.pid"
}

# Runs at the end in any case.
finish() {
  local status=$? name
  trap - EXIT
  if [ "$failed" -gt 0 ] || [ "$status" -ne 0 ]; then
    for name in "${!pids[@]}"; do
      [ "$name" = nats ] || { echo "--- the end of the log of $name"; tail -n 12 "$work/$name/log/cumulo.log" "$work/$name.out" 2>/dev/null; }
    done
  fi
  for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null; done
  for name in "${!pids[@]}"; do wait "${pids[$name]}" 2>/dev/null; done
  # with the first process of its namespace a machine ends
  for name in "${!machines[@]}"; do kill -9 "${machines[$name]}" 2>/dev/null; done
  [ "$failed" -gt 0 ] && [ -n "${KEEP:-}" ] || rm -rf "$work"
  echo "$(basename "$0"): $passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$status" -eq 0 ]
  exit $?
}

# all_fits WHEN: every process's part of the cloud, and every machine's, fits.
all_fits() {
  local when=$1 name places=()
  for name in "${!pids[@]}"; do
    [ "$name" = nats ] || places+=("$work/$name${machines[$name]:+@${machines[$name]}}")
  done
  fits "$when" "${places[@]}"
}

# hosts_are_up COUNT: so many hypervisors are.
hosts_are_up() { [ "$(openstack hypervisor list -f value -c 'Hypervisor Hostname' -c State | grep -c up)" = "$1" ]; }
# status_of KIND NAME STATUS
status_of() { [ "$(openstack "$1" show "$2" -f value -c status)" = "$3" ]; }
# address SERVER: its own.
address() { openstack server show "$1" -f json -c addresses | grep -oE '10\.5\.[0-9.]+' | head -1; }

# two_hosts: a controller `all` and the machines h1 and h2 with a host each.
two_hosts() {
  local n
  inviting=all
  wire
  start_nats
  mkdir -m 700 "$work/shared"
  control all keystone,glance-api,placement,nova-api,nova-scheduler,nova-conductor,neutron-server,cinder-api
  ready all
  . "$work/all/openrc"
  for n in 1 2; do
    machine h$n 10.99.0.1$n
    host h$n
  done
  ready h1 h2
  eventually "both hosts are there" 60 hosts_are_up 2
}

# one_network: `net` for all guests, a group `open` that lets everything in, a key.
one_network() {
  check "network" openstack network create net
  check "subnet" openstack subnet create --network net --subnet-range 10.5.0.0/24 sub
  check "group" openstack security group create open
  check "rule for ping" openstack security group rule create --protocol icmp open
  check "rule for ssh" openstack security group rule create --protocol tcp --dst-port 22 open
  ssh-keygen -q -t ed25519 -N '' -f "$work/key"
  check "key" openstack keypair create --public-key "$work/key.pub" key
  network=$(openstack network show net -f value -c id)
}

# dhcp_host: the machine where the network's DHCP server is.
dhcp_host() {
  local m
  for m in "${!machines[@]}"; do
    [ "$(on "$m" stat -f -c %T "$work/$m/neutron/netns/cumulo-dhcp-$network" 2>/dev/null)" = nsfs ] && echo "$m" && return
  done
  return 1
}
# from_network COMMAND...: there, in the network.
from_network() { local m; m=$(dhcp_host) && on "$m" nsenter --net="$work/$m/neutron/netns/cumulo-dhcp-$network" "$@"; }

# guest ADDRESS COMMAND...: in the guest.
guest() {
  local address=$1; shift
  from_network ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 -o BatchMode=yes -o LogLevel=ERROR \
    -i "$work/key" "cumulo@$address" "$@"
}
