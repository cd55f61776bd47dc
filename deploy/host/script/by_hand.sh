# For a person on the host.

# What the target file calls `exposure` and `unit_files`, for a deploy by hand: ports in a container's own network are for
# whoever reaches that, those of the host for the host alone.
EXPOSURE=${EXPOSURE:-} UNIT_FILES=${UNIT_FILES:-}
# Why the host has no hypervisor, likewise, where none is among what is probed.
NO_HYPERVISOR=${NO_HYPERVISOR:-}

# A text for a terminal: what would command it is taken out, whoever said it.
printable() { sed -e 's/[\x00-\x08\x0b-\x1f\x7f]//g; s/\xc2[\x80-\x9f]//g; s/\xe2\x80[\x8e\x8f\xaa-\xae]//g; s/\xe2\x81[\xa6-\xa9]//g'; }

# The script's own text with its fragments, where they stand beside it.
# shellcheck disable=SC2016 # lines of the script, as they stand there
put_together() {
  local line
  while IFS= read -r line; do
    case $line in
      'source "$HERE/'*) cat "$HERE/$(cut -d/ -f2- <<<"${line%\"}")" || return ;;
      'if [[ $0 == */* ]]; then readonly HERE='*) ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
}

row() { printf '%-12s %s\n' "$1" "$2"; }

tell_no_contract() {
  echo "${0##*/}: nothing says what healthy means on this host; write a script that does, from its target file:" \
    'switchproof script deploy/targets/NAME.toml > host-switch.sh; nothing was touched' >&2
  exit 64
}
tell_usage() {
  echo "usage: ${0##*/} deploy | observe | diagnose | status | generations | resolve | converge | plan | preflight | rollback | confirm;" \
    "'$1' is none of these; nothing was touched" >&2
  exit 64
}

# The answer of a verb as text; its exit status says whether it was the wanted one.
tell() {
  case $1 in
    status) tell_status ;;
    generations) tell_generations ;;
    observe) tell_observation ;;
    diagnose) tell_parts ;;
    plan) tell_plan ;;
    *) row "${said[outcome]:-done}" "${said[detail]:-${said[sha]:-}}" ;;
  esac | printable
  [ -z "${said[returned]:-}" ] || printf '\nThis host went back by itself:\n%s\n' "${said[returned]}" | printable
  case ${said[outcome]:-ok} in ok | started | finished) return 0 ;; locked) return 75 ;; *) return 1 ;; esac
}

tell_parts() { local part; for part in "${parts[@]}"; do printf '\n==== %s ====\n%s\n' "$part" "${said[$part]}"; done; }

