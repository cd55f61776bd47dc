# Jobs: what changes the host, in a transient unit that needs nobody to watch it.

job_unit() { printf 'switchproof-%s-%s.service' "$RUN" "${1:-$JOB}"; }

# The run's jobs that there have been, and those of them that are still at work.
jobs() {
  local dir
  for dir in "$RUN_DIR"/*/; do
    [ ! -d "$dir" ] || { dir=${dir%/} && printf '%s\n' "${dir##*/}"; }
  done
}
jobs_at_work() { local job; for job in $(jobs); do ended "$job" || printf '%s\n' "$job"; done; }

# Whether a job is over: first by what it wrote itself, then by systemd's explicit answer.
ended() { [ -e "$RUN_DIR/$1/rc" ] || has_ended "$(job_unit "$1")"; }

# Put this script into `script`, whether it came as one text or stands in a folder with its fragments.
find_script() {
  script=${BASH_EXECUTION_STRING:-}
  if [ -n "$script" ]; then return; fi
  if [ -n "${HERE:-}" ]; then script=$(put_together <"$0") || return; else file_to script "$0"; fi
  [ -n "$script" ]
}

# Begin a job unless it has begun: its name is taken as long as it is there, and it writes down its stage first.
launch() {
  local dir unit script stderr=''; dir=$RUN_DIR/$JOB unit=$(job_unit)
  mkdir -p "$dir"
  if [ ! -e "$dir/stage" ]; then
    mkfifo "$dir/bell" 2>/dev/null || true # a second later nobody needs it
    : >>"$dir/log"
    find_script || { refuse unready "$0 cannot be read"; return; }
    printf '%s\n' "$script" >"$dir/host-switch.sh.$$"
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
  local name limit=$TIMEOUT_S way_back; local -a given=()
  for name in HOME RELEASE_SHA WORKDIR FLAKE_ATTR NIX_FILE SPECIALISATION ALLOW_HOST_BUILD_FALLBACK; do given+=(-E "$name=${!name}"); done
  for name in RUN JOB OWNER DEADMAN_S RECONNECT_S PATIENCE_S TIMEOUT_S AGE_RECIPIENT LOCKED_SECRETS; do given+=(-E "SWITCHPROOF_$name=${!name}"); done
  if [ "$1" = rollback ]; then find_way_back; limit=$way_back; fi
  stderr=$(timeout 60 systemd-run --quiet --no-block --no-ask-password --unit="$unit" --service-type=oneshot \
    --remain-after-exit --expand-environment=no -p StandardOutput="append:$dir/log" -p StandardError=inherit \
    -p TimeoutStartSec="$limit" "${given[@]}" -E SWITCHPROOF_TO="${SWITCHPROOF_TO:-}" -E SWITCHPROOF_BUILT="${SWITCHPROOF_BUILT:-}" \
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
  SINCE_MARK=(--since "@$EPOCHSECONDS")
  "job_$1" </dev/null || rc=$?
  [ -z "$comparing" ] || wait "$comparing" || true
  timeout 20 journalctl -q --no-pager -o cat -t nixos "${SINCE_MARK[@]}" 2>/dev/null | tail_of 262144 >"$dir/journal" || true
  # Some versions of nixos-rebuild send what the switch says to the journal instead of here.
  timeout 20 journalctl -q --no-pager -o cat -u "$ACTIVATION*" "${SINCE_MARK[@]}" 2>/dev/null |
    tail_of 262144 | sed 's/^/journal: /' || true
  return "$rc"
}

# Write down how a job ended, which says that it has.
end_job() { keep "$RUN_DIR/$JOB/rc" "$1" && ring; }

verb_job() {
  local rc=0
  conduct "$1" || rc=$?
  end_job "$rc"
  exit "$rc"
}
