# What is done between two rounds of asking: telling what is waited for, and a rest; and when systemd is not asked in one.

# Report every 2 s, over a connection that shows it at once, each endpoint still waited for, its state and the time left.
say_waiting() {
  local name words='' present from length left
  { [ -n "${SWITCHPROOF_PROGRESS:-}" ] && gone_by 2 "$said_at"; } || return 0
  said_at=$now
  milliseconds_to present "$now" || return 0
  for name in $1; do
    if [ -n "${problem[$name]}" ]; then
      { milliseconds_to from "${again[$name]:-$began}" && milliseconds_to length "$READY_S"; } || return 0
      left=$(((from + length - present) / 1000))
      words+="; $name: ${problem[$name]:0:150} (at most $((left > 0 ? left : 0)) s left)"
    else
      { milliseconds_to from "${since[$name]}" && milliseconds_to length "$SOAK_S"; } || return 0
      left=$(((from + length - present) / 1000))
      words+="; $name: healthy ($((left > 0 ? left : 0)) s of the soak left)"
    fi
  done
  words=${words:2:600}
  printf 'SWITCHPROOF/1 %s waits %s\n' "$SWITCHPROOF_NONCE" "${words//[^[:print:]]/?}"
}

# Wait for the next round, which begins after the last one began: a fifth as long as the newest state among the endpoints
# $1 has lasted, at least INTERVAL_S, and no more than a second unless that is longer.
await_round() {
  local name from up present least pause=1000
  uptime_to up
  milliseconds_to present "$now" && milliseconds_to least "$INTERVAL_S" && milliseconds_to up "$up" || least=1000 up=$present
  ((pause > least)) || pause=$least
  for name in $1; do
    milliseconds_to from "${since[$name]:-${again[$name]:-$began}}" || continue
    from=$(((present - from) / 5))
    ((from > pause)) || pause=$from
  done
  ((pause > least)) || pause=$least
  # What the round took has gone by already; without any rest the host would have nothing else to do.
  ((pause -= up - present, pause > 50)) || pause=50
  printf -v pause '%d.%03d' "$((pause / 1000))" "$((pause % 1000))"
  read -r -t "$pause" -u "$idle" _ || true
}

# The main process of each unit and when it began, into `mains`; nothing where a unit is not active or has none, or is in a
# container.
find_mains() {
  local unit began='' before
  mains=''
  ((${#LEADER[@]} == 0)) || return 0
  for unit in "${UNITS[@]}"; do
    before=$began
    note_began "${value["$unit MainPID"]:-0}"
    if [[ ${unit_state[$unit]:-} != active\ * || $began == "$before" ]]; then return; fi
  done
  mains=$began
}

# Whether systemd need not be asked in this round: every endpoint answers well, as in the last one, none is settled by that yet,
# and each unit has the main process that systemd named. It is asked before one is settled, and tells of restarts then.
goes_on() {
  local name
  for name in "${NAMES[@]}"; do
    { [ -n "${good[$name]}" ] && ((${row[$name]:-0} > 0)); } || return 1
    if [ -z "${settled[$name]:-}" ] && ((${row[$name]} + 1 >= ANSWERS)) && gone_by "$SOAK_S" "${since[$name]:-$now}"; then return 1; fi
  done
  find_mains
  [ -n "$mains" ] && [ "$mains" = "${mains_then:=$mains}" ]
}
