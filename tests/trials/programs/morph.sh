#!/usr/bin/env bash
# morph.sh ARGUMENT…: morph with a network of the trial's host, and a health check of each endpoint from the host itself.
# MORPH_NIX_EVAL_MACHINES names an evaluator written by hand, as morph's own needs nixpkgs.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

flake "
      inherit toplevel;
"
echo '{ host = (builtins.getFlake (toString ./.)).toplevel; }' >network.nix
cat >machines.nix <<END
{ networkExpr, argsFile ? null }:
let
  network = import networkExpr;
  check = description: url: {
    inherit description;
    cmd = [ "curl" "--fail" "--silent" "--show-error" "--max-time" "3" "--output" "/dev/null" url ];
    period = 2;
    timeout = 5;
  };
  none = { http = [ ]; cmd = [ ]; };
in
{
  info.buildShell = null;
  info.deployment.meta = { description = "fleet"; ordering = { }; };
  info.deployment.hosts = [
    {
      name = "host";
      nixosRelease = "25.11";
      targetHost = "$SWITCHPROOF_HOST";
      targetPort = $SWITCHPROOF_PORT;
      targetUser = "$SWITCHPROOF_USER";
      secrets = { };
      preDeployChecks = none;
      healthChecks = none // {
        cmd = [
          (check "hypervisor" "http://127.0.0.1:9090/login")
          (check "live" "http://127.0.0.1:8080/health")
          (check "dev" "http://127.0.0.1:8081/health")
        ];
      };
      buildOnly = false;
      substituteOnDestination = false;
      nixConfig = { };
      tags = [ ];
    }
  ];
  machines = derivation {
    name = "morph";
    system = "x86_64-linux";
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    args = [ "-euc" "mkdir \$out; ln -s \${network.host} \$out/host" ];
  };
}
END
MORPH_NIX_EVAL_MACHINES=$PWD/machines.nix SSH_CONFIG_FILE=$SWITCHPROOF_SSH_CONFIG exec morph deploy "$@" ./network.nix switch