tell_status() {
  local top profile run left ends_in number special same='the same'; top=$(toplevel) profile=$(readlink -e "$PROFILE" || true)
  generation_to number
  row runs "$top ($(commit_of "$top"))"
  if find_special "$top" "$PROFILE"; then
    same="$profile, whose specialisation $special runs"
  elif [ "$profile" != "$top" ]; then
    same="$profile, which is not what runs"
  fi
  row profile "$same, generation $number"
  lease_left
  row lock "$([ -e "$LOCK" ] && echo "$(held_by owner), run $(held_by run), since $(held_by since); it expires in $ends_in s unless that run renews it" || echo free)"
  run=$(pending run)
  seconds_left
  row unconfirmed "${run:-nothing}${run:+: goes back to $(pending to) ${left:+in $left s }unless it is confirmed}"
  for run in $(find "$STATE/runs" -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' 2>/dev/null | sort -rn | sed -n '1,5s/^[^ ]* //p'); do
    row run "$run: $(cat "$STATE/runs/$run/outcome" 2>/dev/null || echo 'not ended')"
  done
  [ -n "${SWITCHPROOF_RUN:-}" ] || return 0
  row "$JOB" "${said[state]}${said[stage]:+, stage ${said[stage]}}${said[rc]:+, exit status ${said[rc]}}; log: $RUN_DIR/$JOB/log"
}

tell_generations() {
  local number top here current commit made
  row "${said[outcome]}" "${said[detail]:-}"
  while IFS=$US read -r number top here current commit made _; do
    [ -n "$number" ] || continue
    number_to made "$made" 0
    printf '%5s  %s  %-40s  %s%s%s\n' "$number" "$(date -u -d "@$made" +%Y-%m-%dT%H:%MZ)" "${commit:-commit unknown}" "$top" \
      "$([ "$current" != yes ] || echo '  (current)')" "$([ "$here" = yes ] || echo '  (gone)')"
  done <<<"${said[generations]:-}"
  row 'ran before' "${said[earlier]:-unknown}"
}

tell_observation() {
  local name
  row runs "${said[system.running]:-} (${said[system.revision]:-commit unknown})${said[system.specialisation]:+, specialisation ${said[system.specialisation]}}"
  row profile "${said[system.profile]:-}"
  while IFS=$US read -r name _; do
    row "$name" "$(sed -n "s/^$name //p" <<<"${said[watch.settled]:-}")${problem[$name]:+: ${problem[$name]}}"
  done <<<"$ENDPOINTS"
  row failed "${said[units.failed]:-none}"
}

tell_plan() {
  row "${said[outcome]}" "${said[detail]:-${said[expected]:+$RUN_DIR/$JOB/log}}"
  printf '%s\n' "${said[closure]:-}" "${said[units]:-}"
}

clause() { printf '%-12s %-7s %s\n' "$1" "$2" "$3" | printable; }

follow() {
  local dir seen=0 size; dir=$RUN_DIR/$JOB
  while :; do
    number_to size "$(stat -c %s "$dir/log")" "$seen"
    tail -c "+$((seen + 1))" "$dir/log" | head -c "$((size - seen))" | printable
    seen=$size
    if [ -e "$dir/rc" ]; then return 0; fi
    if has_ended "$(job_unit)" && [ ! -e "$dir/rc" ]; then return 1; fi
    sleep 0.5
  done
}

converged() {
  local expected profile; expected=$(cat "$RUN_DIR/$JOB/expected" 2>/dev/null || true) profile=$(cat "$RUN_DIR/$JOB/profile" 2>/dev/null || true)
  local rc; rc=$(cat "$RUN_DIR/$JOB/rc" 2>/dev/null || echo unknown)
  if [ -e "$RUN_DIR/$JOB/restored" ]; then echo "it needs a reboot; nothing was switched, and profile and boot default are as before"; return 1; fi
  if [ "$rc" != 0 ] && [ "$rc" != 4 ]; then echo "the stage $(cat "$RUN_DIR/$JOB/stage" 2>/dev/null || echo start) ended with exit status $rc; see $RUN_DIR/$JOB/log"; return 1; fi
  if [ -s "$RUN_DIR/$JOB/boot-problem" ]; then cat "$RUN_DIR/$JOB/boot-problem"; return 1; fi
  if [ -z "$expected" ] || [ "${said[system.running]}" != "$expected" ] || [ "${said[system.profile]}" != "$profile" ]; then
    echo "expected ${expected:-a system} and the profile $profile, running ${said[system.running]}, profile ${said[system.profile]}"; return 1
  fi
  local new look
  if [ "$rc" = 4 ]; then
    new=$(units_named_failed "$RUN_DIR/$JOB/log")
    if [ -z "$new" ]; then echo "the switch ended with exit status 4, but names no failed unit; see $RUN_DIR/$JOB/log"; return 1; fi
    new=$(comm -13 <({ echo "$failed_before"; unwell_units; } | sort -u) <(echo "$new") | tr '\n' ' ')
    if [ -n "${new// /}" ]; then echo "failed in the switch: $new"; return 1; fi
  fi
  new=$(comm -13 <({ echo "$failed_before"; contract_units; } | sort -u) <(sort <<<"${said[units.failed]}") | tr '\n' ' ')
  if [ -n "${new// /}" ]; then echo "failed since the deploy began: $new"; return 1; fi
  for look in commit_problem unit_file_problem process_problem installed_problem; do
    new=$("$look")
    if [ -n "$new" ]; then echo "$new"; return 1; fi
  done
  echo "$expected"
}

# The units that the switch named as failed, or whose start, stop, restart or reload failed.
units_named_failed() {
  sed -n '/^--- switch$/,$p' "$1" | sed -n -E -e 's/^(journal: )?warning: the following (user )?units failed: //p' \
    -e 's/^(journal: )?Failed to (start|stop|restart|reload) ([^ ]+[^ .:])[.:]?$/\3/p' \
    -e 's/^(journal: )?Job for ([^ ]+) (failed|timed out).*/\2/p' | tr -s ', ' '\n' | sed '/^$/d' | sort -u
}

# The units behind endpoints that are not healthy, which fail clauses of their own.
unwell_units() {
  local name units _
  while IFS=$US read -r name units _; do
    grep -qxF "$name healthy" <<<"${said[watch.settled]:-}" || tr "$RS" '\n' <<<"$units"
  done <<<"$ENDPOINTS"
}

# What was installed must be there still, belong to what runs, and be what its units run.
installed_problem() {
  local name state target belongs file units unit told; local -a list
  while IFS=$US read -r name state target belongs; do
    IFS=$US read -r _ file _ units _ < <(grep "^$name$US" <<<"$BRIDGE")
    told=$(awk -F"$US" -v name="$name" '$1 == name { path = $2 } END { print path }' "$RUN_DIR/$JOB/realised" 2>/dev/null || true)
    # What nobody gave and no unit runs may be there.
    if [ -z "$told" ] && ! { [ "$state" = store ] && grep -qF -- "=$(store_root "$target")" <<<"${said[processes]}"; }; then
      continue
    fi
    if [ "$state" != store ] || { [ -n "$told" ] && [ "$target" != "$told/$file" ]; }; then
      echo "$name: expected ${told:-a store path} to be installed, but found ${target:-a program of an unknown store path}"
      return
    fi
    if [ "$belongs" != "$(store_root "$target")" ]; then
      echo "$name: $target is installed, but it is unknown whether it belongs to this system; give ${name^^}_STORE_PATH"
      return
    fi
    IFS=$RS read -r -a list <<<"$units"
    for unit in "${list[@]}"; do
      [ "${value["$unit ActiveState"]:-}" = active ] || continue
      grep -qF -- " =$belongs" < <(grep -F -- "$unit " <<<"${said[processes]}") || { echo "$name: $unit does not run $belongs"; return; }
    done
  done <<<"${said[system.installed]}"
}

# What is wrong with who listens on $1, by the rows $4 of `listeners`: it must be heard by the unit $2 alone, and a port
# on loopback must not be open to others by that socket or one of the units $3, except where the exposure $5 is `any`.
port_problem() {
  awk -v listen="$1" -v port="${1##*:}" -v unit="$2" -v units=" ${3//$RS/ } " -v exposure="$5" '
    function bare(address) {
      if (address ~ /^\[::ffff:[0-9.]+\]/) { sub(/^\[::ffff:/, "", address); sub(/\]/, "", address) }
      return address
    }
    function hears(address,   everywhere) {
      everywhere = address
      sub(/%lo:/, ":", everywhere)
      sub(/%[^]:]+:/, ":", address)
      return address == listen || everywhere == "*:" port || everywhere == (listen ~ /^\[/ ? "[::]:" : "0.0.0.0:") port
    }
    function is_loopback(address) { return address ~ /%lo:[0-9]+$/ || address ~ /^127\./ || address ~ /^\[::1\](%[^]:]+)?:/ }
    NF == 3 {
      address = bare($1)
      heard = hears(address)
      if (heard) { found = 1; if ($3 != unit) strangers = strangers ", " $1 " by " $3 " (process " $2 ")" }
      if (!is_loopback(address) && address ~ ":" port "$" && (heard || index(units, " " $3 " "))) open = open ", " $1 " by " $3
    }
    END {
      if (!found) print "nobody listens on " listen "; expected " unit
      else if (strangers) print listen " is also listened on: " substr(strangers, 3) "; expected " unit " alone"
      else if (open && exposure != "any" && is_loopback(listen)) print listen " is open to others: " substr(open, 3) "; EXPOSURE=any allows it"
    }' <<<"$4"
}

