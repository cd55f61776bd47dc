#!/usr/bin/env bash
# Asks whether all is well before the switch, and not after it.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

switch() { hypervisor_answers && answers live 8080 && answers dev 8081 && nixos-rebuild switch --flake "$(flake)" 9>&-; }
hypervisor() { :; }
runtime() { :; }

go
