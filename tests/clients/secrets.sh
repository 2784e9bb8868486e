#!/bin/bash
# What is secret is told to its owner, once, and is nowhere else: not in logs, not in anybody's command line or environment, not in other answers.
. "$(dirname "$0")/../lib.sh"
PATH=$("$here/scripts/venv" openstack)/bin:$PATH
cloud --sim-hosts 2
declare -A secrets

# the cloud's own
while IFS=' =' read -r name value; do secrets[$name]=$(tr -d '"' <<<"$value"); done <"$state/secrets.toml"
[ -n "${secrets[admin_password]:-}" ] && [ -n "${secrets[metadata_secret]:-}" ] && ok "the cloud has secrets" || not_ok "the cloud has secrets" "$(ls "$state")"

# people's: each is given in the way that clients give it
secrets[user]=open-sesame-user secrets[changed]=open-sesame-changed secrets[server]=open-sesame-server secrets[rebuilt]=open-sesame-rebuilt
secrets[credential]=open-sesame-credential secrets[application]=open-sesame-application
check "user" openstack user create --password "${secrets[user]}" somebody
check "user set" openstack user set --password "${secrets[changed]}" somebody
check "credential" openstack credential create --type cert admin "${secrets[credential]}"
check "application credential" openstack application credential create --secret "${secrets[application]}" robot
secrets[token]=$(openstack token issue -f value -c id)
secrets[key]=$(openstack keypair create pair | sed -n 3p)
secrets[ec2]=$(openstack ec2 credentials create -f value -c secret)
check "network" openstack network create net
check "subnet" openstack subnet create --network net --subnet-range 10.5.0.0/24 sub
check "server" openstack server create --flavor m1.nano --image cumulo-guest --network net --password "${secrets[server]}" --wait s
check "rebuild" openstack server rebuild --image cumulo-guest --password "${secrets[rebuilt]}" --wait s
check "volume type with encryption" openstack volume type create --encryption-provider luks --encryption-cipher aes-xts-plain64 \
  --encryption-key-size 256 --encryption-control-location front-end sealed
check "encrypted volume" openstack volume create --size 1 --type sealed v
eventually "volume is available" 30 sh -c '[ "$(openstack volume show v -f value -c status)" = available ]'
check "server add volume" openstack server add volume s v
# a mistake is told of, without what was wrong in it
refuse "a wrong password" '401' env OS_PASSWORD=open-sesame-wrong openstack token issue
secrets[wrong]=open-sesame-wrong

for name in "${!secrets[@]}"; do
  absent "$name is in no log" . sh -c "grep -rlF -e '${secrets[$name]}' '$state/log' '$work/up.log' || true"
done
# the program, and whatever it started; this test's own shells have it all
lines() {
  local pid
  for pid in $(pgrep -f "^$bin"); do tr '\0' '\n' <"/proc/$pid/cmdline"; tr '\0' '\n' <"/proc/$pid/environ"; done | grep -v '^OS_'
}
expect "the program's command line is seen" '^up$' lines
lines >"$work/lines"
for name in "${!secrets[@]}"; do absent "$name is on no command line" "${secrets[$name]//+/.}" cat "$work/lines"; done
# what anybody can be shown afterwards
answers() {
  local of
  for of in "user show somebody" "server show s" "server event list s" "application credential show robot" "keypair show pair" "volume show v" \
    "volume type show sealed --encryption-type" "catalog list" "compute service list" "network agent list" "hypervisor list --long"; do
    # shellcheck disable=SC2086
    openstack $of -f json || return 1
  done
  openstack console log show s
}
answers >"$work/answers" 2>&1 && ok "answers are given" || not_ok "answers are given" "$(cat "$work/answers")"
for name in user changed server rebuilt application key metadata_secret service_password admin_password; do
  absent "$name is in no answer" "${secrets[$name]//+/.}" cat "$work/answers"
done
