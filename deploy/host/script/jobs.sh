# Jobs: what changes the host, in a transient unit that needs nobody to watch it.

job_unit() { printf 'switchproof-%s-%s.service' "$RUN" "${1:-$JOB}"; }

# The run's jobs that there have been, and those of them that are still at work.
jobs() { find "$RUN_DIR" -mindepth 1 -maxdepth 1 -type d -printf '%f\n'; }
jobs_at_work() { local job; for job in $(jobs); do ended "$job" || printf '%s\n' "$job"; done; }

# Whether a job is over: first by what it wrote itself, then by systemd's explicit answer.
ended() { [ -e "$RUN_DIR/$1/rc" ] || has_ended "$(job_unit "$1")"; }

# This script as one text, whether it came so or stands in a folder with its fragments.
own_text() {
  if [ -n "${BASH_EXECUTION_STRING:-}" ]; then
    printf '%s\n' "$BASH_EXECUTION_STRING"
  elif [ -z "${HERE:-}" ]; then
    cat "$0"
  else
    put_together <"$0"
  fi
}

# Begin a job unless it has begun: its name is taken as long as it is there, and it writes down its stage first.
launch() {
  local dir unit stderr=''; dir=$RUN_DIR/$JOB unit=$(job_unit)
  mkdir -p "$dir"
  if [ ! -e "$dir/stage" ]; then
    mkfifo "$dir/bell" 2>/dev/null || true # a second later nobody needs it
    : >>"$dir/log"
    own_text >"$dir/host-switch.sh.$$"
    mv "$dir/host-switch.sh.$$" "$dir/host-switch.sh"
    bridge_table >"$dir/bridge"
    begin_unit "$1" || { refuse unstarted "systemd-run could not start $unit: $stderr"; return; }
  fi
  say outcome started
}

# Start the job's unit, again while nobody knows whether it was: it is there, or systemd says that it is not.
begin_unit() {
  local began
  uptime_to began
  until run_unit "$1" || [ -e "$dir/stage" ]; do
    # It may have begun all the same; where nobody answers that at once, it may be asked for again: its name is taken.
    if ANSWER_WITHIN_S=1 ask_systemctl show -P LoadState -- "$unit" && [ "$answered" = loaded ]; then break; fi
    ! gone_by "$DONE_WITHIN_S" "$began" || return 1
    note_silence "systemd-run could not start $unit; asking again: ${stderr:0:300}"
    sleep 0.2
  done
}
run_unit() {
  local limit=$TIMEOUT_S way_back
  if [ "$1" = rollback ]; then find_way_back; limit=$way_back; fi
  stderr=$(timeout 60 systemd-run --quiet --no-block --no-ask-password --unit="$unit" --service-type=oneshot \
    --remain-after-exit --expand-environment=no -p StandardOutput="append:$dir/log" -p StandardError=inherit \
    -p TimeoutStartSec="$limit" \
    -E HOME="$HOME" -E RELEASE_SHA="$RELEASE_SHA" -E WORKDIR="$WORKDIR" -E FLAKE_ATTR="$FLAKE_ATTR" -E NIX_FILE="$NIX_FILE" \
    -E SWITCHPROOF_RUN="$RUN" -E SWITCHPROOF_JOB="$JOB" -E SWITCHPROOF_TO="${SWITCHPROOF_TO:-}" \
    -E SWITCHPROOF_BUILT="${SWITCHPROOF_BUILT:-}" -E SWITCHPROOF_AGE_RECIPIENT="$AGE_RECIPIENT" \
    -E SWITCHPROOF_LOCKED_SECRETS="$LOCKED_SECRETS" -E SPECIALISATION="$SPECIALISATION" \
    -E SWITCHPROOF_OWNER="$OWNER" -E SWITCHPROOF_DEADMAN_S="$DEADMAN_S" \
    -E SWITCHPROOF_RECONNECT_S="$RECONNECT_S" -E SWITCHPROOF_PATIENCE_S="$PATIENCE_S" \
    -E SWITCHPROOF_TIMEOUT_S="$TIMEOUT_S" -E ALLOW_HOST_BUILD_FALLBACK="$ALLOW_HOST_BUILD_FALLBACK" \
    "$BASH" "$dir/host-switch.sh" job "$1" </dev/null 2>&1)
}

stage() { printf '%s\n' "$1" >"$RUN_DIR/$JOB/stage"; printf -- '--- %s\n' "$1"; ring; }

# A pipe in the job's folder wakes who waits for news of it, where there is one; nobody waits for whoever reads.
open_bell() {
  if [ -p "$1/bell" ] && { exec {bell}<>"$1/bell"; } 2>/dev/null; then return; fi
  local idle
  open_idle
  bell=$idle
}
ring() { [ ! -p "$RUN_DIR/$JOB/bell" ] || printf . 1<>"$RUN_DIR/$JOB/bell"; }

# What goes on beside a job, which ends only after it.
comparing=''

# Do a job, and keep how it ended and what the switch said to the journal.
conduct() {
  local dir rc=0; dir=$RUN_DIR/$JOB
  mark_journal
  "job_$1" </dev/null || rc=$?
  [ -z "$comparing" ] || wait "$comparing" || true
  timeout 20 journalctl -q --no-pager -o cat -t nixos "${SINCE_MARK[@]}" 2>/dev/null | tail_of 262144 >"$dir/journal" || true
  # Some versions of nixos-rebuild send what the switch says to the journal instead of here.
  timeout 20 journalctl -q --no-pager -o cat -u "$ACTIVATION*" "${SINCE_MARK[@]}" 2>/dev/null |
    tail_of 262144 | sed 's/^/journal: /' || true
  return "$rc"
}

# Write down how a job ended, which says that it has.
end_job() { printf '%s\n' "$1" | keep "$RUN_DIR/$JOB/rc" && ring; }

verb_job() {
  local rc=0
  conduct "$1" || rc=$?
  end_job "$rc"
  exit "$rc"
}
