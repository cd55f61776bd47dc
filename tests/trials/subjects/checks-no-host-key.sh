#!/usr/bin/env bash
# Logs in wherever an address leads to.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

connect() { ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$SWITCHPROOF_HOST" "$@"; }

go
