# Small helpers of cumulo-init.

uptime_seconds() { read -r seconds _ < /proc/uptime; echo "$seconds"; }
note() { echo "cumulo-guest[$(uptime_seconds)]: $*" | tee /dev/kmsg; }

# The value at one path of a file written by json2sh.
value_of() { awk -F'\t' -v path="$2" '$1 == path { print $2; exit }' "$1"; }
metadata() { [ -f $state/metadata ] && value_of $state/metadata "$1"; }

# Debian's busybox wget crashes when told -T, so the limit is timeout's.
fetch() { timeout 5 wget -q -O "$2" "$1" 2>/dev/null || { rm -f "$2"; return 1; }; }
