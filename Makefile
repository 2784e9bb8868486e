# Cumulo's front door; `make help` lists what it opens. The work is done by scripts/ and by the cumulo program itself.
#
#   STATE_DIR=DIR   where the cloud keeps everything (default /var/lib/cumulo; with SIM=1 or without root ~/.local/state/cumulo)
#   SIM=1           simulated hosts and networks: needs no root
#   GUESTS=1        with `down`: stop the guests too
#   GUESTS=real     with `tempest`: real guests and ssh into them, instead of simulated hosts

XDG_CACHE_HOME ?= $(HOME)/.cache
CARGO_TARGET_DIR ?= $(XDG_CACHE_HOME)/cumulo/target
ROOT := $(filter 0,$(shell id -u))
STATE_DIR ?= $(if $(and $(ROOT),$(if $(SIM),,1)),/var/lib/cumulo,$(HOME)/.local/state/cumulo)
CUMULO := $(CARGO_TARGET_DIR)/release/cumulo
export CARGO_TARGET_DIR STATE_DIR SIM

# A cumulo command on the cloud of STATE_DIR, when there is one. The program may have been cleaned away since.
on_state = if [ -e "$(STATE_DIR)" ]; then \
	  { [ -x "$(CUMULO)" ] || cargo build --release -p cumulo; } && "$(CUMULO)" $(1) --state-dir "$(STATE_DIR)"; \
	else echo "There is no cloud in $(STATE_DIR)."; fi

.PHONY: help up down clean-state test test-hosts test-ceph tempest bench deb guest-image lint
.DEFAULT_GOAL := help

help:            ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@sed -n 's/^#   \([A-Z_]*=\)/    \1/p' Makefile

up:              ## install what is missing, build, start the cloud, boot a first guest
	@scripts/up

down:            ## stop the cloud; guests go on, unless GUESTS=1
	@$(call on_state,down $(if $(GUESTS),--guests))

clean-state:     ## remove everything the cloud made on this host, and nothing else
	@$(call on_state,clean-state)

test:            ## all tests; those with real guests need root
	@scripts/test

test-hosts:      ## a controller and two hosts, each of which dies; needs root
	@scripts/test hosts

test-ceph:       ## volumes in a Ceph cluster of its own; needs root
	@scripts/test ceph

tempest:         ## OpenStack's own tests, GROUP=identity|image|volume|network|compute|placement|scenario|smoke|interop
	@scripts/tempest "$(GROUP)"

bench:           ## the figures, as one JSON document; ONLY="SECTION..." for some of them
	@scripts/bench $(ONLY)

deb:             ## build a Debian package of the program with its systemd unit
	@scripts/deb

guest-image:     ## build out/cumulo-guest.qcow2
	@guest-image/build.sh

lint:            ## formatting, clippy, layering and sizes
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo xtask tidy
