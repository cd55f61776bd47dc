#!/usr/bin/env bash
# As many small repositories do it: pull on the host, switch, ask one page with curl, roll back if either fails, and end as
# the rollback ends. Written after that shape.
set -euo pipefail

ssh -o BatchMode=yes "$SWITCHPROOF_HOST" env WORKDIR="$WORKDIR" FLAKE_ATTR="$FLAKE_ATTR" bash -s <<'ON_THE_HOST'
set -euo pipefail
cd "$WORKDIR"
git pull --quiet origin main
nixos-rebuild switch --flake ".#$FLAKE_ATTR" || nixos-rebuild switch --rollback
curl --silent --show-error --fail --max-time 2 --retry 3 --retry-delay 1 http://127.0.0.1:8080/health ||
  nixos-rebuild switch --rollback
ON_THE_HOST
