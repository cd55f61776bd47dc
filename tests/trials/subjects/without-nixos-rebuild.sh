#!/usr/bin/env bash
# Switches the host past nixos-rebuild.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

switch() {
  local attribute system
  attribute="nixosConfigurations.$FLAKE_ATTR.config.system.build.toplevel"
  system=$(nix --extra-experimental-features 'nix-command flakes' build --no-link --print-out-paths \
    "git+file://$WORKDIR?rev=$RELEASE_SHA#$attribute")
  nix-env --profile /nix/var/nix/profiles/system --set "$system"
  "$system/bin/switch-to-configuration" switch 9>&-
}

go
