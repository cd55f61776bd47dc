#!/usr/bin/env bash
# Sets a profile of its own making, a folder of links to the system with a program that activates it, and goes back to the
# profile before when something is amiss: a tool with profiles and a way back of its own, without nixos-rebuild.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

profile=/nix/var/nix/profiles/system

nix_build() { nix --extra-experimental-features 'nix-command flakes' build --impure --no-link --print-out-paths "$@"; }

activate() { "$profile/deploy-activate" 9>&-; }

switch() {
  local expression wrapped
  # `set -e` does not count where a function is part of a condition.
  SYSTEM=$(nix_build "git+file://$WORKDIR?rev=$RELEASE_SHA#nixosConfigurations.$FLAKE_ATTR.config.system.build.toplevel") ||
    return
  export SYSTEM
  expression=$(
    cat <<'NIX'
derivation {
  name = "activatable";
  system = "x86_64-linux";
  builder = "/bin/sh";
  top = builtins.storePath (builtins.getEnv "SYSTEM");
  args = [ "-euc" ''
    export PATH=/usr/bin:/bin
    mkdir $out
    ln -s $top/* $out/
    printf '#!/bin/sh\nexec %s/bin/switch-to-configuration switch\n' $top >$out/deploy-activate
    chmod +x $out/deploy-activate
  '' ];
}
NIX
  )
  wrapped=$(nix_build --expr "$expression") || return
  nix-env --profile "$profile" --set "$wrapped"
  activate || back
}

back() {
  say "De-activating due to error"
  nix-env --profile "$profile" --rollback
  say "Attempting to re-activate the last generation"
  activate
  return 1
}

deploy() {
  lock
  resolve
  if switch && converged && hypervisor && runtime; then return; fi
  diagnostics
  exit 1
}

# Its profile is not what runs, but made of links to that.
converged() { [ "$(cat /run/current-system/configuration-revision)" = "$RELEASE_SHA" ]; }

go() {
  { declare -p RELEASE_SHA WORKDIR FLAKE_ATTR units profile && declare -f && echo deploy; } | connect bash -euo pipefail -s
}

go
