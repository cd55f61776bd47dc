# The verbs that begin a job, and those that tell of one.

verb_converge() {
  local problem; problem=$(bridge_problem)
  if [[ ! $RELEASE_SHA =~ ^[0-9a-f]{40}$ ]]; then refuse malformed "converge needs a full commit in RELEASE_SHA, not '$RELEASE_SHA'"; return; fi
  if [ -n "$problem" ]; then refuse malformed "$problem"; return; fi
  claim || return 0
  launch converge
}

# Asked by a person, it follows to the end and gives the host back.
verb_rollback() {
  local to=${SWITCHPROOF_TO:-} armed
  JOB=${SWITCHPROOF_JOB:-rollback}
  if [[ ! $to =~ ^/nix/store/[^/]+$ ]]; then refuse malformed "'$to' is not a system in the Nix store"; return; fi
  if [ ! -x "$to/bin/switch-to-configuration" ]; then refuse gone "$to is not on this host (any more)"; return; fi
  if is_decided_by guard ||
    { is_pending && rebooted && have_systemctl start --no-block "$GUARD"; }; then
    refuse returning "the host is going back by itself, or has done so"
    armed_to armed
    say job "$(return_of "$armed")"
    return
  fi
  give_room
  claim || return 0
  hold_system target "$to"
  launch rollback
  [ -z "${SWITCHPROOF_NONCE:-}" ] || return 0
  follow || true
  verb_confirm
  [ "$(cat "$RUN_DIR/$JOB/rc" 2>/dev/null)" = 0 ]
}

# What the host could be brought back to.
verb_generations() {
  local number top current words='' running special
  [ -z "${SWITCHPROOF_CLAIM:-}" ] || claim || return 0
  running=$(toplevel)
  generation_to current
  while read -r number; do
    top=$(readlink "$PROFILE-$number-link")
    words+=$number$US$top$US$([ -x "$top/bin/switch-to-configuration" ] && echo yes || echo no)
    words+=$US$([ "$number" != "$current" ] || echo yes)$US$(commit_of "$top")$US$(stat -c %Y "$PROFILE-$number-link")$US
    for special in "$top"/specialisation/*; do
      [ ! -e "$special" ] || words+="${special##*/} $(readlink -e "$special")$RS"
    done
    words+=$'\n'
  done < <(find "${PROFILE%/*}" -maxdepth 1 -name 'system-*-link' | sed -n 's/.*-\([0-9]*\)-link$/\1/p' | sort -rn)
  say outcome ok
  say generations "${words%$'\n'}"
  say earlier "$(ran_earlier "$running")"
  say running "$running"
}

# The commit that a system was built from, as far as we or it know.
commit_of() {
  cat "$STATE/systems/${1##*/}" 2>/dev/null || timeout 10 "$1/sw/bin/nixos-version" --configuration-revision 2>/dev/null || true
}

# What ran before the newest run that changed the host and is still there.
ran_earlier() {
  local file top
  while read -r _ file; do
    top=$(section "$file" system.running)
    if [ "$top" != "$1" ] && [ -x "$top/bin/switch-to-configuration" ]; then printf '%s' "$top"; return; fi
  done < <(find "$STATE/runs" -mindepth 2 -maxdepth 2 -name before -printf '%T@ %p\n' 2>/dev/null | sort -rn)
}

# Answer about a job at once where it has ended, was lost or has begun to change the host; else when news have come and
# NEWS_S have gone by, as a question costs the host more than many lines. Waiting costs no process, and what the job
# has to tell it tells at once.
readonly NEWS_S=2 MUCH_NEWS=65536
verb_status() {
  local dir unit began state size=0 bell stage='' wait asked=0 has_begun=''
  dir=$RUN_DIR/$JOB unit=$(job_unit)
  # It is the guard itself that undoes an armed job.
  if [[ $JOB == return* ]] && is_pending; then unit=$GUARD; fi
  uptime_to began
  # Who waits has systemd asked only of a job that says nothing for a second.
  ! milliseconds_to wait "$WAIT_S" || ((wait < 1000)) || asked=$began
  refresh_lease
  [ -z "${SWITCHPROOF_RENEW:-}" ] || guarded restart_countdown
  answered=''
  open_bell "$dir"
  while :; do
    state=running
    # What the job wrote itself counts, before and after systemd was asked.
    if [ ! -e "$dir/rc" ] && gone_by 1 "$asked"; then
      ! has_ended "$unit" || state=lost
      number_to size "$(exec stat -c %s "$dir/log" 2>/dev/null)" 0
      uptime_to asked
    fi
    [ ! -e "$dir/rc" ] || state=finished
    if [ "$state" != running ] || gone_by "$WAIT_S" "$began" || ((size - OFFSET > MUCH_NEWS)); then break; fi
    if ((size > OFFSET)) && gone_by "$NEWS_S" "$began"; then break; fi
    [ -n "$has_begun" ] || file_to stage "$dir/stage"
    if [ -z "$has_begun" ] && [[ $stage =~ ^(install|switch|rollback)$ ]]; then
      has_begun=yes
      if news_of_begin; then break; fi
    fi
    read -r -N 1 -t 0.5 -u "$bell" _ || true
  done
  exec {bell}<&-
  say state "$state"
  say_file stage "$dir/stage"
  say_file rc "$dir/rc"
  say_file expected "$dir/expected"
  say_file profile "$dir/profile"
  say_file failing "$dir/failing"
  say_file secrets "$dir/secrets"
  say_program installed "$dir/realised" cut -d"$US" -f1,2
  say_file journal "$dir/journal"
  say unit "$answered"
  say_program boot.problem "$dir/boot-problem" head -c 4096
  [ ! -e "$dir/restored" ] || say restored yes
  say_program silences "$RUN_DIR/silences" tail -n 50
  number_to size "$(exec stat -c %s "$dir/log" 2>/dev/null)" 0
  say log.size "$size"
  if ((size <= OFFSET)); then say log ''; else
    say log "$(tail -c "+$((OFFSET + 1))" "$dir/log" 2>/dev/null | head -c 262144 | base64 -w0)"
  fi
  [ "$state" != finished ] || [ ! -e "$dir/closure" ] || say closure "$(head -c 262144 "$dir/closure")"
  say boot_id "$(</proc/sys/kernel/random/boot_id)"
  say_guard
}

# Say what a program makes of a file, nothing where there is none.
say_program() {
  if [ -e "$2" ]; then say "$1" "$("${@:3}" "$2" 2>/dev/null)"; else say "$1" ''; fi
}

# Whether the lines that the caller has not seen yet tell that the job begins to change the host.
news_of_begin() { tail -c "+$((OFFSET + 1))" "$dir/log" 2>/dev/null | grep -axE -e '--- (install|switch|rollback)' >/dev/null; }
