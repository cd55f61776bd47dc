#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# Becomes the container NAME, as NixOS's container@NAME.service does: systemd of its own, in a network namespace of its
# own. Its root has nothing but links; programs come from the Nix store, and what a Debian system needs from /usr.
set -eu
name=$1
root=/var/lib/nixos-containers/$name
bb=@busybox@/bin/busybox

cd /
$bb mkdir -p "$root/etc/systemd" "$root/etc/switchproof-lab" "$root/usr" "$root/nix" "$root/dev" "$root/proc" \
  "$root/sys" "$root/run" "$root/tmp" "$root/var" "$root/root" \
  "$root/opt/choiros/bin" /opt/choiros/bin
for link in bin sbin lib lib64; do $bb ln -sfn "usr/$link" "$root/$link"; done
$bb cp /usr/lib/os-release "$root/etc/os-release"
: >"$root/etc/machine-id"
$bb ln -sfn "@units@/$name" "$root/etc/systemd/system"

exec @nspawn@/bin/systemd-nspawn --quiet --keep-unit --register=no --notify-ready=yes --private-network \
  --machine="$name" --directory="$root" --bind-ro=/usr --bind-ro=/nix --bind-ro=/etc/switchproof-lab \
  --bind-ro=/opt/choiros/bin --link-journal=no --resolv-conf=off --timezone=off --console=read-only --kill-signal=SIGRTMIN+3 \
  -- @systemd@/lib/systemd/systemd --show-status=no
