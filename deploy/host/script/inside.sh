# Looking into containers.

# The process that is the first one inside a container: a child of its unit's main process.
find_leader() {
  local pid child; local -a children=()
  open_jail
  number_to pid "${value["$1 MainPID"]:-}" 0
  LEADER[$1]=''
  { read -r -a children <"/proc/$pid/task/$pid/children"; } 2>/dev/null || true
  for child in "${children[@]}"; do
    ! grep -qs '^NSpid:.*[[:space:]]1$' "/proc/$child/status" || LEADER[$1]=$child
  done
}

# Run a command inside a container; fails where none is up, or where it does not end.
inside() {
  local leader=${LEADER[${CONTAINER_OF[$1]}]:-}
  [ -n "$leader" ] && enter "$leader" "${@:2}"
}

# A user namespace in which root is root over nothing that the host has, as an open file: JAIL.
JAIL=''
open_jail() {
  local holder ready
  [ -z "$JAIL" ] || return 0
  exec {holder}< <(exec unshare --user --map-root-user sh -c 'echo ready && exec sleep 60' 2>/dev/null)
  if IFS= read -r -t 10 ready <&"$holder" && [ "$ready" = ready ]; then exec {JAIL}<"/proc/$!/ns/user"; fi
  kill "$!" 2>/dev/null || true
  exec {holder}<&-
}

# Close all open files but the standard ones and $1: a lock among them would be held by whatever a program leaves behind.
close_files() {
  local file fd
  for file in /proc/"$BASHPID"/fd/*; do
    fd=${file##*/}
    case $fd in 0 | 1 | 2 | 255 | "$1") ;; *) exec {fd}>&- ;; esac
  done
}

# Run a program of the container that the process $1 leads. It may be anybody's, so it gets no rights over the host, no
# terminal and no open file; and it says so much and takes so long at most.
enter() (
  [ -n "$JAIL" ] || return
  number_to limit "${INSIDE_S:-}" 10
  close_files "$JAIL"
  {
    [ /dev/stderr -ef /dev/null ] || exec 2>&1
    exec setsid --wait timeout -k 1 "$limit" setpriv --no-new-privs nsenter --preserve-credentials \
      --user="/proc/self/fd/$JAIL" -t "$1" -m -u -i -n -p -- "${@:2}" </dev/null
  } | timeout -k 1 "$((limit + 2))" head -c 1048576
)

# The units inside a container under their names here, with control groups as the host sees them.
show_inside() {
  local text unit group=${value["${CONTAINER_OF[$1]} ControlGroup"]:-}; local -a units
  read -r -a units <<<"${INSIDE[$1]}"
  if text=$(INSIDE_S=${PATIENCE[$1]:-5} inside "$1" systemctl show "${PROPERTIES[@]}" -- "${units[@]}" 2>/dev/null); then
    sed -e "s|^Id=|&$1/|" -e "s|^ControlGroup=/|ControlGroup=$group/payload/|" <<<"$text"
    return
  fi
  local state=inactive sub='container down'
  [ -z "${LEADER[${CONTAINER_OF[$1]}]}" ] || state=unknown sub='the systemd inside does not answer'
  [ -n "$JAIL" ] || sub='not asked, as this host makes no user namespace'
  for unit in "${units[@]}"; do printf 'Id=%s\nActiveState=%s\nSubState=%s\n\n' "$1/$unit" "$state" "$sub"; done
}

# systemctl or journalctl about a unit, wherever it is; without its container, or where nobody in there answers, about
# that.
about() {
  local unit=$1 name=${1%%/*}
  if [[ $unit != */* ]]; then "${@:2}" "$unit"; return; fi
  if [ -z "${LEADER[${CONTAINER_OF[$name]}]}" ]; then
    echo "[$name is not up; of ${CONTAINER_OF[$name]}:]"
  elif [ "$2:${value["$unit ActiveState"]:-}" = systemctl:unknown ]; then
    echo "[the systemd in $name does not answer; of ${CONTAINER_OF[$name]}:]"
  else
    inside "$name" "${@:2}" "${unit#*/}"
    return
  fi
  "${@:2}" "${CONTAINER_OF[$name]}"
}
