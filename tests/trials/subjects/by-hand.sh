#!/usr/bin/env bash
# Runs the host's script by hand, as a person does who is logged in there.
set -euo pipefail

script=$(mktemp)
trap 'rm -f "$script"' EXIT
switchproof script deploy/targets/ovh.toml >"$script"
scp -q -o BatchMode=yes "$script" "$SWITCHPROOF_HOST:/root/host-switch.sh"
ssh -o BatchMode=yes "$SWITCHPROOF_HOST" env RELEASE_SHA="$RELEASE_SHA" REPO_URL="$REPO_URL" FLAKE_ATTR="$FLAKE_ATTR" \
  READY_S=3 ANSWERS=2 INTERVAL_S=0.3 SOAK_S=0.5 ANSWER_TIMEOUT_S=2 bash /root/host-switch.sh deploy
