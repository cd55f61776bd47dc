# The dead man's switch.
#
# What is to happen to an unconfirmed host stands in $PENDING. A service sees to it which outlives connections, reloads
# and reboots: systemd reads $CONTROL, and no activation of NixOS touches it. The service stays there from run to run, as
# systemd has to read everything anew to learn of another one; without $PENDING it does not start. Confirmation, rollback
# and this guard decide under the lock, so that one of them does.

# What waits for a confirmation, and whether this run does; the run's newest job that did; and what was decided about that.
pending() { field "$PENDING" "$1"; }
pending_to() { field_to "$1" "$PENDING" "$2"; }
is_pending() { local of; pending_to of run; [ "$of" = "$RUN" ]; }
armed_to() { file_to "$1" "$RUN_DIR/armed"; }
decided() { local job; armed_to job; field "$RUN_DIR/$job/decided" "$1"; }
decided_to() { local job; armed_to job; field_to "$1" "$RUN_DIR/$job/decided" "$2"; }
is_decided_by() { local decider; decided_to decider by; [ "$decider" = "$1" ]; }

# Have the host go back by itself to what ran before, unless it is confirmed; nothing has changed yet.
arm() {
  local words
  [ "$DEADMAN_S" != 0 ] || return 0
  stage arm
  words=$(guarded set_up_guard "$1" 2>&1) && return
  echo "the dead man's switch cannot be armed: $words"
  guarded give_up_arming
  return 1
}

# Never another run's.
give_up_arming() { ! holds_host >/dev/null || disarm; }

set_up_guard() {
  local to script there guard=$STATE/guard; to=$(ran_before)
  holds_host || return
  if [ ! -x "$to/bin/switch-to-configuration" ]; then echo "the running system '$to' has no switch-to-configuration, so the host could not go back to it"; return 1; fi
  # What is pending comes last: a guard with nothing to do takes itself away, a task without a guard would stay.
  rm -f "$SINCE" "$ENDED" "$CAME"
  find_script || { echo "$0 cannot be read"; return 1; }
  file_to there "$guard/host-switch.sh"
  mkdir -p "$guard" && { [ "$there" = "$script" ] || put "$guard/host-switch.sh" "$script"; } &&
    put "$guard/environment" "SWITCHPROOF_RUN=$RUN" "SWITCHPROOF_TO=$to" "SWITCHPROOF_TIMEOUT_S=$TIMEOUT_S" &&
    install_guard && put "$RUN_DIR/armed" "$JOB" && sync --file-system "$CONTROL" "$STATE" &&
    keep "$PENDING" "run $RUN" "job $JOB" "owner $OWNER" "to $to" "expected $1" "seconds $DEADMAN_S" \
      "reconnect $RECONNECT_S" "armed $(now)" "boot_id $(</proc/sys/kernel/random/boot_id)" &&
    have_systemctl restart "$GUARD" && guard_runs
}

# Where a condition does not hold, systemd starts nothing and reports no failure.
guard_runs() {
  look_at_unit "$GUARD" || { echo "systemd does not say whether $GUARD runs"; return 1; }
  case $unit_active in active | activating) ;; *) echo "$GUARD is $unit_active after its start"; return 1 ;; esac
}

# Have systemd know the guard's unit, also after a reboot; one that it knows as it is to be is left alone.
install_guard() {
  local file=$CONTROL/$GUARD wanted=$CONTROL/multi-user.target.wants/$GUARD unit is
  find_guard_unit
  file_to is "$file"
  if [ "$is" = "$unit" ] && [ "$wanted" -ef "$file" ] &&
    ask_systemctl show -p FragmentPath,NeedDaemonReload -- "$GUARD" &&
    [[ $answered == *"FragmentPath=$file"* && $answered == *NeedDaemonReload=no* ]]; then return; fi
  openly mkdir -p "${wanted%/*}" && keep "$file" "$unit" && chmod 0644 "$file" &&
    ln -sfn "../$GUARD" "$wanted" && have_systemctl daemon-reload
}

# What systemd is to know of the guard, into `unit`.
find_guard_unit() {
  unit="[Unit]
Description=Return to the earlier system unless the run that switched this host is confirmed
ConditionPathExists=$PENDING
StartLimitIntervalSec=0
[Service]
Type=exec
Environment=HOME=/root
EnvironmentFile=$STATE/guard/environment
ExecStart=$(exec readlink -e "$BASH") $STATE/guard/host-switch.sh guard
Restart=on-failure
RestartSec=2
OOMScoreAdjust=-900
SyslogIdentifier=switchproof"
}

