#!/usr/bin/env bash
# Takes nixos-rebuild's word that the new system runs.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

converged() { :; }

go
