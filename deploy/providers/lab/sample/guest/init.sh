#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# The first process of a sandbox's machine: loads drivers, brings up the network, and runs the sandbox. When that
# ends, so does the machine.
bb=@busybox@/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t devtmpfs devtmpfs /dev
$bb stty -onlcr

WORDS=$($bb cat /proc/cmdline)
for word in $WORDS; do
  case $word in
  guest.name=*) INSTANCE=${word#*=} ;;
  guest.address=*) GUEST_ADDRESS=${word#*=} ;;
  sandbox.boot=*) echo "the machine waits before its network is up" && $bb sleep "${word#*=}" ;;
  esac
done
export WORDS INSTANCE GUEST_ADDRESS STATE=/run
$bb hostname "$INSTANCE"

for module in virtio_mmio failover net_failover virtio_net; do $bb insmod /modules/$module.ko; done
$bb ip link set lo up
$bb ip address add "$GUEST_ADDRESS/24" dev eth0
$bb ip link set eth0 up
$bb ip route add default via 10.0.0.1

/sandbox/start
echo "sandbox $INSTANCE has ended with status $?"
$bb reboot -f
