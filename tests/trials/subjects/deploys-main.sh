#!/usr/bin/env bash
# Deploys the branch main, whatever commit it is asked for.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

resolve() {
  git -C "$WORKDIR" fetch --quiet origin
  RELEASE_SHA=$(git -C "$WORKDIR" rev-parse origin/main)
}

go
