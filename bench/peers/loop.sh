#!/usr/bin/env bash
# A deploy as a shell loop: build once on the first host, then copy what is missing, set and switch, host after host.
# loop.sh FLAKE HOST…: FLAKE is the system's attribute; ssh_config is in the working directory.
set -euo pipefail
flake=$1
shift
on() { ssh -F ssh_config -o BatchMode=yes "$@"; }
builder=$1
system=$(on "$builder" nix build --no-link --print-out-paths "$flake")
closure=$(on "$builder" nix-store --query --requisites "$system" | tr '\n' ' ')
for host; do
  missing=$(on "$host" nix-store --check-validity --print-invalid "$closure" | tr '\n' ' ')
  if [ -n "$missing" ]; then on "$builder" nix-store --export "$missing" | on "$host" nix-store --import; fi
  on "$host" nix-env --profile /nix/var/nix/profiles/system --set "$system"
  on "$host" "$system/bin/switch-to-configuration" switch
done
