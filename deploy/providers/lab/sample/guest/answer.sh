#!@busybox@/bin/busybox sh
# shellcheck shell=dash disable=SC1091,SC2154
here=${0%/*}
. "$here/http"

health=healthy
version=@version@
answer=good
[ ! -e "$STATE/status" ] || read -r health <"$STATE/status"
[ ! -e "$STATE/version" ] || read -r version <"$STATE/version"
[ ! -e "$STATE/answer" ] || read -r answer <"$STATE/answer"
[ ! -e "$STATE/word" ] || read -r word <"$STATE/word"
read -r hostname </proc/sys/kernel/hostname
read -r uptime _ </proc/uptime

# In a machine the kernel's uptime is the sandbox's own; elsewhere $BEGAN says when the process was started.
if [ -n "${BEGAN:-}" ]; then
  hundredths=$((${uptime%.*}${uptime#*.} - ${BEGAN%.*}${BEGAN#*.}))
  uptime=$(printf '%d.%02d' $((hundredths / 100)) $((hundredths % 100)))
fi

# Takes the whole request and says nothing until the client is gone.
keep_silent() {
  printf '%s %s no answer%s\n' "$method" "$path" "${word:+ $word}" >&3
  while read -r _; do :; done
}

health() {
  case $answer in
  hang) keep_silent ;;
  503) answer '503 Service Unavailable' 'text/plain' "sandbox $INSTANCE is overloaded" ;;
  *)
    answer '200 OK' 'application/json' \
      "{\"status\":\"$health\",\"instance_role\":\"$INSTANCE\",\"version\":\"$version\",\"uptime\":$uptime,\"hostname\":\"$hostname\"}"
    ;;
  esac
}

# set_word NAME/VALUE
set_word() {
  echo "${1#*/}" >"$STATE/${1%%/*}"
  answer '200 OK' 'text/plain' "${1%%/*} is ${1#*/}"
}

read_request
case $path in
/health) health ;;
/set/status/* | /set/version/* | /set/answer/*) set_word "${path#/set/}" ;;
/panic)
  [ ! -x "$here/panic" ] || exec "$here/panic"
  answer '404 Not Found' 'text/plain' 'no kernel of its own'
  ;;
/) answer '200 OK' 'text/plain' "ChoirOS sandbox $INSTANCE $version" ;;
*) answer '404 Not Found' 'text/plain' 'no such page' ;;
esac
