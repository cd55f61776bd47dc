#!/usr/bin/env bash
# The steps of `nixos-rebuild switch --target-host` from another machine, one connection each, and nothing after them.
set -euo pipefail

profile=/nix/var/nix/profiles/system

on_the_host() { ssh -o BatchMode=yes "$SWITCHPROOF_HOST" -- "$(printf '%q ' "$@")"; }

on_the_host git -C "$WORKDIR" fetch --quiet origin
system=$(on_the_host nix --extra-experimental-features 'nix-command flakes' build --no-link --print-out-paths \
  "git+file://$WORKDIR?rev=$RELEASE_SHA#nixosConfigurations.$FLAKE_ATTR.config.system.build.toplevel")
on_the_host test -f "$system/nixos-version"
on_the_host nix-env --profile "$profile" --set "$system"
on_the_host env NIXOS_INSTALL_BOOTLOADER=0 systemd-run -E LOCALE_ARCHIVE -E NIXOS_INSTALL_BOOTLOADER --collect \
  --no-ask-password --pipe --quiet --service-type=exec --unit=nixos-rebuild-switch-to-configuration \
  "$system/bin/switch-to-configuration" switch
