#!/usr/bin/env bash
# As a public infrastructure does it: switch, and if that fails, switch once more and believe that. Written after that shape.
set -euo pipefail

rebuild() {
  ssh -o BatchMode=yes "$SWITCHPROOF_HOST" nixos-rebuild switch --flake "git+file://$WORKDIR?rev=$RELEASE_SHA#$FLAKE_ATTR"
}

ssh -o BatchMode=yes "$SWITCHPROOF_HOST" git -C "$WORKDIR" fetch --quiet origin
rebuild || rebuild
