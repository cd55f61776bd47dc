#!/usr/bin/env bash
# Puts the guests' kernel and the drivers that they need into the root that mmdebstrap is making:
#   install-guest-kernel.sh ROOT
# The kernel's package itself is not installed: it would want a boot loader, an initramfs and 20 MB of drivers.
set -euo pipefail

readonly root=$1
readonly guest=/usr/local/lib/switchproof-lab/guest

number() { od --address-radix=n --endian=little --format="u$3" --skip-bytes="$2" --read-bytes="$3" "$1" | tr -d ' '; }

# unpack_kernel VMLINUZ: prints the kernel inside, which boots a second sooner because it need not unpack itself.
# The numbers are fields of the boot protocol (Documentation/arch/x86/boot.rst): setup_sects, payload_offset and
# payload_length. The payload's last four bytes are its length unpacked.
unpack_kernel() {
  local begin length
  begin=$((($(number "$1" 0x1f1 1) + 1) * 512 + $(number "$1" 0x248 4)))
  length=$(($(number "$1" 0x24c 4) - 4))
  head --bytes=$((begin + length)) "$1" | tail --bytes="$length" | chroot "$root" zstd --decompress --quiet
}

unpacked=$root$guest.unpacked
mkdir --parents "$unpacked" "$root$guest/modules"
# shellcheck disable=SC2016 # expanded inside
chroot "$root" sh -euc '
  cd "$1"
  # Newer kernels are split: the image depends on a package with the kernel and one with its modules.
  needs() { apt-cache depends "$1" | sed -n "s/^ *Depends: \(linux-\($2\)-[0-9].*\)/\1/p"; }
  image=$(needs linux-image-cloud-amd64 image | head -n 1)
  for package in "$image" $(needs "$image" "binary\|modules"); do
    apt-get download -qq -o APT::Sandbox::User=root "$package"
    dpkg-deb --extract "$package"_*.deb .
  done
' sh "$guest.unpacked"
unpack_kernel "$(find "$unpacked" -name 'vmlinuz*')" >"$root$guest/vmlinux"
for module in virtio/virtio_mmio net/core/failover net/net_failover net/virtio_net; do
  file=$(find "$unpacked/usr/lib/modules" -path "*/$module.ko.xz")
  chroot "$root" busybox xzcat "${file#"$root"}" >"$root$guest/modules/${module##*/}.ko"
done
rm -r "$unpacked"
