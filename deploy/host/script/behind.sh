# What is behind an endpoint: its virtual machine, or its container.

# What a machine's monitor says of it, or why it says nothing. curl is what every host has that reaches such a socket;
# it would go on listening after QEMU's answer, so only the answer is waited for.
ask_monitor() {
  local socket=${1#*:} fd line text=''
  if [ ! -S "$socket" ]; then echo absent; return; fi
  case $1 in
    qmp:*)
      exec {fd}< <(printf '%s\r\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status"}' |
        exec curl -q -sS --no-buffer --max-time 2 --unix-socket "$socket" telnet://localhost 2>/dev/null)
      while IFS= read -r -t 3 line <&"$fd"; do
        text+=$line
        [[ $line != *'"running"'* ]] || break
      done
      exec {fd}<&-
      ;;
    *) text=$(curl -q -sS --max-time 2 --unix-socket "$socket" http://localhost/api/v1/vm.info 2>/dev/null) || true ;;
  esac
  if [[ $text =~ \"(status|state)\":\ *\"([A-Za-z-]+)\" ]]; then echo "${BASH_REMATCH[2],,}"; else echo silent; fi
}

link_fact() { cat "/sys/class/net/$1/$2" 2>/dev/null || echo unknown; }

# A machine's process, monitor and network, as the host sees them at this moment.
machine_facts() {
  local unit tap monitor pid address=${2#*://} master
  IFS=$RS read -r unit tap _ monitor <<<"$1"
  number_to pid "${value["$unit MainPID"]:-}" 0
  ! ((pid)) || printf 'process %s\n' "$(ps -o pid=,stat=,etimes=,wchan= -p "$pid" || true)"
  [ -z "$monitor" ] || printf 'monitor %s\n' "$(ask_monitor "$monitor")"
  if [ -n "$tap" ] && [ ! -e "/sys/class/net/$tap" ]; then
    echo 'tap absent'
  elif [ -n "$tap" ]; then
    master=$(readlink "/sys/class/net/$tap/master" || true)
    printf 'tap %s %s %s\n' "$(link_fact "$tap" operstate)" "$(link_fact "$tap" carrier)" "${master##*/}"
  fi
  [ -z "$2" ] || printf 'neighbour %s\n' "$(ip neighbour show to "${address%%[:/]*}" 2>/dev/null | awk 'NR == 1 { print $NF }')"
}

say_machine() {
  local name=$1 unit=${2%%"$RS"*}
  say "machine.$name" "$(machine_facts "$2" "$3")"
  say "systemd.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="$unit" 2>/dev/null | tail_of 16384)"
  say "console.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" -n 60 _SYSTEMD_UNIT="$unit" 2>/dev/null | tail_of 8192)"
}

# The process that is a unit's main one inside a container, by its number here.
main_inside() {
  local main file pid
  number_to main "${value["$1 MainPID"]:-}" 0
  ! ((main)) || for file in /sys/fs/cgroup{,/systemd}"${value["$1 ControlGroup"]}"/cgroup.procs; do
    while read -r pid; do
      ! grep -qs "^NSpid:.*[[:space:]]$main\$" "/proc/$pid/status" || { echo "$pid"; return; }
    done 2>/dev/null <"$file" || true
  done
}

# A container, its systemd, its network, and the unit inside, as the host sees them at this moment.
container_facts() {
  local leader=${LEADER[$1]:-} pid
  if [ -z "$leader" ]; then echo 'leader none'; return; fi
  printf 'leader %s\n' "$(ps -o pid=,stat=,etimes=,wchan= -p "$leader" || true)"
  if [ "${value["$2 ActiveState"]:-}" = unknown ]; then echo 'systemd silent'; else echo 'systemd answers'; fi
  pid=$(main_inside "$2")
  [ -z "$pid" ] || printf 'process %s\n' "$(ps -o pid=,stat=,etimes=,wchan= -p "$pid" || true)"
  printf 'network %s\n' "$(nsenter -t "$leader" -n -- ip -o link show lo 2>/dev/null | grep -o '[<,]UP[,>]' | tr -d '<,>' || true)"
}

say_container() {
  local name=$1 container=$2 unit=$3
  say "container.$name" "$(container_facts "$container" "$unit")"
  say "outside.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="$container" 2>/dev/null | tail_of 16384)"
  say "inside.$name" "$([[ $unit != */* ]] || inside "${unit%%/*}" \
    journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="${unit#*/}" 2>/dev/null | tail_of 16384)"
}

# What a person on call would look at inside; with nobody to ask, what is known from outside.
diagnose_container() {
  local name=$1 container=$2 unit=$3 leader=${LEADER[$2]:-}
  say "container/$name.facts" "$(container_facts "$container" "$unit")"
  say "container/$name.console" "$(journalctl -q --no-pager -o short-iso-precise -n 200 _SYSTEMD_UNIT="$container" 2>&1 | tail_of 65536)"
  [ -n "$leader" ] || return 0
  say "container/$name.sockets" "$(nsenter -t "$leader" -n -- ss -tunap 2>&1 | tail_of 65536)"
  say "container/$name.network" "$(nsenter -t "$leader" -n -- ip -s address show 2>&1 | tail_of 65536)"
  if [[ $unit != */* || ${value["$unit ActiveState"]:-} == unknown ]]; then return; fi
  say "container/$name.units" "$(inside "${unit%%/*}" systemctl list-units --all --no-pager --full 2>&1 | tail_of 65536)"
}
