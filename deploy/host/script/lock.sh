# One deploy at a time.

# One at a time among those who look at the lock or change it; the lock itself outlasts every process.
guarded() {
  local guard rc=0
  if ! { { [ -O "${LOCK%/*}/" ] || install -d -m 0700 "${LOCK%/*}"; } && exec {guard}<"${LOCK%/*}" && flock -w "$LOCK_WITHIN_S" "$guard"; } 2>/dev/null; then
    [ -z "${guard:-}" ] || exec {guard}<&-
    unguarded="cannot lock ${LOCK%/*} within $LOCK_WITHIN_S s; held by $(holders_of "${LOCK%/*}")"
    echo "$unguarded" >&2
    LOCK_WITHIN_S=1
    # An unconfirmed host goes back whoever holds that; the first decision wins all the same.
    [ -n "${GUARDING:-}" ] || return 1
    "$@"
    return
  fi
  "$@" || rc=$?
  exec {guard}<&-
  return "$rc"
}

LOCK_WITHIN_S=30 unguarded=''

held_by() { field "$LOCK/holder" "$1"; }
holds_lock() { local of; field_to of "$LOCK/holder" run; [ "$of" = "$RUN" ]; }

# Hold the lock since a time, from the runner's last word on. A lease is told in seconds since the boot, as clocks jump,
# and is short as long as nothing was switched: whoever is killed before that must not keep others out.
readonly LEASE_BEFORE_SWITCH_S=120
hold() {
  local up seen lease
  number_to lease "$LEASE_S" 900
  uptime_to up
  number_to up "${up%.*}" 0
  number_to up "${3:-}" "$up"
  number_to seen "${2:-}" "$EPOCHSECONDS"
  switch_has_begun || ((lease < LEASE_BEFORE_SWITCH_S)) || number_to lease "$LEASE_BEFORE_SWITCH_S"
  printf 'run %s\nowner %s\nsince %s\nseen %s\nseen_up %s\nlease %s\n' "$RUN" "$OWNER" "$1" "$seen" "$up" "$((up + lease))" \
    >"$LOCK/holder.new" && mv "$LOCK/holder.new" "$LOCK/holder"
}
switch_has_begun() {
  local file stage
  for file in "$RUN_DIR"/*/stage; do
    file_to stage "$file"
    case $stage in arm | install | switch | rollback) return ;; esac
  done
  return 1
}

# As long as this process lives, the lock does not end, however short its lease.
be_at_work() {
  local work
  exec {work}>>"$LOCK/at-work"
  flock -n "$work" || true
}

# Seconds until the lock ends by itself into `ends_in`, 0 where it has.
lease_left() {
  local up lease now
  uptime_to up
  number_to up "${up%.*}" 0
  number_to lease "$(stat -c %Y "$LOCK" 2>/dev/null || true)" 0
  now=$EPOCHSECONDS
  # One whose holder was not written is a minute old at most, also where the clock was set back since.
  lease=$((lease > now ? now : lease))
  number_to lease "$(held_by lease)" "$((up + lease + 60 - now))"
  ends_in=$((lease > up ? lease - up : 0))
}

renew() {
  local since
  ! holds_lock || { field_to since "$LOCK/holder" since && hold "$since"; }
}
# After a run's last word its lease keeps nobody out any more: only a job of it, or a guard, that is at work does.
expire() { LEASE_S=0 renew; }
release() { ! holds_lock || rm -rf "$LOCK"; }
refresh_lease() { [ ! -e "$LOCK/holder" ] || guarded renew || true; }

switch_lock_is_held() { [ -e "$SWITCH_LOCK" ] && ! flock -n "$SWITCH_LOCK" true; }

# Who holds a lock: every process that has it open, with its command and since when it runs.
holders_of() {
  local pid command holders=''
  while read -r pid; do
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | head -c 200) || true
    holders+="${holders:+; }process $pid (${command% }) since $(ps -o lstart= -p "$pid" 2>/dev/null || true)"
  done < <(find /proc/[0-9]*/fd -lname "$1" ! -path "/proc/$$/*" ! -path "/proc/$BASHPID/*" 2>/dev/null | cut -d/ -f3 | sort -un)
  printf '%s' "${holders:-an unknown process}"
}

