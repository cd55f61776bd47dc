#!/bin/bash
# Boots this system: the kernel's init= on a real machine.
export PATH=/usr/bin:/usr/sbin:/bin:/sbin
@out@/activate
ln -sfn @out@ /run/booted-system
exec /usr/lib/systemd/systemd "$@"
