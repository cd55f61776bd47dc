#!@busybox@/bin/busybox sh
# shellcheck shell=dash disable=SC2016
# Becomes the sandbox NAME: a microVM, or where the host says so a process in a network namespace. It runs from a copy
# of the image in its state folder, as a machine with a disk does.
set -eu
name=$1
state=/var/lib/choiros/vms/$name
bb=@busybox@/bin/busybox
words=$($bb cat "/etc/switchproof-lab/guest-$name" 2>/dev/null || true)
kernel=/usr/local/lib/switchproof-lab/guest/vmlinux

# copy FROM: a file or a folder, whole or not at all.
copy() {
  target=$state/$($bb basename "$1")
  $bb rm -rf "$target" "$target.unfinished"
  $bb cp -r "$1" "$target.unfinished"
  $bb mv "$target.unfinished" "$target"
}

# Options that keep a guest from hanging or dawdling at its start: docs/lab.md has the reasons.
microvm() {
  $bb mkdir -p "$state"
  copy @image@/initramfs.gz
  for word in $words; do
    case $word in kernel=*) kernel=${word#*=} ;; esac
  done
  frequency=$($bb awk '/^cpu MHz/ { printf "%d", $4 * 1000; exit }' /proc/cpuinfo)
  set -- "console=ttyS0 loglevel=3 panic=-1 tsc_early_khz=$frequency tsc=reliable mitigations=off lsm= audit=0" \
    "rcupdate.rcu_expedited=1 cryptomgr.notests 8250.nr_uarts=1 no_timer_check" \
    "guest.name=$name guest.address=$GUEST_ADDRESS $words"
  # shellcheck disable=SC2086 # options
  exec @qemu@/bin/qemu-system-x86_64 -L /usr/share/qemu -L /usr/share/seabios -name "$name" \
    -M microvm,pic=off,pit=off $accelerator -m 96 -smp 1 \
    -nodefaults -no-user-config -display none -no-reboot -serial stdio -monitor none \
    -qmp "unix:/run/microvm-$name/qmp.sock,server=on,wait=off" \
    -kernel "$kernel" -initrd "$state/initramfs.gz" -append "$*" \
    -netdev "tap,id=n0,ifname=tap-$name,script=no,downscript=no" \
    -device "virtio-net-device,netdev=n0,mac=$GUEST_MAC"
}

process() {
  $bb mkdir -p "$state"
  copy @programs@/sandbox
  read -r BEGAN _ </proc/uptime
  export BEGAN INSTANCE="$name" WORDS="$words" STATE="/run/microvm-$name"
  exec @ip@/bin/ip netns exec "vm-$name" "$state/sandbox/start"
}

read -r runtime </etc/switchproof-lab/runtime
case $runtime in
tcg) accelerator='-accel tcg,thread=single,tb-size=32 -cpu qemu64,+arat' && microvm ;;
kvm) accelerator='-accel kvm -cpu host' && microvm ;;
netns) process ;;
*) echo "the runtime '$runtime' in /etc/switchproof-lab/runtime is none of tcg, kvm, netns" >&2 && exit 78 ;;
esac
