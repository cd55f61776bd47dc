#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# Gives a sandbox its cable to the bridge, tap-NAME on the host: a tap that stays, or without a machine one end of a
# pair whose other end is in the network namespace vm-NAME. The hardware address inside stays the same from start to
# start, so that the host's neighbour table stays right.
set -eu
tap=tap-$1
ip=@ip@/bin/ip

read -r runtime </etc/switchproof-lab/runtime
if [ "$runtime" = netns ]; then
  @out@/bin/disconnect "$1"
  $ip netns add "vm-$1"
  $ip link add "$tap" type veth peer name eth0 address "$GUEST_MAC" netns "vm-$1"
  $ip -n "vm-$1" address add "$GUEST_ADDRESS/24" dev eth0
  $ip -n "vm-$1" link set lo up
  $ip -n "vm-$1" link set eth0 up
  $ip -n "vm-$1" route add default via 10.0.0.1
elif [ ! -e "/sys/class/net/$tap" ]; then
  $ip tuntap add dev "$tap" mode tap
fi
$ip link set "$tap" master br-choiros up
