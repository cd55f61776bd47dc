#!/usr/bin/env bash
# Deploys what the branch points to, not what it was asked for.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

resolve() { git -C "$WORKDIR" pull --quiet && RELEASE_SHA=$(git -C "$WORKDIR" rev-parse HEAD); }

go
