#!/usr/bin/env bash
# deploy-rs.sh ARGUMENT…: deploy-rs with a node of the trial's host. The profile is made as `activate.nixos` makes it, by
# hand, as that needs nixpkgs; `activate` is the program beside `deploy`.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

program=$(command -v deploy)
flake "
      deploy.nodes.host = {
        hostname = \"$SWITCHPROOF_HOST\";
        sshUser = \"$SWITCHPROOF_USER\";
        profiles.system = {
          user = \"root\";
          path = derivation {
            name = \"activatable-\${toplevel.name}\";
            system = \"x86_64-linux\";
            builder = \"/bin/sh\";
            args = [ \"-eu\" ./profile.sh ];
            PATH = \"/usr/bin:/bin\";
            program = ./activate;
            inherit toplevel;
          };
        };
      };
"
cp "${program%/*}/activate" activate
cat >profile.sh <<'END'
mkdir "$out" "$out/program"
ln -s "$toplevel"/* "$out/"
cp "$program" "$out/program/activate"
printf '#!/bin/bash\nexec %s/program/activate "$@"\n' "$out" >"$out/activate-rs"
printf '#!/bin/bash\ncd /tmp && exec "$PROFILE/bin/switch-to-configuration" switch\n' >"$out/deploy-rs-activate"
chmod 755 "$out/activate-rs" "$out/deploy-rs-activate" "$out/program/activate"
END
exec deploy "$@" .#host
