# What the scripts share: where things are, and how to speak. Sourced, from the repository's root.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/cumulo
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
cumulo=$CARGO_TARGET_DIR/release/cumulo
cumulo_debug=$CARGO_TARGET_DIR/debug/cumulo
guest_image=out/cumulo-guest.qcow2

say() { echo "==> $*"; }
die() { echo "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
