# The end of a run: its system is kept, or it goes back.

# The run is over: whoever comes next may have the host. With SWITCHPROOF_KEEP it keeps the system that the run
# switched to: with 1 that very system, which passed every check; with anything else whatever became of it.
verb_confirm() {
  if [ ! -d "$RUN_DIR" ]; then refuse foreign "this host has no record of run $RUN"; return; fi
  guarded conclude || { [ -n "${said[outcome]:-}" ] || refuse busy "${unguarded:-the run could not be ended}"; }
}

conclude() {
  local keep=${SWITCHPROOF_KEEP:-} job outcome=ok detail=''
  job=$(jobs_at_work) job=${job%%$'\n'*}
  if [ -z "$job" ] && ! find_activation; then job='a possible switch (systemd does not answer)'; fi
  job=${job:-$activating}
  if [ -n "$job" ]; then
    refuse busy "$job is still running; the lock stays until it has ended"
    [ "$keep" = 1 ] || expire
    return
  fi
  judge
  if [ "$outcome" = ok ] && [ -n "$keep" ]; then keep_system; fi
  [ "$keep" != 1 ] || say_boot
  [ "$outcome" != ok ] || disarm_own
  case $outcome:$keep in
    ok:* | late: | pending:) end_run ;;
    *:1) ;;
    *) expire ;;
  esac
  say outcome "$outcome"
  [ -z "$detail" ] || say detail "$detail"
}

# What a confirmation means in the state that the host is in.
judge() {
  local by dir armed expected
  armed_to armed
  decided_to by by
  pending_to expected expected
  dir=$RUN_DIR/$armed
  if [ "$by" = confirm ]; then
    return
  elif [ "$by" = guard ]; then
    outcome=late detail="the host has been going back by itself since $(decided at): $(decided why)"
    [ ! -e "$dir/returned" ] || detail="the host went back by itself at $(decided at), with exit status $(field "$dir/returned" rc): $(decided why)"
  elif [ "$by" = rollback ]; then
    [ -z "$keep" ] || { outcome=late detail="the run itself went back at $(decided at)"; }
  elif ! is_pending; then
    [ -z "$keep" ] || [ -z "$armed$(pending run)" ] || { outcome=foreign detail="another run has taken the host over"; }
  elif [ -n "$keep" ] && rebooted; then
    outcome=booted detail='the host was rebooted before it was confirmed, and goes back by itself'
  elif [ "$keep" = 1 ] && [ "$(toplevel)" != "$expected" ]; then
    outcome=foreign detail="the host runs $(toplevel), not $expected"
  elif [ -z "$keep" ] && { [ "$(toplevel) $(readlink -e "$PROFILE")" != "$(pending to) $(profile_for "$(pending to)")" ] || ! as_before; }; then
    outcome=pending detail="$expected was not confirmed; the host goes back by itself"
  fi
}

# First what boots, then the decision: after a loss of power in between, the host is unconfirmed and goes back.
keep_system() {
  local new words='' rc=0
  pending_to new expected
  if is_pending && is_decided_by ''; then
    if [ "$(toplevel)" = "$new" ]; then words=$(call_switch "$(boots_for "$new" "$PROFILE")" boot 2>&1) || rc=$?; fi
    if [ "$rc" = 11 ]; then outcome=busy detail="another switch holds the host: $words"; return; fi
    if [ "$rc" != 0 ] || ! decide confirm ''; then
      outcome=unbootable detail="$new could not be made the boot default, or the confirmation could not be written: $words"
      boot_earlier >&2
      return
    fi
  fi
  rm -f "$STATE/returned"
}

# What the run kept is kept, for the newest twenty runs.
end_run() {
  local job old
  for job in $(jobs); do drop_unit "$(job_unit "$job")"; done
  printf '%s\n' "${SWITCHPROOF_OUTCOME:-}" >"$RUN_DIR/outcome"
  release
  [ -e "$PENDING" ] || rm -rf -- "${ROOTS:?}/$RUN"
  while read -r old; do [ -e "/nix/store/$old" ] || rm -rf -- "${BELONGS:?}/$old"; done < <(ls "$BELONGS" 2>/dev/null)
  while read -r old; do rm -rf -- "${STATE:?}/runs/$old"; done < <(
    find "$STATE/runs" -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' | sort -rn | tail -n +21 | cut -d' ' -f2-)
}
