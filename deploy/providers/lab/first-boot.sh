#!/usr/bin/env bash
# Boots the sandbox `live` of an image once, as its unit would on a lab host, and succeeds when it serves:
#   first-boot.sh IMAGE ACCELERATOR FOLDER
# The caller gives it mounts, processes and a network of its own, which end with it.
set -euo pipefail

image=$1 accelerator=$2 folder=$3

lay_out() {
  mount --types tmpfs tmpfs "$folder"
  cd "$folder"
  mkdir upper work root
  ln --symbolic "$image" image
  mount --types overlay overlay --options lowerdir=image,upperdir=upper,workdir=work root
  mount --types proc proc root/proc
  mount --types sysfs sysfs root/sys
  mount --rbind /dev root/dev
  mkdir --parents root/etc/switchproof-lab root/run/microvm-live
  echo "$accelerator" >root/etc/switchproof-lab/runtime
}

# shellcheck disable=SC2016 # expanded inside
boot() {
  chroot root env GUEST_ADDRESS=10.0.0.100 GUEST_MAC=02:00:00:00:00:64 bash -euo pipefail -c '
    unit=/nix/var/nix/gcroots/switchproof-lab/choiros-a/etc/systemd/system/cloud-hypervisor@.service
    program() { sed --quiet "s,^ExecStart.*=\([^ ]*/bin/$1\) .*,\1,p" "$unit"; }
    ip link add br-choiros type bridge
    "$(program connect)" live
    exec "$(program run)" live
  ' </dev/null
}

lay_out
# Not a pipe: the machine goes on, and ends with this.
grep --quiet 'listens on' < <(boot)
