# The verbs that look: observe and diagnose.

# Whether a line that is written to the journal now comes back from it; entries of old prove nothing.
journal_works() {
  local nonce
  answered=''
  write_to_journal && comes_back
}

# Write a line to the journal that was never there before; its text is put into `nonce`.
write_to_journal() {
  file_to nonce /proc/sys/kernel/random/uuid
  nonce=switchproof-$nonce
  ask_within 5 logger -u /run/systemd/journal/dev-log -t switchproof -- "$nonce"
}

# Whether that line is in `answered`, or else comes back from the journal within 10 s.
comes_back() {
  local began
  uptime_to began
  until [[ $answered == *"$nonce"* ]]; do
    ! gone_by 10 "$began" || return
    if ask_within 5 journalctl -q --no-pager -o cat -n 1 -t switchproof MESSAGE="$nonce" && [ -n "$answered" ]; then continue; fi
    sleep 0.2
  done
}

# Ask at once for the journal of all of the host's units, whose size is put into `journal`, and for the line that was
# written: these are the fields by which `journalctl -u` finds what a unit and systemd say of it. Fails where the line
# does not come back; whether each unit has a journal at this moment is not asked.
ask_journal() {
  local unit line; local -a matches=()
  for unit in "${HOST_UNITS[@]}"; do matches+=("_SYSTEMD_UNIT=$unit" + _PID=1 "UNIT=$unit" +); done
  if ask_within 20 journalctl -q --no-pager -n 10 "${matches[@]}" SYSLOG_IDENTIFIER=switchproof MESSAGE="$nonce"; then
    journal=0
    while IFS= read -r line; do
      [[ -n $nonce && $line == *"$nonce"* ]] || journal=$((journal + ${#line} + 1))
    done <<<"$answered"
  fi
  [ -n "$nonce" ] && comes_back
}

# Show that unit states, logs and sockets could be emitted if something failed.
say_diagnosable() {
  local unit fd text told='' journal='' nonce='' works='' name backend neighbours
  local -a addresses=(); local -A inner=() size=()
  # It has time to arrive until it is asked for.
  write_to_journal || nonce=''
  for unit in "${UNITS[@]}"; do
    [[ $unit == */* ]] || continue
    # The dot says that journalctl ended well.
    exec {fd}< <(about "$unit" journalctl -q --no-pager -n 5 -u 2>/dev/null && printf .)
    inner[$unit]=$fd
  done
  # What the watch heard of the host's units at its end tells their state.
  [ -n "$silent" ] || for unit in "${HOST_UNITS[@]}"; do size[$unit]=${value["$unit size"]:-0}; done
  ! ask_journal || works=yes
  for unit in "${UNITS[@]}"; do
    [[ $unit == */* ]] || continue
    text=$(about "$unit" systemctl status --no-pager -n 0 -- 2>/dev/null || true)
    size[$unit]=$((${#text}))
  done
  for unit in "${UNITS[@]}"; do
    told+="systemctl $unit ${size[$unit]:-0}"$'\n'
    fd=${inner[$unit]:-} text=''
    if [ -z "$fd" ]; then
      [ -z "$journal" ] || told+="journalctl $unit $journal"$'\n'
      continue
    fi
    IFS= read -r -d '' text <&"$fd" || true
    exec {fd}<&-
    [[ $text != *. ]] || told+="journalctl $unit $((${#text} - 1))"$'\n'
  done
  for name in "${NAMES[@]}"; do
    backend=${ENDPOINT["$name backend"]#*://} backend=${backend%%[:/]*}
    if [ -n "${ENDPOINT["$name machine"]}" ] && [ -n "$backend" ]; then addresses+=("$backend"); fi
  done
  ((${#addresses[@]} == 0)) || ask_neighbours "${addresses[@]}"
  for name in "${NAMES[@]}"; do
    if [ -n "${ENDPOINT["$name machine"]}" ]; then
      find_machine "${ENDPOINT["$name machine"]}" "${ENDPOINT["$name backend"]}"
      told+="machine $name ${#facts_seen}"$'\n'
    fi
    if [ -z "${ENDPOINT["$name container"]}" ] || [ -z "${LEADER["${ENDPOINT["$name container"]}"]}" ]; then continue; fi
    find_container "${ENDPOINT["$name container"]}" "${ENDPOINT["$name listener"]}"
    told+="container $name ${#facts_seen}"$'\n'
  done
  [ -z "$sockets" ] || told+="ss sockets ${#sockets}"$'\n'
  [ -z "$works" ] || told+="journald line 1"
  say diagnosable "${told%$'\n'}"
}

verb_observe() {
  refresh_lease
  watch_endpoints
  say_system
  say_processes
  say_listeners
  say_boot
  say_pending
  # Where an endpoint was given up, they are asked for themselves.
  if [ -z "${said[watch.reasons]}" ]; then say_diagnosable; else say diagnosable ''; fi
}

# A unit's journal since a time; where it said nothing since, its last words before.
journal_since() {
  local text
  text=$(about "$2" journalctl -q --no-pager -o short-iso-precise --since "@$1" -u | tail_of 262144) || return 0
  if [ -z "$text" ]; then
    text="[nothing since the deploy began; before that:]
$(about "$2" journalctl -q --no-pager -o short-iso-precise -n 20 -u | tail_of 65536)" || return 0
  fi
  printf '%s' "$text"
}

# The machine behind a workload: what the host sees of it, its own words, and the way to it.
diagnose_machine() {
  local name=$1 unit tap bridge link
  IFS=$RS read -r unit tap bridge _ <<<"$2"
  find_machine "$2" "$3"
  say "machine/$name.facts" "$facts_seen"
  [ -z "$3" ] || say "machine/$name.answer" "$3"$'\n'"$(ANSWER_TIMEOUT_S=2 && ask "$3" | head -c "$((MAX_BYTES + 1024))")"
  say "machine/$name.console" "$(journalctl -q --no-pager -o short-iso-precise -n 200 _SYSTEMD_UNIT="$unit" 2>&1 | tail_of 65536)"
  say "machine/$name.network" "$({
    for link in $tap $bridge; do ip -s address show dev "$link"; done
    [ -z "$bridge" ] || ip link show master "$bridge"
    ip neighbour show
  } 2>&1 | tail_of 65536)"
}

verb_diagnose() {
  local unit began name command number=0; local -a commands
  refresh_lease
  number_to began "$(section "$STATE/runs/$RUN/before" began)" "$((EPOCHSECONDS - 3600))"
  show_units
  while read -r unit; do
    # Its state comes first. While a unit's words still arrive, more than the last twenty follow, and the journal has them anyway.
    say "status/$unit" "$(about "$unit" systemctl status --no-pager --full -n 20 -- 2>&1 | head -c 65536)"
    say "show/$unit" "$(about "$unit" systemctl show -- 2>&1 | tail_of 65536)"
    say "journal/$unit" "$(journal_since "$began" "$unit")"
  done < <({ contract_units && printf '%s\n' "$failed"; } | awk 'NF && !seen[$0]++')
  say sockets "$({
    ss -tunap
    for name in "${!LEADER[@]}"; do
      printf '\n%s:\n' "$name"
      [ -z "${LEADER[$name]}" ] || nsenter -t "${LEADER[$name]}" -n -- ss -tunap
    done
  } 2>&1 | tail_of 131072)"
  ! journal_works || say journald "a line that was written now came back from the journal"
  say failed-units "$(systemctl list-units --failed --no-pager --full 2>&1 | tail_of 65536)"
  say switch-journal "$(journalctl -q --no-pager -o short-iso-precise --since "@$began" -t nixos 2>&1 | tail_of 65536)"
  say generations "$(find "${PROFILE%/*}" /run/current-system /run/booted-system -maxdepth 1 -printf '%p -> %l, %t\n' 2>&1 | sort | tail_of 65536)"
  say disk "$(df -h 2>&1; df -i / /nix 2>&1)"
  say memory "$(cat /proc/meminfo /proc/loadavg 2>&1)"
  say kernel "$(dmesg --color=never -T 2>&1 | tail -n 100 | tail_of 65536)"
  for name in "${NAMES[@]}"; do
    [ -z "${ENDPOINT["$name machine"]}" ] ||
      diagnose_machine "$name" "${ENDPOINT["$name machine"]}" "${ENDPOINT["$name backend"]}"
    [ -z "${ENDPOINT["$name container"]}" ] ||
      diagnose_container "$name" "${ENDPOINT["$name container"]}" "${ENDPOINT["$name listener"]}"
    split_to commands "$RS" "${ENDPOINT["$name looks"]}"
    for command in "${commands[@]}"; do
      [ -n "$command" ] || continue
      number=$((number + 1))
      say "inside/$name.$number" "\$ $command"$'\n'"$(timeout 10 bash -c "$command" 2>&1 </dev/null | tail_of 65536)"
    done
  done
}
