#!/usr/bin/env bash
# Keeps the contract, and has no way back.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

go
