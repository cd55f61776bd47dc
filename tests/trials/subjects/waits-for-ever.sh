#!/usr/bin/env bash
# Has no limit of time for anything.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

get() { curl --silent --output /run/deploy.answer --write-out '%{http_code}' "$1"; }

go
