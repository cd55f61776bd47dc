# What systemd says of the units of the contract, and which units fail.

toplevel() { readlink -e /run/current-system || true; }
# Put the number of the profile's generation into the variable $1; nothing where it has none.
generation_to() {
  local link
  printf -v "$1" ''
  link=$(exec readlink "$PROFILE") || return 0
  [[ ! $link =~ ^system-([0-9]+)-link$ ]] || printf -v "$1" %s "${BASH_REMATCH[1]}"
}
# Put into `failed` the units that failed, or wait to be started again after a failure. Fails where systemctl does not
# answer. Of init.scope, which is always there, no true answer is empty.
readonly FAILED='--state=failed,auto-restart'
failed=''
find_failed() { ask_systemctl show -p Id,ActiveState,SubState,Result "$FAILED" -- init.scope '*' && take_failed "$answered"; }
take_failed() {
  local line id='' state='' result='' rows=''
  failed=''
  [[ $1 == *State=@(failed|auto-restart)* ]] || return 0
  while IFS= read -r line; do
    case $line in
      Id=*) id=${line#*=} ;;
      ActiveState=failed | SubState=auto-restart) state+=${line#*=} ;;
      Result=*) result=${line#*=} ;;
      '')
        # What ended well and waits for its next start has not failed.
        [[ -z $state || $state:$result == auto-restart:success || $id == switchproof-* ]] || rows+=$id$'\n'
        state=''
        ;;
    esac
  done <<<"$1"$'\n'
  [ -z "$rows" ] || failed=$(exec sort -u <<<"${rows%$'\n'}")
}

# Services that systemd itself started again in the last quarter of an hour: they fail now and then, whatever they are
# at this moment.
flapping_units() {
  local line id='' restarts=0 since=0 up
  uptime_to up
  milliseconds_to up "$up"
  ask_systemctl show -p Id,NRestarts,InactiveExitTimestampMonotonic -- '*.service' || return
  while IFS= read -r line; do
    case $line in
      Id=*) id=${line#Id=} ;;
      NRestarts=*) number_to restarts "${line#*=}" 0 ;;
      InactiveExitTimestampMonotonic=*) number_to since "${line#*=}" 0 ;;
      '')
        if ((restarts > 0 && up - since / 1000 < 900000)); then printf '%s\n' "$id"; fi
        restarts=0 since=0
        ;;
    esac
  done <<<"$answered"$'\n'
}

# What fails before anything is changed, as a list: it may go on failing.
failing_before() {
  local flapping told=''
  exec {flapping}< <(flapping_units && printf .)
  find_failed || return
  IFS= read -r -d '' told <&"$flapping" || true
  exec {flapping}<&-
  [[ $told == *. ]] || return
  printf '%s\n' "$failed" "${told%.}" | sed '/^$/d' | sort -u
}

# The same once more right before a switch, for what was just starting when it was looked for first.
note_failing() { find_failed && printf '%s\n' "$failed" >"$RUN_DIR/$JOB/failing"; }

# How often systemd has restarted each service, and since when each runs, noted right before a switch: the rest came since.
note_restarts() {
  ANSWER_WITHIN_S=1 ask_systemctl show -p Id,NRestarts,ExecMainStartTimestampMonotonic -- '*.service' || answered=''
  printf '%s\n' "$answered" >"$RUN_DIR/restarts" || true
}

# Ask systemctl what the contract's units are, and which units failed: its words on the former in `shown`, a value each in
# `value[unit property]`. Where no answer comes in time, `silent` says so and all is left as it was seen last.
shown='' silent='' unit_words=''
declare -A value PATIENCE=()
show_units() {
  local name inner rest
  if ! ask_systemctl show "${PROPERTIES[@]}" "$FAILED" -- "${HOST_UNITS[@]:-init.scope}" '*'; then
    silent=yes
    return
  fi
  silent=''
  # Words that have not changed say what they said, unless there is more to it: a container.
  [ "$answered" != "$unit_words" ] || ((${#LEADER[@]} > 0)) || return 0
  value=() unit_words=$answered rest=$answered$'\n\n' shown=''
  # A block a unit, in the order of the question.
  for name in "${HOST_UNITS[@]}"; do shown+=${shown:+$'\n\n'}${rest%%$'\n\n'*} rest=${rest#*$'\n\n'}; done
  take_failed "$answered"
  take_shown "$shown"
  for name in "${!LEADER[@]}"; do find_leader "$name"; done
  for name in "${!INSIDE[@]}"; do
    inner=$(show_inside "$name")
    # Who was silent once is not waited for as long again.
    [[ $inner != *ActiveState=unknown* ]] || PATIENCE[$name]=1
    # A unit takes a thousandth of this; taking much apart would take bash minutes.
    take_shown "${inner:0:65536}"
    shown+=$'\n\n'$inner
  done
}
PROPERTIES=(-p "Id,LoadState,ActiveState,SubState,Result,MainPID,InvocationID,NRestarts,ExecMainCode,ExecMainStatus"
  -p "FragmentPath,DropInPaths,NeedDaemonReload,ControlGroup,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic,Job,TriggeredBy,UpheldBy")

# Take in what systemctl said. Whoever said it, numbers are numbers and a control group leads nowhere else.
take_shown() {
  local - IFS=$RS line id word block; local -a blocks
  set -f
  # shellcheck disable=SC2206 # taking apart is what it is for
  blocks=(${1//$'\n\n'/$RS})
  IFS=$'\n'
  for block in "${blocks[@]}"; do
    id=''
    for line in $block; do [[ $line != Id=* ]] || id=${line:3}; done
    value["$id size"]=${#block}
    for line in $block; do
      [[ $line == [A-Z]*=* ]] || continue
      word=${line#*=}
      case $line in
        MainPID=* | NRestarts=* | ExecMainCode=* | ExecMainStatus=*) number_to word "$word" 0 ;;
        ControlGroup=*) [[ $word == /* && $word/ != */../* ]] || word='' ;;
      esac
      value["$id ${line%%=*}"]=$word
    done
  done
}
