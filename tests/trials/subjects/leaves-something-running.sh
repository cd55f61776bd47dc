#!/usr/bin/env bash
# Leaves a process on the runner and one on the host.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

lock() { setsid sleep 321 </dev/null >/dev/null 2>&1 & }

setsid sleep 123 </dev/null >/dev/null 2>&1 &
go
