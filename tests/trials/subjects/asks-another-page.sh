#!/usr/bin/env bash
# Asks the hypervisor for another page than the contract's.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

hypervisor_answers() { [ "$(get http://127.0.0.1:9090/)" = 303 ]; }

go
