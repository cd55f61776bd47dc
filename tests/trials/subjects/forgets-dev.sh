#!/usr/bin/env bash
# Never asks dev anything.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

runtime() { try answers live 8080; }

go
