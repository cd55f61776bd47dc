#!@busybox@/bin/busybox sh
# shellcheck shell=dash
set -eu
echo "hypervisor @version@ listens on 127.0.0.1:9090"
exec @out@/libexec/hypervisor TCP-LISTEN:9090,bind=127.0.0.1,fork,reuseaddr,backlog=64 EXEC:@out@/bin/answer,nofork 3>&1
