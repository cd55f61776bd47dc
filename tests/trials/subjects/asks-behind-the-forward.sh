#!/usr/bin/env bash
# Asks the workloads themselves, not what listens for them on the host.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

runtime() {
  get http://10.0.0.100:8080/health >/dev/null && grep --quiet '"status":"healthy"' /run/deploy.answer
  get http://10.0.0.101:8080/health >/dev/null && grep --quiet '"status":"healthy"' /run/deploy.answer
}

go
