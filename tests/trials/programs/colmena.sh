#!/usr/bin/env bash
# colmena.sh ARGUMENT…: colmena with a hive of the trial's host. `colmenaHive` is written by hand, as colmena's own function
# for it needs nixpkgs.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

flake "
      colmenaHive = rec {
        __schema = \"v0.5\";
        nodes = { inherit host; };
        toplevel = builtins.mapAttrs (_: node: node.config.system.build.toplevel) nodes;
        deploymentConfig.host = {
          targetHost = \"$SWITCHPROOF_HOST\";
          targetUser = \"$SWITCHPROOF_USER\";
          targetPort = $SWITCHPROOF_PORT;
          allowLocalDeployment = false;
          buildOnTarget = false;
          tags = [ ];
          replaceUnknownProfiles = true;
          privilegeEscalationCommand = [ ];
          sshOptions = [ ];
          keys = { };
        };
        deploymentConfigSelected = _: deploymentConfig;
        evalSelected = _: toplevel;
        evalSelectedDrvPaths = _: builtins.mapAttrs (_: system: system.drvPath) toplevel;
        metaConfig = {
          name = \"fleet\";
          description = \"\";
          machinesFile = null;
          allowApplyAll = true;
        };
        introspect = f: f { inherit nodes; };
      };
"
SSH_CONFIG_FILE=$SWITCHPROOF_SSH_CONFIG exec colmena "$@"