# The guard itself ends when it has nothing left to do; anybody else stops it.
disarm() {
  rm -f "$PENDING" "$SINCE" "$ENDED" "$CAME"
  [ -n "${GUARDING:-}" ] || has_ended "$GUARD" || have_systemctl stop "$GUARD" || true
}
# What the guard has begun it ends: it is not stopped in the middle of a switch.
disarm_own() { ! is_pending || is_decided_by guard || disarm; }

# As long as nobody has confirmed, a reboot leads to the earlier system.
boot_earlier() {
  local to
  is_pending || return 0
  pending_to to to
  set_what_boots "$(boots_for "$to" "$(profile_for "$to")")" || echo 'the earlier system is not the boot default; after a reboot the guard would switch back to it'
}

# The first decision wins, also over somebody who acts without the lock; but the guard takes over from a rollback that
# did not end.
decide() {
  local file by
  armed_to file
  file=$RUN_DIR/$file/decided
  is_pending || return 1
  decided_to by by
  case $1:$by in
    guard:guard) return 0 ;;
    *:) keep_first "$file" "by $1"$'\n'"at $(now)"$'\n'"$2"$'\n' || { [ "$1" = guard ] && [ ! -e "$file" ]; } ;;
    guard:rollback | rollback:rollback)
      keep "$file" "by $1" "at $(now)" "$2" || [ "$1" = guard ]
      ;;
    *) return 1 ;;
  esac
}

# Both countdowns begin when the switch has ended: $SINCE for the confirmation, which begins anew when a runner says that it
# is still at work, and $ENDED for a new connection. They stand where no disk can be full, in seconds since the boot.
count_down() { read -r REPLY _ </proc/uptime; printf '%s\n' "$REPLY" >"$1.new" && mv "$1.new" "$1"; }
begin_countdown() { ! awaits_connection || count_down "$ENDED"; count_down "$SINCE"; }
restart_countdown() { if is_pending && [ -e "$SINCE" ] && is_decided_by ''; then count_down "$SINCE"; fi; }

# Whether as many seconds as $1 of what is pending have gone by since the time in a file. A time that cannot be read is no
# reason to go back: that countdown begins again.
has_run_down() {
  local since now limit
  file_to since "$2"
  milliseconds_to now "$since" || { count_down "$2"; return 1; }
  pending_to limit "$1"
  gone_by "$limit" "$since"
}

# Whether the host has yet to let in a connection that began after the switch had ended, as a question over it would say;
# $CAME names the job whose switch that was.
awaits_connection() {
  local limit came job
  pending_to limit reconnect
  number_to limit "$limit" 0
  file_to came "$CAME"
  pending_to job job
  ((limit)) && [ "$came" != "$job" ]
}
note_connection() {
  local came job
  file_to came "$CAME"
  pending_to job job
  if [ "$came" = "$AFTER" ] || ! is_pending || [ "$job" != "$AFTER" ]; then return; fi
  { printf '%s\n' "$AFTER" >"$CAME"; } 2>/dev/null || true
}

# Whether it is time to go back, and why.
due() {
  local by
  decided_to by by
  if [ "$by" = guard ]; then
    decided_to why why
  elif rebooted; then
    why='rebooted before it was confirmed'
  elif [ "$by" = rollback ]; then
    ended "$(decided job)" || return 1
    why='the rollback did not finish'
  elif [ -e "$SINCE" ]; then
    if awaits_connection && has_run_down reconnect "$ENDED"; then
      why="no new connection came within $(pending reconnect) s after the switch ended"
    elif has_run_down seconds "$SINCE"; then
      why="not confirmed within $(pending seconds) s after the switch ended"
    else
      return 1
    fi
  else
    ! switch_is_over || begin_countdown
    return 1
  fi
}
# Whether the job that was armed has ended. Of one that has not said so systemd is asked every few seconds, as each question
# costs a busy host more than all the rest.
asked=0
switch_is_over() {
  local job
  armed_to job
  [ ! -e "$RUN_DIR/$job/rc" ] || return 0
  gone_by 5 "$asked" || return 1
  uptime_to asked
  has_ended "$(job_unit "$job")"
}
rebooted() {
  local then now
  pending_to then boot_id
  file_to now /proc/sys/kernel/random/boot_id
  [ "$then" != "$now" ]
}

