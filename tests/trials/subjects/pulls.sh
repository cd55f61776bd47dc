#!/usr/bin/env bash
# Lets the checkout on the host follow the branch; what it deploys is the right commit.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

resolve() { git -C "$WORKDIR" pull --quiet && git -C "$WORKDIR" cat-file -e "$RELEASE_SHA^{commit}"; }

go
