#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# Takes the network namespace away with the workload: packets to it go unanswered then, as when a machine is gone.
read -r runtime </etc/switchproof-lab/runtime
[ "$runtime" = netns ] || exit 0
@ip@/bin/ip link delete "tap-$1" 2>/dev/null
@ip@/bin/ip netns delete "vm-$1" 2>/dev/null
exit 0