# The name of the job in which an armed job is undone by the guard.
return_of() { case $1 in converge | rollback) echo return ;; *) echo "return-$1" ;; esac; }

verb_guard() {
  local why idle armed
  armed_to armed
  GUARDING=yes JOB=$(return_of "$armed")
  pending_to OWNER owner
  pending_to PATIENCE_S seconds
  number_to PATIENCE_S "$PATIENCE_S" 600
  number_to TIMEOUT_S "$TIMEOUT_S" 3600
  share_time
  open_idle
  while is_pending && ! is_decided_by confirm; do
    if due && guarded decide_if_due; then go_back; break; fi
    read -r -t 1 -u "$idle" _ || true
  done
  guarded retire
}
# Once more under the lock, as a connection, a runner at work or a rollback may have come since.
decide_if_due() { due && decide guard "why $why"; }
retire() { [ -e "$PENDING" ] || disarm; }

go_back() {
  local rc=0 told log; log=$RUN_DIR/$JOB/log
  # Also on a full disk.
  give_room
  mkdir -p "$RUN_DIR/$JOB" && : >>"$log" || log=/dev/null
  mkfifo "$RUN_DIR/$JOB/bell" 2>/dev/null || true
  exec {told}>&1
  conduct return >>"$log" 2>&1 || rc=$?
  printf '<2>%s\n' "$OWNER, run $RUN: $why; went back from $(pending expected) to $(pending to), exit status $rc" >&"$told"
  guarded end_return "$rc"
}

job_return() {
  local action=switch to
  mark_journal
  pending_to to to
  stage rollback
  aim_at "$to"
  # After a reboot into the earlier system nothing of it has to be activated again.
  if rebooted && [ "$(toplevel)" = "$to" ] && [ "$(readlink -e /run/booted-system)" = "$to" ]; then action=boot; fi
  restore "$to" "$action"
}

# Tell whoever comes next. The lock is left only to a runner who is still there.
end_return() {
  local told job; local -a lines
  armed_to told
  lines=("run $RUN" "at $(decided at)" "why $why" "from $(pending expected)" "to $(pending to)" "rc $1" "owner $OWNER" "ended $(now)")
  keep "$RUN_DIR/$told/returned" "${lines[@]}" && keep "$STATE/returned" "${lines[@]}"
  LEASE_S=20
  ! holds_lock || hold "$(held_by since)" "$(held_by seen)" "$(held_by seen_up)"
  for job in $(jobs); do drop_unit "$(job_unit "$job")"; done
  end_job "$1"
  disarm
}

# The seconds until the host goes back, into `left`; empty while the countdown has not begun.
seconds_left() {
  local rest
  left=''
  [ -e "$SINCE" ] || return 0
  find_rest seconds "$SINCE"
  left=$rest
  ! awaits_connection || find_rest reconnect "$ENDED"
  number_to rest "$rest" 0
  number_to left "$left" 0
  left=$((rest < left ? rest : left))
}
find_rest() {
  local up seconds since now
  uptime_to up
  pending_to seconds "$1"
  number_to seconds "$seconds" 0
  file_to since "$2"
  milliseconds_to now "$up" && milliseconds_to since "$since" || since=$now
  rest=$((seconds + (since - now) / 1000)) rest=${rest/#-*/0}
}

say_guard() {
  local armed dir state='' left='' by
  armed_to armed
  dir=$RUN_DIR/$armed
  decided_to by by
  case $armed:$by in
    :*) ;;
    *:guard) state=returning; [ ! -e "$dir/returned" ] || state=returned ;;
    *:rollback) state=rolled-back ;;
    *:confirm) state=confirmed ;;
    *) ! is_pending || state=armed ;;
  esac
  [ "$state" != armed ] || seconds_left
  say guard "$state"
  say guard.left "$left"
}

# A return that waits for a confirmation, whose run it is, and what becomes of it.
say_pending() {
  local left
  [ -e "$PENDING" ] || return 0
  seconds_left
  ! rebooted || left=0
  look_at_unit "$GUARD" || true
  say pending "$(<"$PENDING")"$'\n'"left $left"$'\n'"guard $unit_active"
}
