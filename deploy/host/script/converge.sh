# The job that builds and switches.

# What the running system's closure and that of $1 differ in, for whoever reads of it; nothing depends on it, nor waits for
# it but the end of the job.
compare_closures() {
  local file from; file=$RUN_DIR/$JOB/closure from=$(toplevel)
  { timeout 30 "${NIX[@]}" store diff-closures "$from" "$1" >"$file" || rm -f "$file"; } </dev/null 2>/dev/null &
  comparing=$!
}

# Build the system of the commit, unless the runner has built it, and keep it from the garbage collector for this run.
build_system() {
  local link; link=$RUN_DIR/$JOB/system
  stage build
  if [ -n "${SWITCHPROOF_BUILT:-}" ]; then
    [ -x "$SWITCHPROOF_BUILT/bin/switch-to-configuration" ] || { echo "error: $SWITCHPROOF_BUILT is missing on this host"; return 1; }
    nix-store --add-root "$link" --realise "$SWITCHPROOF_BUILT"
  else
    find_source && "${NIX[@]}" build --print-build-logs --out-link "$link" "${recipe[@]}"
  fi
}

# Put into `recipe` what nix is to build of the commit, and into `system` what asks nixos-rebuild for the same.
declare -a recipe=() system=()
find_source() {
  local tree
  recipe=("$(flake "$(toplevel_attr)")") system=(--flake "$(flake "$FLAKE_ATTR")")
  [ -n "$NIX_FILE" ] || return 0
  # What is evaluated is a store path that nix makes of the commit's files alone, and finds no channel.
  export NIX_PATH=none=/none
  tree=$("${NIX[@]}" eval --raw --expr "(builtins.fetchGit { url = \"file://$WORKDIR\"; rev = \"$RELEASE_SHA\"; }).outPath") &&
    nix-store --add-root "$RUN_DIR/$JOB/tree" --realise "$tree" >/dev/null || return
  recipe=(--file "$tree/$NIX_FILE" "${FLAKE_ATTR:+$FLAKE_ATTR.}config.system.build.toplevel")
  system=(--no-flake --file "$tree/$NIX_FILE" ${FLAKE_ATTR:+--attr "$FLAKE_ATTR"})
}

# What is to run of the built system in `top`, into `top`: its specialisation, where one was asked for. nixos-rebuild looks for
# that only once the profile has moved.
specialise() {
  local base=$top; local -a all=("$top"/specialisation/*)
  [ -n "$SPECIALISATION" ] || return 0
  top=$(readlink -e "$base/specialisation/$SPECIALISATION") && [ -x "$top/bin/switch-to-configuration" ] && return
  stage specialisation
  [ -e "${all[0]}" ] || all=(none)
  echo "error: $base has no specialisation '$SPECIALISATION'; it has: ${all[*]##*/}"
  return 1
}

# Note the commit that the system `top` was built from.
note_commit() { mkdir -p "$STATE/systems" && printf '%s\n' "$RELEASE_SHA" >"$STATE/systems/${top##*/}"; }

job_converge() {
  local dir top noting rc=0; dir=$RUN_DIR/$JOB
  build_system || return
  top=$(readlink -e "$dir/system")
  note_commit
  printf '%s\n' "$top" >"$dir/profile"
  specialise || return
  [ -z "$SPECIALISATION" ] || note_commit
  printf '%s\n' "$top" >"$dir/expected"
  compare_closures "$top"
  check_secrets "$top" || return
  realise_programs || return
  { note_failing || true; note_restarts; } </dev/null >/dev/null 2>&1 &
  noting=$!
  arm "$top" || return
  install_programs "$top" || return
  wait "$noting" || true
  stage switch
  call_nixos_rebuild
  rc=$switch_result
  if needs_reboot "$rc"; then undo_refused; return "$rc"; fi
  case $rc in
    0 | 4)
      note_strays "$(ran_before)"
      renew_units || rc=4
      ;;
  esac
  boot_earlier
  return "$rc"
}

# Call nixos-rebuild, again while systemd, which executes itself anew, cannot begin the switch for it: as nothing was
# activated, the same can be done once more.
call_nixos_rebuild() {
  local rc size failed_at=''
  while :; do
    rc=0
    # What an earlier switch left failed would keep this one's unit from being made; one that runs is not touched.
    drop_unit "$ACTIVATION.service"
    mark_journal
    number_to size "$(stat -c %s "$RUN_DIR/$JOB/log" 2>/dev/null)" 0
    if [ -n "${SWITCHPROOF_BUILT:-}" ]; then
      switch_to_built "$((size + 1))" || rc=$?
    else
      openly nixos-rebuild switch "${system[@]}" "${SPECIALISED[@]}" || rc=$?
    fi
    take_switch_result "$rc"
    if ! lost_systemd "$((size + 1))"; then return 0; fi
    [ -n "$failed_at" ] || uptime_to failed_at
    if gone_by "$DONE_WITHIN_S" "$failed_at"; then return 0; fi
    note_silence 'nixos-rebuild could not start the switch through systemd; calling it again'
    echo 'systemd did not answer nixos-rebuild, and nothing was activated: calling it again'
    sleep 1
  done
}

