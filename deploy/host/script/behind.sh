# What is behind an endpoint: its virtual machine, or its container.

# Put into `monitor_state` what a machine's monitor says of it, or why it says nothing. curl is what every host has that
# reaches such a socket; it would go on listening after QEMU's answer, so only the answer is waited for.
monitor_state=''
ask_monitor() {
  local socket=${1#*:} fd line text=''
  monitor_state=absent
  [ -S "$socket" ] || return 0
  case $1 in
    qmp:*)
      exec {fd}< <(exec curl -q -sS --no-buffer --max-time 2 --unix-socket "$socket" telnet://localhost 2>/dev/null \
        <<<$'{"execute":"qmp_capabilities"}\r\n{"execute":"query-status"}\r')
      while IFS= read -r -t 3 line <&"$fd"; do
        text+=$line
        [[ $line != *'"running"'* ]] || break
      done
      exec {fd}<&-
      ;;
    *) text=$(exec curl -q -sS --max-time 2 --unix-socket "$socket" http://localhost/api/v1/vm.info 2>/dev/null) || true ;;
  esac
  monitor_state=silent
  [[ ! $text =~ \"(status|state)\":\ *\"([A-Za-z-]+)\" ]] || monitor_state=${BASH_REMATCH[2],,}
}

# Add to `facts_seen` the process $2 under the name $1: its number, state, age in seconds, and what it waits for.
add_process() {
  local text up since waits; local -a fields
  file_to text "/proc/$2/stat"
  [ -n "$text" ] || { facts_seen+="$1 "$'\n'; return; }
  read -r -a fields <<<"${text##*)}"
  uptime_to up
  milliseconds_to up "$up"
  number_to since "${fields[19]:-}" 0
  file_to waits "/proc/$2/wchan"
  [[ $waits =~ ^[A-Za-z_][A-Za-z0-9_.]*$ ]] || waits=-
  facts_seen+="$1 $2 ${fields[0]:-?} $((up / 1000 - since / 100)) $waits"$'\n'
}

# Add to `facts_seen` the state of the link $1, whether it has a carrier, and the link that is its master.
add_tap() {
  local operstate carrier master='' link
  [ -e "/sys/class/net/$1" ] || { facts_seen+=$'tap absent\n'; return; }
  file_to operstate "/sys/class/net/$1/operstate"
  file_to carrier "/sys/class/net/$1/carrier"
  for link in /sys/class/net/*; do
    [ ! "/sys/class/net/$1/master" -ef "$link" ] || master=${link##*/}
  done
  facts_seen+="tap ${operstate:-unknown} ${carrier:-unknown} $master"$'\n'
}

# Put into `neighbours` how the host finds the addresses that are given in its networks, a line each after the first.
ask_neighbours() {
  local questions
  printf -v questions 'neighbour show to %s\n' "$@"
  ask_within 5 ip -force -batch - <<<"$questions" || true
  neighbours=$'\n'$answered
}

# Put into `facts_seen` a machine's process, monitor and network, as the host sees them at this moment.
facts_seen=''
find_machine() {
  local unit tap monitor pid entry address=${2#*://}; local -a machine
  facts_seen=''
  split_to machine "$RS" "$1"
  unit=${machine[0]} tap=${machine[1]:-} monitor=${machine[3]:-}
  number_to pid "${value["$unit MainPID"]:-}" 0
  ! ((pid)) || add_process process "$pid"
  if [ -n "$monitor" ]; then
    ask_monitor "$monitor"
    facts_seen+="monitor $monitor_state"$'\n'
  fi
  [ -z "$tap" ] || add_tap "$tap"
  [ -n "$2" ] || return 0
  address=${address%%[:/]*}
  [ -n "${neighbours:-}" ] || { local neighbours && ask_neighbours "$address"; }
  entry=${neighbours#*$'\n'"$address "}
  [ "$entry" != "$neighbours" ] || entry=''
  entry=${entry%%$'\n'*} entry=${entry%"${entry##*[! ]}"}
  facts_seen+="neighbour ${entry##* }"
}

say_machine() {
  local name=$1 unit=${2%%"$RS"*}
  find_machine "$2" "$3"
  say "machine.$name" "$facts_seen"
  say "systemd.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="$unit" 2>/dev/null | tail_of 16384)"
  say "console.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" -n 60 _SYSTEMD_UNIT="$unit" 2>/dev/null | tail_of 8192)"
}

# Put into `pid` the process that is a unit's main one inside a container, by its number here.
find_main_inside() {
  local main file
  pid=''
  number_to main "${value["$1 MainPID"]:-}" 0
  ! ((main)) || for file in /sys/fs/cgroup{,/systemd}"${value["$1 ControlGroup"]}"/cgroup.procs; do
    while read -r pid; do
      ! grep -qs "^NSpid:.*[[:space:]]$main\$" "/proc/$pid/status" || return 0
    done 2>/dev/null <"$file" || true
  done
  pid=''
}

# Put into `facts_seen` a container, its systemd, its network, and the unit inside, as the host sees them at this moment.
find_container() {
  local leader=${LEADER[$1]:-} pid words=answers up='[<,]UP[,>]'
  if [ -z "$leader" ]; then facts_seen='leader none'; return; fi
  facts_seen=''
  add_process leader "$leader"
  [ "${value["$2 ActiveState"]:-}" != unknown ] || words=silent
  facts_seen+="systemd $words"$'\n'
  find_main_inside "$2"
  [ -z "$pid" ] || add_process process "$pid"
  words=''
  ask_within 5 nsenter -t "$leader" -n -- ip -o link show lo || true
  [[ ! $answered =~ $up ]] || words=UP
  facts_seen+="network $words"
}

say_container() {
  local name=$1 container=$2 unit=$3
  find_container "$container" "$unit"
  say "container.$name" "$facts_seen"
  say "outside.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="$container" 2>/dev/null | tail_of 16384)"
  say "inside.$name" "$([[ $unit != */* ]] || inside "${unit%%/*}" \
    journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="${unit#*/}" 2>/dev/null | tail_of 16384)"
}

# What a person on call would look at inside; with nobody to ask, what is known from outside.
diagnose_container() {
  local name=$1 container=$2 unit=$3 leader=${LEADER[$2]:-}
  find_container "$container" "$unit"
  say "container/$name.facts" "$facts_seen"
  say "container/$name.console" "$(journalctl -q --no-pager -o short-iso-precise -n 200 _SYSTEMD_UNIT="$container" 2>&1 | tail_of 65536)"
  [ -n "$leader" ] || return 0
  say "container/$name.sockets" "$(nsenter -t "$leader" -n -- ss -tunap 2>&1 | tail_of 65536)"
  say "container/$name.network" "$(nsenter -t "$leader" -n -- ip -s address show 2>&1 | tail_of 65536)"
  if [[ $unit != */* || ${value["$unit ActiveState"]:-} == unknown ]]; then return; fi
  say "container/$name.units" "$(inside "${unit%%/*}" systemctl list-units --all --no-pager --full 2>&1 | tail_of 65536)"
}

# What is behind the endpoints that are not healthy: the workloads' own answers, all asked at once, and their machines.
look_behind() {
  local name backend fd; local -A asked=()
  for name in "${NAMES[@]}"; do
    backend=${ENDPOINT["$name backend"]}
    if [ -z "$backend" ] || [ -n "${good[$name]}" ]; then continue; fi
    exec {fd}< <(ask "$backend" | head -c "$((MAX_BYTES + 1024))")
    asked[$name]=$fd
  done
  for name in "${!asked[@]}"; do
    fd=${asked[$name]}
    say "backend.$name" "$(cat <&"$fd")"
    exec {fd}<&-
  done
  for name in "${NAMES[@]}"; do
    case ${settled[$name]} in healthy | cut-short) continue ;; esac
    [ -z "${ENDPOINT["$name machine"]}" ] ||
      say_machine "$name" "${ENDPOINT["$name machine"]}" "${ENDPOINT["$name backend"]}" "$((moment - 60))"
    [ -z "${ENDPOINT["$name container"]}" ] ||
      say_container "$name" "${ENDPOINT["$name container"]}" "${ENDPOINT["$name listener"]}" "$((moment - 60))"
  done
}