# Units of the contract that are active and not wholly defined by the running system, or by what UNIT_FILES names.
unit_file_problem() {
  local unit path file of_system well
  well=$(comm -23 <(contract_units | sort -u) <(unwell_units | sort -u))
  for unit in $well; do
    [ "${value["$unit ActiveState"]:-}" = active ] || continue
    [ "${value["$unit LoadState"]:-}" = loaded ] || { echo "$unit runs, but its load state is ${value["$unit LoadState"]:-unknown}"; return; }
    [ "${value["$unit NeedDaemonReload"]:-}" != yes ] || { echo "systemd has not loaded the current files of $unit"; return; }
    [[ $unit == */* ]] || continue
    for path in ${value["$unit FragmentPath"]:-} ${value["$unit DropInPaths"]:-}; do
      case $path in /etc/systemd/system.control/* | /run/systemd/*) is_named "$path" || { echo "$unit is defined by $path"; return; } ;; esac
    done
  done
  while read -r unit path file of_system; do
    if [ "$file" = "$of_system" ] || is_named "$path" || ! grep -qxF -- "$unit" <<<"$well"; then continue; fi
    [ "${value["$unit ActiveState"]:-}" != active ] || { echo "$unit is defined by $path, outside the running system"; return; }
  done <<<"${said[units.origins]:-}"
}
is_named() {
  local named
  for named in $UNIT_FILES; do
    if [ "$1" = "$named" ] || [[ $1 == "${named%/}"/* ]]; then return 0; fi
  done
  return 1
}

# Processes that the units of the contract should not have, and units that run and of which no process was seen.
process_problem() {
  local unit began
  if [ -n "${said[processes.problem]:-}" ]; then echo "the closure cannot be read: ${said[processes.problem]}"; return; fi
  {
    for unit in "${UNITS[@]}"; do
      began=${value["$unit InactiveExitTimestampMonotonic"]:-0}
      printf 'unit %s %s %s %s\n' "$unit" "${value["$unit ActiveState"]:-unknown}" "${value["$unit MainPID"]:-0}" "${began//[!0-9]/}"
    done
    unwell_units | awk '{ print "unwell", $0 }'
    awk '{ print "began", $0 }' <<<"${said[processes.began]:-}"
    awk '{ print "process", $0 }' <<<"${said[processes]}"
  } | awk -v clock="${said[system.clock]:-}" -v activated="${said[system.activated]:-}" '
    BEGIN { known = split(activated, at, " ") > 1; activation = at[2] - (clock - at[1]) }
    $1 == "unit" && NF == 5 { active[$2] = $3; main[$2] = $4; start[$2] = $5 / 1e6 }
    $1 == "unwell" { unwell[$2] = 1 }
    $1 == "began" && NF == 3 { began[$2] = $3 / 100; noted[$2] = 1 }
    $1 == "process" && NF > 2 {
      seen[$2] = 1
      who = $2 " (process " $3 ")"
      for (n = 5; n <= NF; n++) if ($n !~ /^=/) found = found "; " who " runs from " $n
      if ($4 ~ "^/" && $4 !~ "^/nix/store/") found = found "; " who " runs " $4
      else if ($4 ~ /_\(deleted\)$/) found = found "; " who " runs a file that was deleted: " $4
      # systemd may note the start of a unit 5 s after its first process began: it forks first.
      if (noted[$3] && start[$2] && $3 != main[$2] && (!known || began[$3] < activation) && began[$3] + 5 < start[$2])
        found = found "; " who " is left over from before the unit was last started"
    }
    END {
      for (unit in active) if (active[unit] == "active" && main[unit] > 0 && !seen[unit] && !unwell[unit]) found = found "; no process was seen of " unit
      if (found) print "not of the running system: " substr(found, 3)
    }'
}

# What the running system says of its commit must be what was asked for, and what this host noted when it built it.
commit_problem() {
  local commit named=${said[system.revision]:-}
  named=${named%-dirty}
  [[ $named =~ ^[0-9a-f]{7,40}$ ]] || return 0
  for commit in "$RELEASE_SHA" "${said[system.built_from]:-}"; do
    if [[ $commit =~ ^[0-9a-f]{40}$ && $commit != "$named"* ]]; then echo "the running system comes from $named, not from $commit"; return; fi
  done
}

# What is wrong with the file of the program that the question $2 of the endpoint $1 runs: it must be of the running system.
program_problem() {
  local name origin='' file='' path
  [[ $2 == "exec$RS"* ]] || return 0
  IFS=$RS read -r _ _ path _ <<<"$2"
  while read -r name origin file; do
    if [ "$name" = "$1" ]; then break; fi
    origin=''
  done <<<"${said[programs]:-}"
  case $origin:$file in
    :*) echo "it is unknown whether $path is part of the running system" ;;
    *:) echo "$path leads to no file" ;;
    system:* | installed:*) ;;
    *) echo "$path is the file $file, which is not part of the running system" ;;
  esac
}

endpoint_problem() {
  local want=$1 name units listen listener question container words _
  while IFS=$US read -r name units listen listener question _ _ _ _ _ _ container; do
    [ "$name" = "$want" ] || continue
    if [ -n "${problem[$name]}" ]; then echo "$name: ${problem[$name]}"; return; fi
    words=$(program_problem "$name" "$question")
    if [ -n "$words" ]; then echo "$name: $words"; return; fi
    [ -n "$listen" ] || return 0
    words=${said[sockets.problem]:+"it is unknown who listens on $listen: ${said[sockets.problem]}"}
    [ -n "$words" ] || words=$(port_problem "$listen" "$listener" "$units" "${said["listeners${container:+.$container}"]:-}" \
      "${EXPOSURE:-${container:+any}}")
    [ -z "$words" ] || echo "$name: $words"
  done <<<"$ENDPOINTS"
}

# The clause of a hypervisor that there is not: it is passed for want of one where somebody says why.
judge_absence() {
  if [[ $'\n'$ENDPOINTS == *$'\n'"hypervisor$US"* ]]; then return 0; fi
  if [ -n "$bad" ]; then
    clause hypervisor blocked "by $bad"
  elif [ -n "${NO_HYPERVISOR// /}" ]; then
    clause hypervisor passed "for want of one: $NO_HYPERVISOR"
  else
    clause hypervisor FAILED 'no endpoint is called hypervisor, and NO_HYPERVISOR does not say why'
    bad=hypervisor
  fi
}

verb_deploy() {
  local bad='' cut='' words name failed_before sources
  words=$(bridge_problem)
  if [ -n "$words" ]; then echo "$words; nothing was touched"; exit 4; fi
  [ ! -e "$STATE/returned" ] || { echo 'The last deploy was not confirmed, and the host went back by itself:'; cat "$STATE/returned"; }
  SWITCHPROOF_CLAIM=1 verb_resolve
  if [ "${said[outcome]}" = locked ]; then clause revision REFUSED "the host is locked: ${said[detail]}"; exit 75; fi
  if [ "${said[outcome]}" != ok ]; then
    clause revision FAILED "${said[detail]}"
    [ -z "${said[before]:-}" ] || verb_confirm
    exit 4
  fi
  RELEASE_SHA=${said[sha]}
  clause revision passed "$RELEASE_SHA ${said[subject]}"
  failed_before=$(failing_before)
  verb_converge
  follow || true
  failed_before+=$'\n'$(cat "$RUN_DIR/$JOB/failing" 2>/dev/null || true)
  if [ "$(cat "$RUN_DIR/$JOB/rc" 2>/dev/null)" = 0 ] || [ "$(cat "$RUN_DIR/$JOB/rc" 2>/dev/null)" = 4 ]; then
    payload=''
    verb_observe
  else
    say_system
  fi
  if words=$(converged); then clause converge passed "$words"; else clause converge FAILED "$words"; bad=converge; fi
  judge_absence
  while IFS=$US read -r name _; do
    words=runtime
    [ "$name" != hypervisor ] || words=hypervisor
    if [ -n "$bad" ] && [ "$bad" != "$words" ]; then clause "$words" blocked "by $bad ($name)"; continue; fi
    if grep -qxF "$name cut-short" <<<"${said[watch.settled]:-}"; then
      clause "$words" blocked "$name: ${problem[$name]}"
      cut=$words
      continue
    fi
    endpoint_problem "$name" >"$RUN_DIR/$JOB/problem"
    if [ -s "$RUN_DIR/$JOB/problem" ]; then clause "$words" FAILED "$(cat "$RUN_DIR/$JOB/problem")"; bad=$words; continue; fi
    clause "$words" passed "$name"
  done <<<"$ENDPOINTS"
  bad=${bad:-$cut}
  if [ -n "$bad" ]; then
    payload='' parts=() said=()
    verb_diagnose
    tell_parts >"$RUN_DIR/$JOB/diagnostics"
    printable <"$RUN_DIR/$JOB/diagnostics"
    clause diagnostics passed "above and in $RUN_DIR/$JOB/diagnostics"
    [ -e "$RUN_DIR/$JOB/restored" ] || echo "to go back: SWITCHPROOF_RUN=$RUN SWITCHPROOF_TO=$(ran_before) $0 rollback"
    [ -z "$(pending run)" ] || echo "to keep it as it is: SWITCHPROOF_RUN=$RUN SWITCHPROOF_KEEP=broken $0 confirm; else it goes back in $DEADMAN_S s"
  else
    number_to sources "$(awk '$3 > 0 || $1 == "journalctl"' <<<"${said[diagnosable]}" | wc -l)" 0
    # State and journal of every unit, the machines and containers, and the sockets.
    if ((sources == 2 * ${#UNITS[@]} + $(cut -d"$US" -f10,12 --output-delimiter=$'\n' <<<"$ENDPOINTS" | grep -c .) + 2)); then
      clause diagnostics passed "$sources sources answer"
    else
      clause diagnostics FAILED "only these sources answer: ${said[diagnosable]//$'\n'/, }"
      bad=diagnostics
    fi
  fi
  [ -n "$bad" ] || SWITCHPROOF_KEEP=1
  verb_confirm
  if [ -z "$bad" ] && [ "${said[outcome]}" != ok ]; then clause confirm FAILED "${said[detail]}"; bad=confirm; fi
  [ -z "$bad" ] || exit 1
  row 'not judged' "by hand: $NOT_BY_HAND"
  row held "the clauses that are judged by hand; for the whole contract run: switchproof audit --provider=…"
}
# What only the checks of a session judge; docs/hosts.md has the whole table.
readonly NOT_BY_HAND='what boots next, units that changed and were not restarted, whether bodies are valid JSON, whether a new SSH connection is accepted, checks of your own'
