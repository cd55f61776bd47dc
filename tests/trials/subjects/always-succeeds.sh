#!/usr/bin/env bash
# Says success, however the deploy went.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

go || true
