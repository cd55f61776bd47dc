#!/usr/bin/env bash
# Shows journals and sockets when it fails, and no state.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

diagnostics() {
  local unit
  for unit in "${units[@]}"; do journalctl --quiet --no-pager --lines=30 --unit="$unit"; done
  ss --listening --tcp --numeric --processes
}

go
