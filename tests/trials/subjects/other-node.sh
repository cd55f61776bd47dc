#!/usr/bin/env bash
# Deploys another node's system to the host.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

FLAKE_ATTR=choiros-b
go
