# The sandbox as a program for containers, which need all that it runs in one place.
{ lib, settings }:
let
  guest = import ../guest { inherit lib settings; };
in
lib.build "sandbox-service-${settings.version}" (
  ''
    mkdir -p "$out"
    cp -r ${guest.programs}/sandbox "$out"
  ''
  + lib.programs { busybox = lib.tool "busybox"; } { sandbox = ../container/sandbox.sh; }
)
