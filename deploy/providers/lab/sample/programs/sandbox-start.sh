#!@busybox@/bin/busybox sh
# shellcheck shell=dash
set -eu
export INSTANCE="$1"
listen=TCP-LISTEN:8080,bind=$GUEST_ADDRESS,fork,reuseaddr,backlog=64
echo "sandbox $INSTANCE @version@ listens on $GUEST_ADDRESS:8080"
exec @out@/bin/sandbox "$listen" EXEC:@out@/bin/answer,nofork 3>&1
