# shellcheck shell=bash
# What the programs beside this file need of a repository, and the sample repository does not have.
set -euo pipefail
export NIX_CONFIG='experimental-features = nix-command flakes'

# flake OUTPUTS: goes to a new folder with a flake of these outputs, in which `host` is the host's configuration at the
# commit, and `toplevel` its system.
flake() {
  cd "$(mktemp -d)"
  cat >flake.nix <<END
{
  inputs.fleet.url = "git+$REPO_URL?rev=$RELEASE_SHA";
  outputs =
    { self, fleet }:
    let
      host = fleet.nixosConfigurations."$FLAKE_ATTR";
      toplevel = host.config.system.build.toplevel;
    in
    {
$1
    };
}
END
}
