#!/usr/bin/env bash
# The loop for what is built here: build once, then copy with nix, set and switch, host after host.
# push.sh FLAKE HOST…: FLAKE is the system's attribute; ssh_config is in the working directory.
set -euo pipefail
flake=$1
shift
on() { ssh -F ssh_config -o BatchMode=yes "$@"; }
export NIX_SSHOPTS="-F $PWD/ssh_config -o BatchMode=yes"
system=$(nix build --no-link --print-out-paths "$flake")
for host; do
  nix copy --to "ssh://$host" "$system"
  on "$host" nix-env --profile /nix/var/nix/profiles/system --set "$system"
  on "$host" "$system/bin/switch-to-configuration" switch
done
