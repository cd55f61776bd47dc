# Asking systemd.
#
# While systemd or dbus restarts, systemctl fails, hangs or prints nothing. That is not an answer: ask again, until a
# deadline, and conclude nothing where none came.

ANSWER_WITHIN_S=10
readonly DONE_WITHIN_S=30 ACTIVATION=nixos-rebuild-switch-to-configuration
readonly SWITCH_LOCK=/run/nixos/switch-to-configuration.lock
unit_active='' unit_sub='' activating=''

# Keep a note of every silence, for the answers of this run's later questions.
note_silence() {
  [ ! -d "$RUN_DIR" ] || printf '%s %s\n' "$(now)" "$*" >>"$RUN_DIR/silences" 2>/dev/null || true
}

# Ask systemctl, again while it does not answer, and put the answer into `answered`; fails where none came in time.
# Every question is asked so that a true answer is never empty.
ask_systemctl() {
  local began tries=0 rc tenths=1
  answered=''
  [ -d /run/systemd/system ] || return # nobody is there to ask
  uptime_to began
  while :; do
    rc=0
    ask_within 10 systemctl "$@" || rc=$?
    if [ "$rc" = 0 ] && [ -n "$answered" ]; then break; fi
    tries=$((tries + 1)) answered=''
    if gone_by "$ANSWER_WITHIN_S" "$began"; then
      note_silence "systemctl $*: no answer within $ANSWER_WITHIN_S s, asked $tries times (exit status $rc)"
      return 1
    fi
    sleep "$((tenths / 10)).$((tenths % 10))"
    tenths=$((tenths < 4 ? tenths * 2 : 5))
  done
  [ "$tries" = 0 ] || note_silence "systemctl $*: answered after $tries attempts without an answer"
}

# Have systemctl do something that may safely be done twice, again while it fails, until a deadline.
have_systemctl() {
  local began tries=0 stderr
  uptime_to began
  until stderr=$(timeout 100 systemctl "$@" 2>&1); do
    tries=$((tries + 1))
    if gone_by "$DONE_WITHIN_S" "$began"; then
      note_silence "systemctl $*: failed $tries times: ${stderr:0:300}"
      printf 'systemctl %s failed: %s\n' "$*" "$stderr" >&2
      return 1
    fi
    sleep 0.5
  done
  [ "$tries" = 0 ] || note_silence "systemctl $*: done after $tries failed attempts"
}

# Put a unit's state into `unit_active` and `unit_sub`; fails where systemd does not answer.
look_at_unit() {
  unit_active='' unit_sub=''
  ask_systemctl show -p LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus -- "$1" || return
  if [[ $answered =~ ActiveState=([a-z-]+) ]]; then unit_active=${BASH_REMATCH[1]}; fi
  if [[ $answered =~ SubState=([a-z-]+) ]]; then unit_sub=${BASH_REMATCH[1]}; fi
  [ -n "$unit_active" ]
}

# Whether systemd says of a unit that it is over; no answer says nothing.
has_ended() {
  look_at_unit "$1" || return 1
  case $unit_active:$unit_sub in inactive:* | failed:* | active:exited) return 0 ;; esac
  return 1
}

# Put the unit in which nixos-rebuild activates into `activating`, empty where it does not; some versions give its name
# a suffix. init.scope is always there: an answer without it is none.
find_activation() {
  activating=''
  [ -d /run/systemd/system ] || return 0
  ask_systemctl list-units --plain --no-legend --full --state=activating,active,deactivating \
    init.scope "$ACTIVATION*.service" || return
  [[ ! $answered =~ (${ACTIVATION}[^[:space:]]*\.service) ]] || activating=${BASH_REMATCH[1]}
}

# Remove what is left of a unit that has ended.
drop_unit() {
  has_ended "$1" || return 0
  case $unit_active in
    active) have_systemctl stop -- "$1" || true ;;
    failed) have_systemctl reset-failed -- "$1" || true ;;
  esac
}
