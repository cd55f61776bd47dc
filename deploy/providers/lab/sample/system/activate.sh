#!/bin/bash
# Makes this system the current one. As on NixOS a snippet that fails does not stop the others:
# /run/current-system moves in any case, and the failure is told by the exit code.
set -u
status=0

failed() {
  printf "Activation script snippet '%s' failed (%s)\n" "$1" "$2"
  status=1
}

state() {
  local folder=/var/lib/choiros
  install -d -m 0755 "$folder" && echo 1 >"$folder/format"
}

# Only links into the Nix store are replaced or removed: the rest of /etc/systemd/system is the host's.
etc() {
  local target=/etc/systemd/system link unit
  echo "setting up /etc..."
  while read -r link; do
    unit=${link#"$target"/}
    [[ -e @system-units@/$unit ]] || rm "$link"
  done < <(find "$target" -type l -lname '/nix/store/*')
  while read -r unit; do
    [[ $unit != */* ]] || mkdir -p "$target/${unit%/*}"
    ln -sfT "@system-units@/$unit" "$target/$unit"
  done < <(find @system-units@/ -type f -printf '%P\n' -o -type l -printf '%P\n')
  find "$target" -mindepth 1 -type d -name '*.d' -empty -delete
  ln -sfT @system-conf@/system.conf /etc/systemd/system.conf
  mkdir -p /etc/systemd/user
  ln -sfT @out@/etc/systemd/user/nixos-activation.service /etc/systemd/user/nixos-activation.service
}

state || failed state "$?"
etc || failed etc "$?"
ln -sfT @out@ /run/current-system
exit "$status"