# Who else changes the host at this moment, if anyone. A wrapped program has a dot before its name.
foreign_switch() {
  local pid
  if ! find_activation; then
    printf 'systemd did not answer within %s s, so a switch may be under way' "$ANSWER_WITHIN_S"
  elif [ -n "$activating" ]; then
    ask_systemctl show -P ActiveEnterTimestamp -- "$activating" || true
    printf '%s, since %s' "$activating" "${answered:-an unknown time}"
  elif switch_lock_is_held; then
    printf '%s is held by %s; it belongs to no deploy that this host knows' "$SWITCH_LOCK" "$(holders_of "$SWITCH_LOCK")"
  elif pid=$(pgrep -u 0 -of '(^|/)\.?nixos-rebuild(-ng)?(-wrapped)? (.* )?(switch|boot|test)( |$)'); then
    printf 'nixos-rebuild by hand (process %s, since %s)' "$pid" "$(ps -o lstart= -p "$pid")"
  fi
}

# Whether a job of a run may still be at work: no answer counts as one that is.
may_be_at_work() {
  ask_systemctl list-units --plain --no-legend --state=activating,active init.scope "switchproof-$1-*" || return 0
  [[ $answered =~ switchproof-[^[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+activating ]]
}

# Why another run still has the lock, and until when; nothing where it has ended.
lock_problem() {
  local other ends_in until; other=$(held_by run)
  lease_left
  local who take='take the lock over with --take-lock (by hand: SWITCHPROOF_TAKE_LOCK=1)'
  who="run ${other:-unknown} of $(held_by owner) has held the host's lock since $(held_by since)"
  if may_be_at_work "$other"; then
    echo "$who, and its job $([ -n "$answered" ] && echo 'is still running' || echo 'may still be running (systemd does not answer)'). Wait until that job has ended"
  elif [ -n "${SWITCHPROOF_TAKE_LOCK:-}" ]; then
    return
  elif [ -e "$LOCK/at-work" ] && ! flock -n "$LOCK/at-work" true; then
    echo "$who, and is still at work. Wait until it has ended. If that run was abandoned, $take"
  elif ((ends_in)); then
    until=$(date -u -d "@$((EPOCHSECONDS + ends_in))" +%H:%M:%SZ)
    echo "$who. The lock expires at $until, in $ends_in s, unless that run renews it. Wait until then. If that run was abandoned, $take"
  fi
}

# Which run has the host, and until when; nothing where none has. A way back that is under way says more than the lock,
# which ends with it.
run_that_holds() {
  local other left
  pending_to other run
  if [ -n "$other" ] && [ "$other" != "$RUN" ] && ! has_ended "$GUARD"; then
    seconds_left
    echo "run $other of $(pending owner) switched the host after $(pending armed) and has not confirmed it. Wait: the host goes back by itself ${left:+in $left s }unless that run confirms it"
  elif [ -e "$LOCK" ] && ! holds_lock; then
    lock_problem
  fi
}

# All is looked at first: a run that is refused must not have touched another run's guard.
take_lock() {
  local other held ends_in
  held=$(run_that_holds)
  if [ -n "$held" ]; then refuse locked "$held"; return 1; fi
  pending_to other run
  if [ "$other" = "$RUN" ]; then other=''; fi
  if [ -n "$other" ]; then disarm; fi
  if [ -e "$LOCK" ]; then
    ! holds_lock || return 0
    other=$(held_by run)
    say lock.stale "$other"
    say lock.stale.owner "$(held_by owner)"
    say lock.stale.since "$(held_by since)"
    lease_left
    if ((ends_in)); then say lock.taken "$ends_in"; fi
    rm -rf "$LOCK"
  fi
  # A switch on a host that waits for this run's confirmation is our own guard's.
  if ! is_pending && other=$(foreign_switch) && [ -n "$other" ]; then refuse locked "$other"; return 1; fi
  if ! as_this_run_left_it; then
    refuse foreign "this run lost the host's lock, and the host now runs $(toplevel), which this run did not install; start a new run"
    return 1
  fi
  if ! { mkdir "$LOCK" && hold "$(now)"; }; then refuse unready "the lock $LOCK cannot be written"; return 1; fi
  drop_old_jobs
}

# Remove the units of earlier runs' jobs that have ended: a run that was killed leaves them.
drop_old_jobs() {
  local unit state; local -a old=()
  ask_systemctl list-units --all --plain --no-legend --full init.scope 'switchproof-*.service' || return 0
  while read -r unit _ _ state _; do
    case $unit in "$GUARD" | "switchproof-$RUN-"* | init.scope) continue ;; esac
    case $state in exited | failed) old+=("$unit") ;; esac
  done <<<"$answered"
  for unit in "${old[@]}"; do drop_unit "$unit"; done
}

