#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# Makes the network vm-NAME and hangs it on the bridge. Its hardware address stays the same from start to start,
# so that the host's neighbour table stays right.
set -eu
name=vm-$1
ip=@ip@/bin/ip
@out@/bin/disconnect "$1"
$ip netns add "$name"
$ip link add "$name" type veth peer name eth0 address "$GUEST_MAC" netns "$name"
$ip link set "$name" master br-choiros up
$ip -n "$name" address add "$GUEST_ADDRESS/24" dev eth0
$ip -n "$name" link set lo up
$ip -n "$name" link set eth0 up
$ip -n "$name" route add default via 10.0.0.1
