# The way back to the noted system, and how it is made what boots.

job_rollback() {
  local to=$SWITCHPROOF_TO job rc=0
  mark_journal
  share_time
  stage rollback
  aim_at "$to"
  end_other_jobs
  # Where the host is going back by itself already, the same is done once more after it.
  guarded begin_way_back || { holds_host && await_return; } || return
  if [ "$to" != "$(ran_before)" ]; then
    compare_closures "$to"
    arm "$to" || return
    stage rollback
  fi
  restore "$to" switch || rc=$?
  pending_to job job
  if [ "$job" = "$JOB" ]; then boot_earlier; else guarded disarm_own; fi
  return "$rc"
}

begin_way_back() { holds_host && { ! is_pending || decide rollback "job $JOB"; }; }

# Wait until the guard has brought the host back.
await_return() {
  local began way_back=0
  find_way_back
  uptime_to began
  while [ -e "$PENDING" ]; do
    if gone_by "$((way_back + 60))" "$began"; then echo "the host's own way back did not finish"; return 1; fi
    sleep 0.5
  done
}

# A build may be stopped at any time; an activation under way is let finish.
end_other_jobs() {
  local job
  while job=$(jobs_at_work) && job=$(grep -vxm1 -- "$JOB" <<<"$job"); do
    case $(cat "$RUN_DIR/$job/stage" 2>/dev/null || echo build) in
      build | realise) have_systemctl stop -- "$(job_unit "$job")" || true ;;
    esac
    sleep 0.5
  done
}

# The seconds that a way back has as a whole, into `way_back`.
find_way_back() { way_back=$((TIMEOUT_S < WAY_BACK_S ? WAY_BACK_S : TIMEOUT_S)); }

# Share them out, so that a switch that hangs is ended, and one on the way back tried twice, before they are over.
share_time() {
  local way_back=0
  find_way_back
  ((4 * PATIENCE_S <= way_back)) || PATIENCE_S=$((way_back / 4))
  SWITCH_S=$((way_back / 3))
}

# Whether systemd ended a job of this run because its time was over; the switch that the job began has had its time, too.
has_run_out() {
  local job
  for job in $(jobs); do
    [ ! -e "$RUN_DIR/$job/rc" ] && ask_systemctl show -P Result -- "$(job_unit "$job")" && [ "$answered" = timeout ] && return
  done
  return 1
}

# Wait until no switch is under way: neither its unit nor its lock. One that hangs is ended, and a lock that a stray
# process holds is set aside, or nothing could ever be undone. Fails where even that did not help.
settle() {
  local began patience=$PATIENCE_S limit=$PATIENCE_S
  if has_run_out; then patience=0 limit=$TIMEOUT_S; fi
  uptime_to began
  while ! find_activation || [ -n "$activating" ] || switch_lock_is_held; do
    if gone_by "$((2 * patience + 60))" "$began"; then return 1; fi
    if gone_by "$patience" "$began"; then
      if [ -n "$activating" ]; then
        echo "stopping $activating, which did not finish within $limit s"
        have_systemctl stop -- "$activating" || true
      elif switch_lock_is_held; then
        echo "removing $SWITCH_LOCK: $(holders_of "$SWITCH_LOCK") has held it for $limit s"
        rm -f "$SWITCH_LOCK"
      fi
    fi
    sleep 0.5
  done
}

# Make exactly this system what the profile says, what runs and what would boot. Each is tried whatever became of
# the others: on a full disk, say, the profile may not move, and the host must go back all the same.
restore() {
  local to=$1 action=$2 rc=0 moved=0 profile from
  settle || echo 'another switch did not finish; going back anyway'
  [ -x "$to/bin/switch-to-configuration" ] || { echo "$to is not a system on this host"; return 1; }
  if [ "$to" = "$(ran_before)" ]; then bring_programs_back || moved=$?; else install_what_belongs "$to" || moved=$?; fi
  restore_profile "$to" || moved=$?
  note_restarts
  from=$(toplevel)
  run_switch "$to" "$action" || rc=$?
  if [ "$rc:$action" = 1:switch ] && [ "$(toplevel)" != "$to" ]; then
    # It ended before it activated anything, as where /boot cannot be written. The host must run the system all the same.
    rc=0
    run_switch "$to" test || rc=$?
    set_what_boots "$to" || moved=$?
  fi
  note_strays "$from"
  renew_units || moved=$?
  # The switch has set what boots, unless it failed or the profile was another system before.
  profile=$(profile_for "$to")
  if [ "$profile" != "$to" ] && [ -x "$profile/bin/switch-to-configuration" ]; then
    set_what_boots "$profile" || moved=$?
  elif [ "$rc" != 0 ]; then
    set_what_boots "$to" || true
  fi
  [ "$rc" != 0 ] || rc=$moved
  return "$rc"
}

