#!/usr/bin/env bash
# Says that it rolled back whenever it fails, and does not.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

go || {
  code=$?
  echo "Deployment to node choiros-a failed, rolled back to previous generation" >&2
  exit "$code"
}
