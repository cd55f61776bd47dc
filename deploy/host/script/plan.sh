# What a deploy would change, and what would keep it from beginning.

# All that a deploy looks at before it begins. Nothing is changed, nor is the lock taken; `lacks` is what `main` found.
verb_preflight() {
  local failing holder
  exec {failing}< <(failing_before 2>/dev/null && printf .)
  say_room
  say secrets "$(locked_secrets "$(toplevel)")"
  say_reboot_parts
  say_failed "$failing"
  exec {failing}<&-
  holder=$(run_that_holds)
  [ -n "$holder" ] || holder=$(foreign_switch)
  say holder "$holder"
  say commands "$lacks"
}

job_plan() {
  local dir top; dir=$RUN_DIR/$JOB
  [ -n "${SWITCHPROOF_BUILT:-}" ] || foresee || return
  build_system || return
  top=$(readlink -e "$dir/system")
  specialise || return
  printf '%s\n' "$top" >"$dir/expected"
  stage compare
  "${NIX[@]}" store diff-closures "$(toplevel)" "$top" >"$dir/closure" || return
  "${NIX[@]}" path-info --closure-size "$(toplevel)" "$top" >"$dir/sizes" || return
  openly "$top/bin/switch-to-configuration" dry-activate >"$dir/units" 2>&1
}

# Note what nix would build and fetch.
foresee() {
  local said; said=$RUN_DIR/$JOB/forecast
  stage forecast
  { find_source && "${NIX[@]}" build --dry-run "${recipe[@]}"; } 2>"$said" || { cat "$said"; return 1; }
}

# Twice: once to begin, once more when `status` says that it has finished.
verb_plan() {
  JOB=plan
  local dir name; dir=$RUN_DIR/$JOB
  if [ ! -e "$dir/rc" ]; then launch plan; return; fi
  say outcome finished
  say running "$(toplevel)"
  for name in expected closure sizes units; do say_file "$name" "$dir/$name"; done
  [ ! -e "$dir/forecast" ] || say_file forecast "$dir/forecast"
  say_reboot_parts "${said[expected]:-}"
  drop_unit "$(job_unit)"
  rm -rf -- "${STATE:?}/runs/$RUN"
}
