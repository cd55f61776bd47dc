#!@busybox@/bin/busybox sh
# shellcheck shell=dash
# Serves the sandbox $INSTANCE on port 8080, or $PORT. Words of the host in $WORDS make it behave otherwise, to try how that is
# noticed; they are kept in the folder $STATE, where requests change them.
set -eu
here=${0%/*}

for word in $WORDS; do
  case $word in
  sandbox.*=*)
    word=${word#sandbox.}
    echo "${word#*=}" >"$STATE/${word%%=*}"
    ;;
  esac
done
[ ! -e "$STATE/word" ] || echo "sandbox $INSTANCE @version@ begins $(@busybox@/bin/busybox cat "$STATE/word")"
if [ -e "$STATE/exit" ]; then
  echo "sandbox $INSTANCE @version@ cannot find its model" >&2
  exit 1
fi
[ ! -e "$STATE/instance" ] || read -r INSTANCE <"$STATE/instance"
if [ -e "$STATE/program" ]; then
  read -r seconds <"$STATE/program"
  echo "sandbox $INSTANCE @version@ listens in $seconds s"
  @busybox@/bin/busybox sleep "$seconds"
fi
if [ -e "$STATE/crash" ]; then
  read -r seconds <"$STATE/crash"
  (
    @busybox@/bin/busybox sleep "$seconds"
    echo "sandbox $INSTANCE: out of memory"
    kill -KILL $$
  ) &
fi
echo "sandbox $INSTANCE @version@ listens on $GUEST_ADDRESS:${PORT:-8080}"
# Every l is a connection that may wait for its turn.
exec @busybox@/bin/busybox nc -llllllllllllllll -p "${PORT:-8080}" -e "$here/answer" 3>&1
