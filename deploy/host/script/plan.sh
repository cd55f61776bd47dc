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
  local dir top; dir=$(job_dir)
  build_system || return
  top=$(readlink -e "$dir/system")
  specialise || return
  printf '%s\n' "$top" >"$dir/expected"
  stage compare
  "${NIX[@]}" store diff-closures "$(toplevel)" "$top" >"$dir/closure" || return
  openly "$top/bin/switch-to-configuration" dry-activate >"$dir/units" 2>&1
}

# Twice: once to begin, once more when `status` says that it has finished.
verb_plan() {
  JOB=plan
  local dir; dir=$(job_dir)
  if [ ! -e "$dir/rc" ]; then launch plan; return; fi
  say outcome finished
  say running "$(toplevel)"
  say expected "$(cat "$dir/expected" 2>/dev/null || true)"
  say closure "$(cat "$dir/closure" 2>/dev/null || true)"
  say units "$(cat "$dir/units" 2>/dev/null || true)"
  drop_unit "$(job_unit)"
  rm -rf -- "${STATE:?}/runs/$RUN"
}
