#!/usr/bin/env bash
# in-a-flake.sh CONFIGURATION COMMAND…: a script in a flake that has the host's configuration under this name as well, and
# its system as the package `toplevel` and the check `test`.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

flake "
      nixosConfigurations.$1 = host;
      packages.x86_64-linux = { inherit toplevel; };
      checks.x86_64-linux.test = toplevel;
"
exec "${@:2}"
