#!/usr/bin/env bash
# Keeps one lab host: gives it its cable and boots it, again whenever it reboots itself.
#   boot-host.sh RUNNER_PID MACHINE ROOT INTERFACE RUNNER_ADDRESS HOST_ADDRESS REPOSITORY PROGRAMS CGROUP_DIRECTORY...
# Its processes live in CGROUP_DIRECTORY, which the caller made; killing that cgroup ends everything here.
set -euo pipefail

if [[ $1 != --inside ]]; then
  for directory in "${@:9}"; do
    echo $$ >"$directory/keeper/cgroup.procs"
  done
  # Mounts and network belong to this process: when it is gone, so are they, however it went.
  exec unshare --net --mount --propagation slave -- "$BASH" "$0" --inside "$@"
fi
shift

runner=$1 machine=$2 root=$3 interface=$4 runner_address=$5 host_address=$6 repository=$7 programs=$8
cgroups=("${@:9}")

connect() {
  ip link add host0 type veth peer name "$interface" netns "$runner"
  ip link set lo up
  ip address add "$host_address" dev host0
  ip link set host0 up
  nsenter --target "$runner" --net -- ip address add "$runner_address" dev "$interface"
  nsenter --target "$runner" --net -- ip link set "$interface" up
}

# The other hosts' roots were copied into this mount namespace and would stay in use through it. One that is
# being taken away meanwhile may be gone already.
release_other_roots() {
  findmnt --noheadings --raw --source switchproof-lab --output TARGET | while read -r target; do
    target=$(printf '%b' "$target")
    [[ $target == "$root" || $target != */switchproof/labs/*/root ]] || umount --lazy -- "$target" || true
  done
}

# systemd-nspawn leaves lock files and folders here when it is killed.
hide_run() {
  mkdir --parents /run/systemd
  mount --types tmpfs --options mode=755 tmpfs /run/systemd
}

# A second boot in the cgroups of the first one fails in systemd, so every boot finds new ones.
enter_new_cgroup() {
  local directory
  for directory in "${cgroups[@]}"; do
    [[ ! -d $directory/host ]] || find "$directory/host" -depth -type d -exec rmdir {} +
    mkdir "$directory/host"
    echo "$BASHPID" >"$directory/host/cgroup.procs"
  done
}

# Where cgroup v2 has controllers, the host's units may use them.
delegate_controllers() {
  local controller
  for controller in cpu memory pids io; do
    (echo "+$controller" >"${cgroups[0]}/cgroup.subtree_control") 2>/dev/null || true
  done
}

boot() (
  enter_new_cgroup
  options=(
    --quiet --register=no --keep-unit --kill-signal=SIGRTMIN+3 --console=read-only
    --directory="$root" --machine="$machine"
    --network-namespace-path=/proc/self/ns/net --capability=CAP_NET_ADMIN
    --link-journal=no --resolv-conf=off --timezone=off
    --bind-ro="${repository//:/\\:}:/srv/sample.git"
    --bind-ro="${programs//:/\\:}:/usr/local/lib/switchproof-lab/real"
  )
  [[ ! -e /dev/net/tun ]] || options+=(--bind=/dev/net/tun)
  [[ $(<"$root/etc/switchproof-lab/runtime") != kvm ]] || options+=(--bind=/dev/kvm)
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  # Hosts route for the containers and microVMs inside them.
  export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
  # Not --boot, which passes by the boot loader that the image has as /sbin/init.
  exec systemd-nspawn "${options[@]}" -- /sbin/init
)

connect
release_other_roots
hide_run
delegate_controllers
rebooted=133 # what systemd-nspawn --keep-unit says when the host asked to be booted again
status=$rebooted
while [[ $status -eq $rebooted ]]; do
  status=0
  boot || status=$?
done
exit "$status"
