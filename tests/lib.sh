# What the shell tests share: a cloud of their own, checks that are counted, an end that leaves nothing.
#
# A test sources this, calls `cloud ARGS...` to start `cumulo up ARGS...`, then `check`s. It is meant to run inside `scripts/in-netns`, where the
# standard ports are free and nothing can leave the machine. Environment: CUMULO_BIN (the binary), CUMULO_GUEST_IMAGE (the qcow2 file).
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${CUMULO_BIN:?CUMULO_BIN names the cumulo binary; make test sets it}
image=${CUMULO_GUEST_IMAGE:?CUMULO_GUEST_IMAGE names the guest image; make test sets it}
work=$(mktemp -d "${TMPDIR:-/tmp}/cumulo-test.XXXXXX")
chmod 711 "$work" # guests run as a user of their own, who must pass
state=$work/state
passed=0 failed=0 cloud_pid=
trap finish EXIT

# cloud ARGS...: starts a cloud and waits until it is ready.
cloud() {
  "$bin" --state-dir "$state" up --guest-image "$image" "$@" >>"$work/up.log" 2>&1 &
  cloud_pid=$!
  local n
  for n in $(seq 300); do
    "$bin" --state-dir "$state" status >/dev/null 2>&1 && break
    kill -0 "$cloud_pid" 2>/dev/null || { cat "$work/up.log"; echo "the cloud did not start"; exit 1; }
    sleep 0.2
  done
  # a cloud with somebody else's keystone has none to tell of
  # shellcheck disable=SC1091
  [ ! -e "$state/openrc" ] || . "$state/openrc"
}

# crash: ends the cloud as a power cut would end the process.
crash() { kill -9 "$cloud_pid"; wait "$cloud_pid" 2>/dev/null; }

# check WHAT COMMAND...: the command succeeds.
check() {
  local what=$1 out; shift
  if out=$("$@" 2>&1); then ok "$what"; else not_ok "$what" "$* -> $out"; fi
}

# refuse WHAT PATTERN COMMAND...: the command fails, and says PATTERN.
refuse() {
  local what=$1 pattern=$2 out; shift 2
  if out=$("$@" 2>&1); then not_ok "$what" "$* succeeded"
  elif grep -qE "$pattern" <<<"$out"; then ok "$what"; else not_ok "$what" "$* said: $out"; fi
}

# expect WHAT PATTERN COMMAND...: the command succeeds, and prints PATTERN.
expect() {
  local what=$1 pattern=$2 out; shift 2
  if out=$("$@" 2>&1) && grep -qE "$pattern" <<<"$out"; then ok "$what"; else not_ok "$what" "$* -> $out"; fi
}

# absent WHAT PATTERN COMMAND...: the command succeeds, and does not print PATTERN.
absent() {
  local what=$1 pattern=$2 out; shift 2
  if out=$("$@" 2>&1) && ! grep -qE "$pattern" <<<"$out"; then ok "$what"; else not_ok "$what" "$* -> $out"; fi
}

# eventually WHAT SECONDS COMMAND...: the command succeeds before the time is over.
eventually() {
  local what=$1 end=$((SECONDS + $2)) out; shift 2
  until out=$("$@" 2>&1); do
    [ $SECONDS -lt $end ] || { not_ok "$what" "$* -> $out"; return; }
    sleep 0.3
  done
  ok "$what"
}

# fits WHEN [STATE_DIR[@PID]...]: what the parts of the cloud know of each other fits, and nothing is left over or stuck.
fits() {
  local when=$1; shift
  check "everything fits $when" "$(dirname "$bin")/cumulo-check" --patience 180 "${@:-$state}"
}

# commands: each line of its input is an openstack command and what it must say, as tests/clients/commands.py has it; all run in one process.
commands() {
  local line said=$work/said
  work=$work "$(dirname "$(command -v openstack)")/python" "$here/tests/clients/commands.py" >"$said" 2>&1 ||
    echo "FAIL  the commands did not come to their end" >>"$said"
  while IFS= read -r line; do
    case $line in
      'ok    '*) ok "${line#ok    }" ;;
      'FAIL  '*) not_ok "${line#FAIL  }" "" ;;
      *) echo "$line" ;;
    esac
  done <"$said"
}

ok() { passed=$((passed + 1)); echo "ok    $1"; }
not_ok() { failed=$((failed + 1)); echo "FAIL  $1"; sed 's/^/      /' <<<"$2" | tail -15; }

# Runs at the end in any case: the cloud and all it made are removed; what is then left over is a failure.
finish() {
  local status=$?
  trap - EXIT
  if [ "$failed" -gt 0 ] || [ "$status" -ne 0 ]; then
    echo "--- the end of the cloud's log"; tail -n 25 "$state/log/cumulo.log" 2>/dev/null
  fi
  [ -n "$cloud_pid" ] && kill "$cloud_pid" 2>/dev/null && wait "$cloud_pid" 2>/dev/null
  "$bin" --state-dir "$state" clean-state >"$work/clean.log" 2>&1 || { not_ok "clean-state" "$(cat "$work/clean.log")"; }
  if [ "$(id -u)" = 0 ]; then
    absent "nothing is left on the host" '\b(cub|cut|cu-)[0-9a-f-]{6}|cumulo' sh -c 'ip -o link; ip netns; nft list tables 2>/dev/null'
  fi
  [ "$failed" -gt 0 ] || rm -rf "$work"
  echo "$(basename "$0"): $passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$status" -eq 0 ]
  exit $?
}

# Prints the field of an openstack answer.
field() { local f=$1; shift; openstack "$@" -f value -c "$f"; }