# Whether the host runs what it ran before this run, or what a job of this run was to bring it to. A run that lost its
# lock, as in a power cut, must not undo what another one did since.
as_this_run_left_it() {
  local top; top=$(toplevel)
  [ ! -e "$RUN_DIR/before" ] || [ "$top" = "$(ran_before)" ] || grep -qsxF -- "$top" "$RUN_DIR"/*/expected
}

# A job changes the host only while its run holds the lock: it may have begun late, after the lease was over.
holds_host() {
  ! holds_lock || return 0
  echo "run $RUN no longer holds the lock of this host; run $(held_by run) of $(held_by owner) does"
  return 1
}

# What the host ran before this run.
ran_before() { section "$RUN_DIR/before" system.running; }

# Keep the garbage collector from a system as long as the run goes on; what earlier runs kept is let go.
hold_system() {
  [[ ! $ROOTS/$RUN/$1 -ef $2 ]] || return 0
  mkdir -p "$ROOTS/$RUN"
  [ -z "$2" ] || ln -sfn "$2" "$ROOTS/$RUN/$1" 2>/dev/null || [ "$(readlink "$ROOTS/$RUN/$1")" = "$2" ]
  find "$ROOTS" -mindepth 1 -maxdepth 1 ! -name "$RUN" -exec rm -rf {} +
}

# Take the host for this run, and note what it is before anything changes; $1 is done meanwhile, once the lock is held.
claim() {
  local before="$RUN_DIR/before" noting kept text; local -a kept_parts=()
  if [[ ! $RUN =~ ^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$ ]]; then refuse malformed "'$RUN' is not a run id"; return 1; fi
  if [[ ! $JOB =~ ^[a-z][a-z-]*$ ]]; then refuse malformed "'$JOB' is not a job name"; return 1; fi
  guarded take_lock || { [ -n "${said[outcome]:-}" ] || refuse unready "${unguarded:-the lock cannot be taken}"; return 1; }
  note_before </dev/null &
  noting=$! kept=$payload kept_parts=("${parts[@]}")
  "${1:-true}" || true
  if ! { wait "$noting" && set_room_aside && hold_system before "$(ran_before)"; }; then
    # It says why the rest was refused, too, where that was.
    payload=$kept parts=("${kept_parts[@]}")
    unset "said[outcome]" "said[detail]"
    # Nothing was changed, so the lock need not outlast this run.
    guarded release || true
    refuse unready "cannot write below $STATE: is it full or read-only? $(df -h "$STATE" 2>&1 | tail -n1)"
    return 1
  fi
  file_to text "$before"
  say before "$text"$'\n'
}

# A question that is asked again may meet the one before, which goes on: what either has written counts.
note_before() {
  [ ! -e "$before" ] || return 0
  { mkdir -p "${before%/*}" && chmod 0700 "$STATE"; } 2>/dev/null || return
  # Which units fail is looked for over some moments, and meanwhile what else the host is.
  (payload='' && say began "$EPOCHSECONDS" && exec {failing}< <(failing_before 2>/dev/null && printf .) &&
    say_system "$failing" && keep_first "$before" "$payload") || [ -e "$before" ]
}

# Keep room on the disk for the way back, which writes a job, its log and what was decided.
readonly ROOM=$STATE/room
set_room_aside() {
  [ -z "${room_given:-}" ] || return 0
  [ ! -e "$ROOM" ] || return 0
  { fallocate -l 4M "$ROOM.$$" || head -c 4194304 /dev/zero >"$ROOM.$$"; } 2>/dev/null && mv "$ROOM.$$" "$ROOM"
}
give_room() { room_given=yes && rm -f "$ROOM" "$ROOM".*; }