# Have nixos-rebuild switch to what the runner built, or, where it takes no store path, do the same without it. $1 is
# where its words begin in the log.
switch_to_built() {
  local rc=0
  openly nixos-rebuild switch --store-path "$SWITCHPROOF_BUILT" "${SPECIALISED[@]}" || rc=$?
  { [ "$rc" != 0 ] && tail -c "+$1" "$RUN_DIR/$JOB/log" | grep -aE "$NO_STORE_PATH" >/dev/null; } || return "$rc"
  echo 'this nixos-rebuild takes no store path: setting the profile and running switch-to-configuration directly'
  openly nix-env -p "$PROFILE" --set "$SWITCHPROOF_BUILT" || return
  openly systemd-run --collect --no-ask-password --pipe --quiet --service-type=exec --unit="$ACTIVATION" \
    "$(cat "$RUN_DIR/$JOB/expected")/bin/switch-to-configuration" switch
}
readonly NO_STORE_PATH='(unrecognized arguments|unknown option).*--store-path'

# Whether nixos-rebuild failed as systemd did not answer, and nobody knows of a switch: neither systemd, nor the journal,
# nor the system that runs. $1 is where its words begin in the log.
lost_systemd() {
  [ "$switch_result" != 0 ] && [ "$switch_source" = nixos-rebuild ] && [ "$(toplevel)" = "$(ran_before)" ] &&
    tail -c "+$1" "$RUN_DIR/$JOB/log" | grep -aE "$NO_ANSWER" >/dev/null
}
readonly NO_ANSWER='Connection (refused|reset by peer|timed out)|Transport endpoint is not connected|[Dd]isconnected from (message )?bus'

# Whether the new system refused to be switched to on a running host: its init is another one, or components changed
# that only a reboot can change. It is never forced.
needs_reboot() {
  [ "$(toplevel)" = "$(ran_before)" ] || return 1
  case $1 in
    100) return 0 ;;
    1) tail -c 65536 "$RUN_DIR/$JOB/log" | grep -qiE 'changes to critical components|switch inhibitor' ;;
    *) return 1 ;;
  esac
}

# Nothing was activated: set back the profile, the programs and what boots, and say whether that worked.
undo_refused() {
  local to; to=$(ran_before)
  echo 'this system needs a reboot, so it was not activated; restoring the profile and the boot default'
  restore_profile "$to" && bring_programs_back && set_what_boots "$(boots_for "$to" "$(profile_for "$to")")" &&
    guarded disarm_own || return 0
  INVOCATIONS=()
  : >"$RUN_DIR/$JOB/restored"
}

# From here on is what the journal will have to say of a switch.
declare -a SINCE_MARK=()
mark_journal() {
  local cursor
  SINCE_MARK=(--since "@$EPOCHSECONDS")
  { cursor=$(timeout 20 journalctl -q --no-pager -n1 -o cat --show-cursor); } 2>/dev/null || true # bash drops NUL bytes
  [[ $cursor != *'-- cursor: '* ]] || SINCE_MARK=(--after-cursor "${cursor##*-- cursor: }")
}

# How the switch itself ended, into `switch_result`. nixos-rebuild's return is not its end: systemd-run ends with 0 where
# it loses the bus, some versions say 1 for everything. So wait for the unit and its lock, and believe systemd's record.
switch_result='' switch_source=''
take_switch_result() {
  local was_busy=''
  if ! find_activation || [ -n "$activating" ] || switch_lock_is_held; then was_busy=yes; settle || true; fi
  timeout 20 journalctl --sync 2>/dev/null || true
  if switch_result=$(switch_status_of_unit) && [ -n "$switch_result" ]; then
    switch_source="systemd's record of its unit"
  elif switch_result=$(switch_status_of_journal) && [ -n "$switch_result" ]; then
    switch_source="its own line in the journal"
  elif [ -n "$was_busy" ] && [ "$1" = 0 ]; then
    # It was still at work when nixos-rebuild said that all went well, and nothing tells how it ended.
    switch_result=$RESULT_UNKNOWN switch_source='nobody: it went on after nixos-rebuild had returned'
  else
    switch_result=$1 switch_source=nixos-rebuild
  fi
  printf -- '--- the switch ended with status %s (told by %s; nixos-rebuild returned %s)\n' "$switch_result" "$switch_source" "$1"
}
readonly RESULT_UNKNOWN=125

# What systemd said last of how the activation's process ended; nothing where it said nothing.
switch_status_of_unit() {
  timeout 20 journalctl -q --no-pager -o cat "${SINCE_MARK[@]}" -u "$ACTIVATION*" 2>/dev/null | awk -v unit="^$ACTIVATION" '
    $0 !~ unit { next }
    /: Main process exited, code=exited, status=[0-9]+/ { sub(/.*status=/, ""); sub(/[^0-9].*/, ""); status = $0 }
    /: Main process exited, code=(killed|dumped), status=[0-9]+/ { sub(/.*status=/, ""); sub(/[^0-9].*/, ""); status = 128 + $0 }
    /: (Deactivated successfully|Succeeded)\.$/ { status = 0 }
    END { print status }'
}

# What switch-to-configuration itself told the journal last.
switch_status_of_journal() {
  timeout 20 journalctl -q --no-pager -o cat "${SINCE_MARK[@]}" -t nixos 2>/dev/null | awk '
    /^finished switching to system configuration / { status = 0 }
    /^switching to system configuration .* failed \(status [0-9]+\)/ { sub(/.*\(status /, ""); sub(/[^0-9].*/, ""); status = $0 }
    END { print status }'
}
