#!/usr/bin/env bash
# Shows states and journals when it fails, and no sockets.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

diagnostics() {
  local unit
  for unit in "${units[@]}"; do systemctl status --no-pager --full --lines=30 "$unit" || true; done
}

go
