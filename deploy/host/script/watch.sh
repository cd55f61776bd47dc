# Asking endpoints until each is settled.

# Each unit's state, and what changes whenever its process does.
sample_units() {
  local unit
  show_units
  [ -z "$silent" ] || return 0
  identity=''
  for unit in "${UNITS[@]}"; do
    unit_state[$unit]="${value["$unit ActiveState"]:-} ${value["$unit SubState"]:-}"
    # Of whom nobody answers it is not known that they are others.
    [ "${value["$unit ActiveState"]:-}" = unknown ] && [ -n "${unit_identity[$unit]:-}" ] ||
      unit_identity[$unit]="${value["$unit MainPID"]:-0} ${value["$unit InvocationID"]:--} ${value["$unit NRestarts"]:-0}"
    identity+="$unit ${unit_state[$unit]} ${unit_identity[$unit]}"$'\n'
  done
  mains_then=''
}

# What was noted of restarts before the switch, into `base`; without that, restarts count from now on.
read_restarts() {
  local line id='' restarts=''
  [ -r "$RUN_DIR/restarts" ] || return 0
  counted='the switch'
  while IFS= read -r line; do
    case $line in
      Id=*) id=${line#Id=} ;;
      NRestarts=*) restarts=${line#*=} ;;
      '') [ -z "$id" ] || base[$id]=$restarts id='' restarts='' ;;
    esac
  done < <(cat "$RUN_DIR/restarts" && echo)
}

# How often a unit has failed with one and the same result, into `failures`, while it is failed or waits to be started
# again: since the switch, or else since the watch began.
count_failures() {
  local unit=$1 restarts since result
  number_to restarts "${value["$unit NRestarts"]:-}" 0
  number_to since "${base[$unit]:-}" "$restarts"
  ((restarts >= since)) || since=0 # it was started anew
  failures[$unit]=0
  case ${unit_state[$unit]} in
    'failed failed' | 'activating auto-restart'*)
      result=${value["$unit Result"]:-}
      [ "${value["$unit ExecMainStatus"]:-0}" = 0 ] || result+=" ${value["$unit ExecMainStatus"]}"
      [ "${outcome[$unit]:-$result}" = "$result" ] || since=$restarts
      outcome[$unit]=$result
      # What ended well and waits for its next start has not failed.
      if [ "${result%% *}" != success ] && [[ $result =~ ^[a-z-]+( [0-9]+)?$ ]]; then failures[$unit]=$((restarts - since + 1)); fi
      ;;
  esac
  base[$unit]=$since
}

