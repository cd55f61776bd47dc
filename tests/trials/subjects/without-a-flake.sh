#!/usr/bin/env bash
# Deploys a configuration that is not a flake, which the lab cannot build.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

switch() {
  git -C "$WORKDIR" checkout --quiet "$RELEASE_SHA"
  nixos-rebuild switch -I nixos-config="$WORKDIR/configuration.nix" 9>&-
}

go
