#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# Takes the network away with the workload: packets to it go unanswered then, as when a virtual machine is gone.
name=vm-$1
@ip@/bin/ip link delete "$name" 2>/dev/null
@ip@/bin/ip netns delete "$name" 2>/dev/null
exit 0