# What an answer of each endpoint must hold: a text into `contains`, keys and values into `wants`; some of the values are
# in files of the running system.
read_wants() {
  local name value word texts index; local -a part
  for name in "${NAMES[@]}"; do
    split_to part "$RS" "${ENDPOINT["$name wants"]}"
    endpoints=$((endpoints + 1)) contains[$name]=${part[0]:-} wants[$name]='' texts=''
    for ((index = 1; index + 1 < ${#part[@]}; index += 2)); do
      wants[$name]+="want"$'\t'"${part[index]}"$'\t'"${part[index + 1]}"$'\n'
    done
    split_to part "$RS" "${ENDPOINT["$name keys"]}"
    for ((index = 0; index + 1 < ${#part[@]}; index += 2)); do
      value=${part[index + 1]} word=''
      { IFS= read -r word <"/run/current-system/$value"; } 2>/dev/null || true
      # Another word would have to be spelled as JSON; what the system does not say, nobody can wait for.
      [[ $word == ?* && $word != *[!A-Za-z0-9@._+:/=-]* && ${#word} -le 200 ]] || continue
      wants[$name]+="of-system"$'\t'"${part[index]}"$'\t'"\"$word\""$'\n' texts+="$value $word"$'\n'
    done
    [ -z "$texts" ] || say "due.$name" "$texts"
  done
}

# Take what came of asking an endpoint, the line $2: its facts, its body and the number under which that is kept.
take_answer() {
  local name=$1 file="$SCRATCH/$1.$asks" line status='' fresh=yes code connect total rc size ip port words text pid unit; local -a words_of
  split_to words_of "$US" "$2"
  code=${words_of[0]:-} connect=${words_of[1]:-} total=${words_of[2]:-} rc=${words_of[3]:-} size=${words_of[4]:-}
  ip=${words_of[5]:-} port=${words_of[6]:-} words=${words_of[7]:-}
  [[ "$code $connect $total $rc $size" =~ ^[0-9]{3}\ [0-9.]+\ [0-9.]+\ [0-9]{1,3}\ [0-9]{1,9}$ ]] || {
    code=000 connect=0 total=0 rc=2 size=0 ip='' port='' words='curl ended without a message'
  }
  # The status line of the last answer: those before it are interim ones.
  while IFS= read -r line; do
    line=${line%$'\r'}
    if [ -z "$line" ]; then fresh=yes; elif [ -n "$fresh" ]; then status=$line fresh=''; fi
  done 2>/dev/null <"$file.head" || true
  if [ "$rc:${kind[$name]}" = 0:tcp ]; then
    for pid in $words; do
      name_group "${pid#*:}"
      if [ "$unit" != "${listener[$name]}" ]; then rc=102 words="process ${pid%%:*} of $unit"; break; fi
    done
    [ "$rc" != 0 ] || words=''
  elif [ "$rc" = 0 ] && [ "${kind[$name]}" != exec ] && ! [[ $status =~ ^HTTP/[0-9](\.[0-9])?\ ([0-9]{3})(\ .*)?$ && ${BASH_REMATCH[2]} == "$code" ]]; then
    status=${status//[^[:print:]]/?}
    rc=8 words="its status line is '${status:0:100}'"
  fi
  text='' odd[$name]=''
  if { IFS= read -r -d '' text <"$file"; } 2>/dev/null; then odd[$name]=yes; fi # it has a NUL byte
  reply[$name]=$text body[$name]=- status_of[$name]="$code $rc"
  [ "$rc" != 0 ] || keep_body "$name" "$size"
  [[ $ip != *:* ]] || ip="[$ip]"
  [ -n "$ip" ] && [ -n "$port" ] && ip+=:$port || ip=-
  how[$name]="code $code"
  [ "$rc" = 0 ] || how[$name]="no answer, $rc${words:+: $words}"
  facts[$name]="$code $connect $total $rc ${body[$name]} $ip $words"
}

# Keep a body until it is sent, unless the same one is kept already; of too many bytes the latest.
keep_body() {
  local name=$1 known="$1 ${reply[$1]}" number total size
  number=${same[$known]:-none}
  if [ -z "${odd[$name]}" ] && [[ " ${kept[$name]:-} " == *" $number "* ]]; then body[$name]=$number; return; fi
  body[$name]=$asks same[$known]=$asks size_of[$name.$asks]=$2
  kept[$name]+=" $asks"
  number_to size "$2" 0
  number_to total "${held[$name]:-0}" 0
  total=$((total + size))
  for number in ${kept[$name]}; do
    if [ "$number" = "$asks" ]; then break; fi
    if [ -n "${contains[$name]}${wants[$name]}" ] && ((total * endpoints <= BODY_BYTES)); then break; fi
    : >"$SCRATCH/$name.$number"
    number_to size "${size_of[$name.$number]}" 0
    total=$((total - size)) kept[$name]=${kept[$name]#" $number"}
  done
  held[$name]=$total
}

# Ask every endpoint at the same time, and put the line that came of it into `line_of[name]`. What is asked by URL in one
# network costs one process.
ask_endpoints() {
  local name question fd container network line; local -a urls asking refusal together=(); local -A asked
  for network in '' "${!LEADER[@]}"; do
    urls=()
    for name in "${NAMES[@]}"; do
      question=${ENDPOINT["$name question"]} container=${ENDPOINT["$name container"]}
      kind[$name]=${question%%"$RS"*} listener[$name]=${ENDPOINT["$name listener"]}
      [ "${kind[$name]}" != unix ] || container='' # a file is in no network
      if [ "$container" != "$network" ]; then continue; fi
      : >"$SCRATCH/$name.$asks"
      if take_question "$name" "$question" "$SCRATCH/$name.$asks"; then
        ((${#urls[@]} == 0)) || urls+=(--next)
        urls+=("${asking[@]}")
        line_of[$name]=${container:+$NOT_UP}
        continue
      fi
      exec {fd}< <(ask_endpoint "$question" "$container" "${contains[$name]}" "$SCRATCH/$name.$asks")
      asked[$name]=$fd
    done
    if ((${#urls[@]} == 0)); then continue; fi
    exec {fd}< <(ask_urls "$network" "${urls[@]}")
    together+=("$fd")
  done
  for fd in "${together[@]}"; do
    while IFS= read -r line; do
      [[ $line != [!$US]*$US* ]] || line_of[${line%%"$US"*}]=${line#*"$US"}
    done <&"$fd"
    exec {fd}<&-
  done
  for name in "${!asked[@]}"; do
    fd=${asked[$name]} line=''
    IFS= read -r line <&"$fd" || true
    line_of[$name]=$line
    exec {fd}<&-
  done
}

# One answer of every endpoint; `good[name]` says whether it is the wanted one.
sample_answers() {
  local name code word other task=''
  local -A line_of facts status_of odd body kind listener
  asks=$((asks + 1))
  ask_endpoints
  for name in "${NAMES[@]}"; do
    take_answer "$name" "${line_of[$name]}"
    good[$name]='' steady[$name]=''
    if [ "${status_of[$name]}" != "${ENDPOINT["$name code"]} 0" ]; then
      code=${status_of[$name]% *}
      # Of a program no exit code is known to stay.
      if [[ ${status_of[$name]} == *' 0' && ${kind[$name]} != exec && $code != 000 && " $TRANSIENT_STATUS " != *" $code "* ]]; then
        steady[$name]="HTTP $code, which is not among transient_status$US${reply[$name]}"
      fi
      continue
    fi
    [[ ${reply[$name]} == *"${contains[$name]}"* ]] || { [ -n "${odd[$name]}" ] && grep -qaF -- "${contains[$name]}" "$SCRATCH/$name.$asks"; } || continue
    if [ -z "${wants[$name]}" ]; then good[$name]=yes; continue; fi
    [ -n "${odd[$name]}" ] || task+="file"$'\t'"$name"$'\t'"$SCRATCH/$name.$asks"$'\n'"${wants[$name]}judge"$'\n'
  done
  [ -z "$task" ] || while read -r word name other; do
    if [ "$word" = good ]; then good[$name]=yes; else steady[$name]="$other, which is not of the system that runs$US"; fi
  done < <(judge_json <<<"$task")
  for name in "${NAMES[@]}"; do series+="$now $name ${good[$name]:-no} ${facts[$name]}"$'\n'; done
}

# What is wrong with an endpoint at this moment, if anything; `key` gets the identity of its units, `life` that
# which no moment between two processes changes; `up` gets the same as `key` if every unit is active.
judge_endpoint() {
  local name=$1 unit
  shift
  key='' life='' up=yes problem[$name]=''
  [ -n "${good[$name]:-}" ] || problem[$name]="its answer is not the wanted one (${how[$name]:-never asked})${reply[$name]:+: ${reply[$name]:0:200}}"
  for unit in "$@"; do
    key+="$unit ${unit_identity[$unit]:-} "
    life+="${value["$unit InvocationID"]:-} "
    [[ ${unit_state[$unit]:-} == active\ * ]] || up='' problem[$name]="$unit is ${unit_state[$unit]:-not there}"
    [[ ${unit_state[$unit]:-} != failed\ * ]] || key+='failed '
  done
  up=${up:+$key}
}

# Whether units have been up for the second in which most of what cannot live dies.
have_lived() {
  local unit up started
  milliseconds_to up "$now" || return 0
  for unit in "$@"; do
    number_to started "${value["$unit ActiveEnterTimestampMonotonic"]:-}" 0
    ((up - started / 1000 >= 1000)) || return 1
  done
}

# Whether all units have been active, as the same processes, since before the uptime $1.
were_there() {
  local unit at since text began
  milliseconds_to at "$1"
  for unit in "${UNITS[@]}"; do
    began='' text=${value["$unit ActiveEnterTimestampMonotonic"]:-}
    note_began "${value["$unit MainPID"]:-0}"
    [ -z "$began" ] || text=${began#* } text=${text%?}0000
    number_to since "$text" 0
    [[ ${unit_state[$unit]} == active\ * ]] && ((since > 0 && since / 1000 < at)) || return
  done
}

note_identity() {
  [ "$identity" = "$last_identity" ] || changes+="at $1"$'\n'"$identity"
  last_identity=$identity
}

# An endpoint that restarted after it had been good is settled when one can tell what became of it: it is healthy
# again, restarted once more, or has not been good for READY_S.
settle_restarted() {
  local name=$1
  if [ -z "${again[$name]:-}" ]; then again[$name]=$now row[$name]=0 since[$name]=''; fi
  [ "$life" = "${latest[$name]}" ] || lives[$name]=$((${lives[$name]:-1} + 1))
  latest[$name]=$life
  if ((${lives[$name]:-1} > 2)) || gone_by "$READY_S" "${again[$name]}" ||
    { ((${row[$name]} >= ANSWERS)) && gone_by "$SOAK_S" "${since[$name]}"; }; then settled[$name]=restarted; fi
  problem[$name]="it restarted after it had been healthy"
}

# Give an endpoint up before READY_S is over where waiting cannot help: the word for that into
# `settled`, and the evidence into `reasons`.
give_up() {
  local name=$1 unit state result
  shift
  # Answers are equal if they came from one process, of units that are all up; of one second they count once.
  if [ -z "${steady[$name]}" ] || [ -z "$up" ]; then
    equal[$name]=0
  elif [ "$key${steady[$name]}" != "${alike[$name]:-}" ]; then
    equal[$name]=1 counted_at[$name]=$now
  elif gone_by 1 "${counted_at[$name]}"; then
    equal[$name]=$((${equal[$name]:-0} + 1)) counted_at[$name]=$now
  fi
  alike[$name]=$key${steady[$name]}
  if ((SAME_ANSWERS > 0 && ${equal[$name]} >= SAME_ANSWERS)); then
    settled[$name]='same-answer' reasons[$name]="answered ${equal[$name]} times in a row with ${steady[$name]%%"$US"*}, from the same process; waiting will not change that"
  fi
  ((SAME_FAILURES > 0)) || return 0
  for unit in "$@"; do
    state=${unit_state[$unit]:-} result=${outcome[$unit]:-}
    if [ "$state" = 'failed failed' ] && ((${failures[$unit]:-0} > 0)) && [ -z "${value["$unit Job"]:-}${value["$unit TriggeredBy"]:-}${value["$unit UpheldBy"]:-}" ]; then
      settled[$name]='unit-failed' reasons[$name]="$unit failed with $result, and systemd does not start it again; waiting will not change that"
    elif ((${failures[$unit]:-0} >= SAME_FAILURES)); then
      settled[$name]='failing-alike' reasons[$name]="$unit failed ${failures[$unit]} times with $result since $counted; waiting will not change that"
    else
      continue
    fi
    return
  done
}

# Ask until every endpoint is settled: good ANSWERS times in a row over SOAK_S as the same processes; or restarted
# after it had been good, given up, or not good in READY_S. A settled one is asked on while others are not; where one
# was given up, the others are not waited for.
watch_endpoints() {
  local began now bad ends name unit key life up young identity='' last_identity='' series='' changes=''
  local -a list; local -A how contains wants same size_of kept held unit_state unit_identity reply good first since row settled again latest lives earlier
  local -A base outcome failures steady equal counted_at alike reasons
  local counted='the watch began' said_at=0 mains='' mains_then=''
  declare -gA problem=()
  local moment=$EPOCHSECONDS asks=0 endpoints=0 silences=0 idle
  make_scratch
  open_idle
  uptime_to began
  read_wants
  read_restarts
  for name in "${NAMES[@]}"; do reply[$name]=''; done
  # Systemd tells in which process's network a container is asked, and whose process accepts a connection.
  if ((${#LEADER[@]} > 0)) || [[ $ENDPOINTS == *"${US}tcp$RS"* ]]; then
    sample_units
    [ -n "$silent" ] || note_identity "$began"
    for name in "${NAMES[@]}"; do
      split_to list "$RS" "${ENDPOINT["$name units"]}"
      judge_endpoint "$name" "${list[@]}"
      earlier[$name]=$up
    done
  fi
  while :; do
    bad=''
    uptime_to now
    sample_answers
    goes_on || sample_units
    # Of whom nobody answers nothing is known: neither that they are others, nor that they are good.
    if [ -n "$silent" ]; then
      silences=$((silences + 1))
      ((silences < 2)) || { for name in "${!reply[@]}"; do : "${settled[$name]:=unknown}"; done; break; }
      continue
    fi
    silences=0 young=''
    # Systemd is asked once for the first answer: who was there before the question has given it.
    if [ -z "$last_identity" ]; then if were_there "$began"; then note_identity "$began"; else young=yes; fi; fi
    note_identity "$now"
    for unit in "${UNITS[@]}"; do count_failures "$unit"; done
    for name in "${NAMES[@]}"; do
      split_to list "$RS" "${ENDPOINT["$name units"]}"
      judge_endpoint "$name" "${list[@]}"
      # Whoever answered the very first question was there before it; later it may be who replaced a bad one.
      [ -z "${good[$name]}" ] || : "${first[$name]:=${earlier[$name]:-$key}}" "${latest[$name]:=$life}"
      earlier[$name]=''
      if [ -n "${problem[$name]}" ]; then row[$name]=0 since[$name]=''; else
        row[$name]=$((${row[$name]:-0} + 1)) since[$name]=${since[$name]:-$now}
      fi
      [ -z "$young" ] || row[$name]=0 since[$name]=''
      if [ "${settled[$name]:-}" = restarted ] || [ "${first[$name]:-$key}" != "$key" ]; then
        settle_restarted "$name"
      elif [ -n "${problem[$name]}" ]; then
        settled[$name]=''
        if gone_by "$READY_S" "$began"; then settled[$name]=unhealthy; else give_up "$name" "${list[@]}"; fi
      else
        ((${row[$name]} < ANSWERS)) || ! gone_by "$SOAK_S" "${since[$name]}" || ! have_lived "${list[@]}" || settled[$name]=healthy
      fi
      [ -n "${settled[$name]:-}" ] || bad+=" $name"
    done
    if [ -n "${reasons[*]}" ]; then
      for name in "${!reasons[@]}"; do problem[$name]+="; ${reasons[$name]}"; done
      for name in $bad; do settled[$name]='cut-short' problem[$name]='it was not watched to its end, as another was given up'; done
      break
    fi
    [ -n "$bad" ] || break
    say_waiting "$bad"
    await_round "$bad"
  done
  exec {idle}<&-
  uptime_to now
  ends=''
  for name in "${!settled[@]}"; do ends+="$name ${settled[$name]}"$'\n'; done
  say watch.settled "${ends%$'\n'}"
  ends=''
  for name in "${!reasons[@]}"; do ends+="$name ${reasons[$name]}"$'\n'; done
  say watch.reasons "${ends%$'\n'}"
  say watch.began "$began"
  say watch.ended "$now"
  say watch.series "$series"
  say watch.units "$changes"
  say_bodies
  look_behind
}

# The bodies that answers of the watch name: endpoint, number and bytes of each, then all of them in turn.
say_bodies() {
  local name number file text rows=''; local -a files=()
  for name in "${!kept[@]}"; do
    for number in ${kept[$name]}; do
      rows+="$name $number ${size_of[$name.$number]}"$'\n'
      files+=("$SCRATCH/$name.$number")
    done
  done
  say watch.bodies "$rows"
  for file in "${files[@]}"; do
    if IFS= read -r -d '' text <"$file"; then cat -- "$file"; else printf %s "$text"; fi # a NUL byte is not for bash
  done >"$SCRATCH/bodies"
  say watch.body-bytes "$([ -z "$rows" ] || exec base64 -w0 "$SCRATCH/bodies")"
}
