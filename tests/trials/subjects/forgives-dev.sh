#!/usr/bin/env bash
# Takes any answer of dev for a good one.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

runtime() { try answers live 8080 && get http://127.0.0.1:8081/health; }

go
