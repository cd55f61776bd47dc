#!@busybox@/bin/busybox sh
# shellcheck shell=dash disable=SC1091,SC2154
. @http@

health=healthy
read -r hostname </proc/sys/kernel/hostname

read_request
case $path in
/health)
  answer '200 OK' 'application/json' \
    "{\"status\":\"$health\",\"version\":\"@version@\",\"instance_role\":\"$INSTANCE\",\"hostname\":\"$hostname\"}"
  ;;
/) answer '200 OK' 'text/plain' "ChoirOS sandbox $INSTANCE @version@" ;;
*) answer '404 Not Found' 'text/plain' 'no such page' ;;
esac
