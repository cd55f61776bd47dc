# Who listens.

# Who listens: one line a socket and process, with the unit whose control group the process is in. For -l the kernel goes
# through the table of its connections as well.
readonly LISTENING='-Htnp state listening'
sockets=
say_listeners() {
  local container rows
  ask_ss "$LISTENING"
  sockets=$answered
  printf '%s\n' "$sockets" >"$SCRATCH/sockets"
  find_listeners <"$SCRATCH/sockets"
  add_unix_listeners ''
  say listeners "$rows"
  for container in "${!LEADER[@]}"; do
    [ -n "${LEADER[$container]}" ] || continue
    ask_ss "$LISTENING" nsenter -t "${LEADER[$container]}" -n --
    find_listeners <<<"$answered"
    add_unix_listeners "$container"
    say "listeners.$container" "$rows"
  done
}

# Ask ss who listens, again where it fails; that it never answered is said. $1 are its options, the rest goes before it.
ask_ss() {
  local tries=0 stderr=''
  while ((tries < 5)); do
    tries=$((tries + 1))
    # shellcheck disable=SC2086 # options are words
    ! ask_within 10 "${@:2}" ss $1 || return 0
    sleep 0.5
  done
  # shellcheck disable=SC2086
  stderr=$(timeout 10 "${@:2}" ss $1 2>&1 >/dev/null) || true
  answered=''
  [ -n "${said[sockets.problem]:-}" ] || say sockets.problem "ss failed $tries times: ${stderr:0:300}"
}

# Add to `rows` who listens on the unix sockets that probes ask in the network of the container $1, as `listeners` does
# for ports. Of all the sockets that were ever made at a path, the inode tells which one a connection reaches now.
add_unix_listeners() {
  local name line inode device number pid unit held='' asked=''; local -a part
  for name in "${NAMES[@]}"; do
    if [[ ${ENDPOINT["$name question"]} != unix$RS* || ${ENDPOINT["$name container"]} != "$1" ]]; then continue; fi
    split_to part "$RS" "${ENDPOINT["$name question"]}"
    read -r inode device number < <(stat -L -c '%i %Hd/%Ld %d' -- "${part[3]}" 2>/dev/null || true) || continue
    # ss splits the device's number as the kernel does inside; some kernels give it the number that stat sees.
    number_to number "$number" 0
    number=$((number >> 20))/$((number & 1048575))
    [ -n "$asked" ] || ask_ss -Hlxnpe ${1:+nsenter -t "${LEADER[$1]}" -n --}
    asked=yes
    while IFS= read -r line; do
      [[ $line =~ \ ino:([0-9]+)\ dev:([0-9]+/[0-9]+) && ${BASH_REMATCH[1]} == "$inode" ]] || continue
      case ${BASH_REMATCH[2]} in "$device" | "$number") ;; *) continue ;; esac
      pid=0 unit='?'
      while [[ $line == *pid=[0-9]* ]]; do
        line=${line#*pid=} pid=${line%%[!0-9]*}
        [ -n "$pid" ] || continue
        find_unit "$pid"
        [ "$unit" != /init.scope ] || find_held "${part[3]}"
        rows+=$'\n'"${part[3]} $pid $unit"
      done
      [ "$pid" != 0 ] || rows+=$'\n'"${part[3]} 0 ?"
    done <<<"$answered"
  done
}

# For which unit of the contract systemd holds the socket $1, into `unit`; `held` keeps what systemd said of that.
find_held() {
  local name port=${1##*:}
  [ -n "$held" ] || held=$'\n'$(held_sockets)$'\n'
  for name in "${UNITS[@]}"; do
    # A socket for every address is [::] to systemd and * to ss.
    if [[ $held == *$'\n'"$1 $name"$'\n'* || ($1 == "*:$port" && $held == *$'\n'"[::]:$port $name"$'\n'*) ]]; then unit=$name; fi
  done
}

# The sockets that systemd itself holds for units, as `address service` a line: the service is in the contract.
held_sockets() {
  local line address service; local -a triggers=() listens=()
  # shellcheck disable=SC2034 # the unit's name ends its part
  while IFS= read -r line; do
    case $line in
      Listen=*' (Stream)') line=${line#Listen=} listens+=("${line% (Stream)}") ;;
      Triggers=*) read -r -a triggers <<<"${line#Triggers=}" ;;
      '')
        for address in "${listens[@]}"; do
          for service in "${triggers[@]}"; do printf '%s %s\n' "$address" "$service"; done
        done
        listens=() triggers=()
        ;;
    esac
  done < <({ ask_systemctl show -p Listen,Triggers -- '*.socket' && printf '%s\n\n' "$answered"; } || true)
}

# Read what ss says, into `rows`: a line a socket and process.
find_listeners() {
  local address rest pid unit seen held=''
  rows=''
  while read -r _ _ address _ rest; do
    seen=' '
    while [[ $rest == *pid=[0-9]* ]]; do
      rest=${rest#*pid=} pid=${rest%%[!0-9]*}
      [ -n "$pid" ] || continue
      [[ $seen != *" $pid "* ]] || continue
      seen+="$pid "
      find_unit "$pid"
      [ "$unit" != /init.scope ] || find_held "$address"
      rows+="$address $pid $unit"$'\n'
    done
    # Somebody whom ss cannot name is a stranger all the same.
    [ "$seen" != ' ' ] || [ -z "$address" ] || rows+="$address 0 ?"$'\n'
  done
  rows=${rows%$'\n'}
}
