#!/usr/bin/env bash
# Deploys the branch when there is no such commit.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

resolve() {
  git -C "$WORKDIR" fetch --quiet origin
  RELEASE_SHA=$(git -C "$WORKDIR" rev-parse --quiet --verify "$RELEASE_SHA^{commit}") ||
    RELEASE_SHA=$(git -C "$WORKDIR" rev-parse origin/main)
}

go
