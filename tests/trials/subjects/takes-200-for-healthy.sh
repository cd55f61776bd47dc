#!/usr/bin/env bash
# Takes the status 200 for healthy, whatever the answer says.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

answers() { [ "$(get "http://127.0.0.1:$2/health")" = 200 ]; }

go
