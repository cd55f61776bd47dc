#!/bin/bash
# Refuses a switch before anything is changed: pre-switch-check TOPLEVEL ACTION
incoming=${1-} action=${2-}

# As NixOS does since 26.05: a component that cannot be replaced under a running system needs a reboot.
switch_inhibitors() {
  local changes
  if [[ $action == boot ]]; then
    echo "Not checking switch inhibitors (action = $action)"
    return
  fi
  printf 'Checking switch inhibitors...'
  changes=$(jq --raw-output --null-input --slurpfile old /run/current-system/switch-inhibitors \
    --slurpfile new "$incoming/switch-inhibitors" '$old[0] | to_entries[]
      | select($new[0][.key] != null and .value != $new[0][.key]) | "\(.key) : \(.value) -> \($new[0][.key])"')
  [[ -n $changes ]] || { echo " done" && return; }
  cat <<REFUSAL

There are changes to critical components of the system:

$changes

Switching into this system is not recommended.
You probably want to run 'nixos-rebuild boot' and reboot your system instead.

If you really want to switch into this configuration directly, then
you can set NIXOS_NO_CHECK=1 to ignore pre-switch checks.

WARNING: doing so might cause the switch to fail or your system to become unstable.

REFUSAL
  return 1
}

# A newer release may have written a format that this one cannot read.
state_format() {
  local format
  format=$(cat /var/lib/choiros/format 2>/dev/null || echo 1)
  [[ $format == 1 ]] || { echo "the state is of format $format, and this system reads format 1" && return 1; }
}

firmware() {
  return 0
}

for check in state_format firmware switch_inhibitors; do
  "$check" || { echo "Pre-switch check '$check' failed" && exit 1; }
done
