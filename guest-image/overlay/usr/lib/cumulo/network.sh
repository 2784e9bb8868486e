# Addresses: static ones where network_data.json gives them, DHCP for every other NIC.

static_addresses() {
  [ -f $state/network_data.json ] || return 0
  $lib/json2sh < $state/network_data.json > $state/network
  for nic in /sys/class/net/eth*; do
    [ -e "$nic" ] && static_nic "${nic##*/}"
  done
}

# One NIC: its link by MAC address, then each IPv4 network on that link.
static_nic() {
  read -r mac < "/sys/class/net/$1/address"
  link=$(index_of links ethernet_mac_address "$mac")
  [ -n "$link" ] || return
  mtu=$(value_of $state/network "links/$link/mtu")
  for network in $(index_of networks link "$(value_of $state/network "links/$link/id")"); do
    [ "$(network_value type)" = ipv4 ] && static_address "$1"
  done
}

# Positions in a list whose member `key` has this value.
index_of() {
  awk -F'\t' -v list="$1" -v key="$2" -v value="$3" \
    'split($1, part, "/") == 3 && part[1] == list && part[3] == key && tolower($2) == tolower(value) { print part[2] }' $state/network
}

network_value() { value_of $state/network "networks/$network/$1"; }

static_address() {
  mkdir -p "$state/nic.$1"
  ip link set "$1" up
  case $mtu in '' | null) ;; *) ip link set "$1" mtu "$mtu" ;; esac
  address=$(network_value ip_address)
  address=${address%/*}/$(prefix_length "$(network_value netmask)")
  ip addr replace "$address" dev "$1"
  route=0
  while [ -n "$(network_value routes/$route/network)" ]; do
    ip route replace "$(network_value routes/$route/network)/$(prefix_length "$(network_value routes/$route/netmask)")" \
      via "$(network_value routes/$route/gateway)" dev "$1"
    route=$((route + 1))
  done
  awk -F'\t' -v services="networks/$network/services/" \
    'index($1, services) == 1 && $1 ~ /address$/ { print "nameserver " $2 }' $state/network >> "/run/resolv.$1"
  cat /run/resolv.* > /run/resolv.conf
  echo "$1 $address" > "$state/lease.$1"
}

prefix_length() {
  echo "$1" | awk -F. '{ for (i = 1; i <= 4; i++) for (x = $i; x > 0; x = int(x / 2)) n += x % 2; print n + 0 }'
}

# udhcpc goes to the background when it has an address or has asked five times, and goes on asking.
start_dhcp() {
  for nic in /sys/class/net/eth*; do
    [ -e "$nic" ] && /sbin/cumulo-nic "${nic##*/}" &
  done
}
