#!/usr/bin/env bash
# Shows states and sockets when it fails, and no journal of the unit that failed.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

diagnostics() {
  local unit
  for unit in "${units[@]}"; do systemctl status --no-pager --full --lines=0 "$unit" || true; done
  journalctl --quiet --no-pager --lines=30 --unit=ssh.service
  ss --listening --tcp --numeric --processes
}

go
