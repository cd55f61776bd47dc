#!/usr/bin/env bash
# Keeps the contract, and prints every line after the host's name, in colour, as tools for many hosts do.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

connect() {
  ssh -o BatchMode=yes "$SWITCHPROOF_HOST" "$@" 2>&1 |
    sed --unbuffered $'s/^\\(.*\\)$/\e[36m'"$SWITCHPROOF_HOST_ALIAS"$'\e[0m | \\1\e[0m/'
}

go