# What the profile is to be once a system runs again: for the one that ran before, what was noted, even if that was not
# what ran; for a specialisation the system that has it.
profile_for() {
  local noted='' link special
  [ "$1" != "$(ran_before)" ] || noted=$(section "$RUN_DIR/before" system.profile)
  if [ -e "$noted" ]; then printf '%s' "$noted"; return; fi
  for link in "$PROFILE" "$PROFILE"-*-link; do
    if find_special "$1" "$link"; then readlink -e "$link"; return; fi
  done
  printf '%s' "$1"
}

# What is to boot where the system $1 runs and the profile is $2: no boot loader starts a specialisation unless it is told
# to, and installing one for it would leave some of them as they were.
boots_for() {
  local special
  if find_special "$1" "$2"; then readlink -e "$2"; else printf '%s' "$1"; fi
}

# Write down what a way back is to bring about: what runs, and what the profile is.
aim_at() {
  printf '%s\n' "$1" >"$RUN_DIR/$JOB/expected"
  profile_for "$1" >"$RUN_DIR/$JOB/profile"
}

# Bring the profile back, to the very generation that it had where there is one.
restore_profile() {
  local wanted number link; wanted=$(profile_for "$1")
  number_to number "$(section "$RUN_DIR/before" system.generation)"
  if [ "$(readlink -e "$PROFILE-$number-link")" != "$wanted" ]; then
    number=$(for link in "$PROFILE"-*-link; do
      [ "$(readlink -e "$link")" != "$wanted" ] || printf '%s\n' "$link"
    done | sed -n 's/.*-\([0-9]*\)-link$/\1/p' | sort -n | tail -n1)
  fi
  if [ -n "$number" ]; then
    nix-env -p "$PROFILE" --switch-generation "$number"
  else
    nix-env -p "$PROFILE" --set "$wanted"
  fi
}

# One that waits without end, as for a bus that it lost, is ended, with status 124 or 137.
call_switch() { NIXOS_NO_CHECK=1 openly timeout -k 20 "$SWITCH_S" "$1/bin/switch-to-configuration" "$2"; }

# Run the switch of a system that ran before, so that the checks with which a switch begins do not matter; again while
# another one holds the lock, and once more where it hung, and where it failed: what made it do so, such as a bus that
# restarted, may be over, and it goes on with the units that it had noted.
run_switch() {
  local rc began hung='' failed=''
  uptime_to began
  while :; do
    rc=0
    call_switch "$1" "$2" || rc=$?
    case $rc:$hung:$failed:$2 in
      124::* | 137::*)
        echo "$1/bin/switch-to-configuration $2 did not finish within $SWITCH_S s; trying once more"
        hung=yes
        continue
        ;;
      1:*::switch)
        echo "$1/bin/switch-to-configuration $2 ended with status 1; trying once more"
        failed=yes
        sleep 1
        continue
        ;;
      11:*) ;;
      *) break ;;
    esac
    ! gone_by "$PATIENCE_S" "$began" || break
    sleep 1
    settle || break
  done
  [ "$rc" = 0 ] || echo "$1/bin/switch-to-configuration $2 ended with status $rc"
  return "$rc"
}

# What would boot.
boot_default() { run_switch "$1" boot; }

# The same in a job, whose answers say why where it could not be set.
set_what_boots() {
  local stderr
  if stderr=$(boot_default "$1" 2>&1); then [ -z "$stderr" ] || printf '%s\n' "$stderr"; return; fi
  printf '%s\n' "$1 could not be made the boot default:" "$stderr" | tee "$RUN_DIR/$JOB/boot-problem"
  return 1
}
