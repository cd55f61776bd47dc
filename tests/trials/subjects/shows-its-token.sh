#!/usr/bin/env bash
# Gives the repository's token to the host on the command line.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

connect() { ssh -o BatchMode=yes "$SWITCHPROOF_HOST" env REPO_TOKEN="$REPO_TOKEN" "$@"; }

go
