#!/usr/bin/env bash
# Takes active units and open ports for healthy ones.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

runtime() {
  systemctl is-active --quiet "${units[@]}"
  ss --listening --tcp --numeric | grep --quiet 127.0.0.1:8080
  ss --listening --tcp --numeric | grep --quiet 127.0.0.1:8081
}

go
