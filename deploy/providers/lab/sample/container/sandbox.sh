#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# Becomes the program of the sandbox $INSTANCE inside its container.
set -eu
WORDS=$(@busybox@/bin/busybox cat "/etc/switchproof-lab/guest-$INSTANCE" 2>/dev/null || true)
read -r BEGAN _ </proc/uptime
export WORDS BEGAN STATE=/run/sandbox GUEST_ADDRESS=0.0.0.0
exec @out@/sandbox/start
