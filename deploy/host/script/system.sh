# Which system runs, and where the definitions of its units come from.

say_system() {
  local top; top=$(toplevel)
  say system.running "$top"
  say system.profile "$(readlink -e $PROFILE || true)"
  say system.wrapped "$(wrapped "$top")"
  say system.booted "$(readlink -e /run/booted-system || true)"
  say system.generation "$(generation)"
  say system.revision "$(timeout 10 "$top/sw/bin/nixos-version" --configuration-revision 2>/dev/null || true)"
  say system.nar_hash "$(nix-store --query --hash "$top" 2>/dev/null || true)"
  say system.built_from "$(cat "$STATE/systems/${top##*/}" 2>/dev/null || true)"
  say system.boot_id "$(</proc/sys/kernel/random/boot_id)"
  say_reboot_parts
  say system.clock "$EPOCHREALTIME"
  say_installed "$top"
  say_failed "${1:-}"
  say_units
}

# The parts of the running system that only a reboot brings, where the booted system has others: a part and, for kernels,
# the versions of both.
say_reboot_parts() {
  local part waits='' booted=/run/booted-system current=/run/current-system; local -a was is
  [ ! -e "$booted" ] || for part in kernel initrd kernel-modules kernel-params; do
    if [ ! -e "$booted/$part" ] && [ ! -e "$current/$part" ]; then continue; fi
    [ "$booted/$part" -ef "$current/$part" ] || waits+="$part "
  done
  if [[ $waits == *kernel-params* ]] && [ "$(<"$booted/kernel-params")" = "$(<"$current/kernel-params")" ]; then
    waits=${waits/kernel-params /}
  fi
  was=("$booted"/kernel-modules/lib/modules/*) is=("$current"/kernel-modules/lib/modules/*)
  say system.reboot "$waits"
  say system.kernels "${was[0]##*/} ${is[0]##*/}"
}

# The system $1 if the profile is a folder of links to all that it has, as deploy-rs makes one; else nothing.
wrapped() {
  local file profile; local -a files=() there=() here=()
  profile=$(readlink -e $PROFILE || true)
  if [ "$profile" = "$1" ] || [ -z "$profile" ] || [ ! -x "$1/init" ]; then return 0; fi
  for file in "$1"/* "$1"/bin/*; do [ "$file" = "$1/bin" ] || files+=("${file#"$1"}"); done
  mapfile -t here < <(readlink -e -- "${files[@]/#/$1}")
  mapfile -t there < <(readlink -e -- "${files[@]/#/$profile}")
  [ "${here[*]}" != "${there[*]}" ] || printf '%s' "$1"
}

# Units that failed; $1 says that it is before anything is changed.
say_failed() {
  local rows
  if [ -n "$silent" ]; then
    rows=silent
  elif [ -n "$1" ]; then
    rows=$(failing_before) || rows=silent
  else
    rows=$(failed_units) || rows=silent
  fi
  [ "$rows" != silent ] || { say units.problem 'systemctl did not answer which units failed' && rows=''; }
  say units.failed "$rows"
}

# What stands where the bridge installs programs, and what belongs there with the system $1.
declare -A INSTALLED=()
say_installed() {
  local name at target state told=''
  INSTALLED=()
  while IFS=$US read -r name _ at _; do
    [ -n "$name" ] || continue
    state=absent target=''
    if [ -L "$at" ] && target=$(readlink "$at") && [[ $target == /nix/store/*/* ]]; then
      state=gone
      [ ! -e "$at" ] || state=store INSTALLED[$name]=$(store_root "$target")
    elif [ -e "$at" ] || [ -L "$at" ]; then
      state=other
    fi
    told+=$name$US$state$US$target$US$(readlink "$BELONGS/${1##*/}/$name" || true)$'\n'
  done <<<"$BRIDGE"
  say system.installed "${told%$'\n'}"
}
# The store path that a file is in.
store_root() { local rest=${1#/nix/store/}; printf '/nix/store/%s' "${rest%%/*}"; }

say_units() {
  local unit fd digest file definitions=''; local -A opened digests
  [ -n "$shown$silent" ] || show_units # else the watch has just asked
  [ -z "$silent" ] || [ -n "${said[units.problem]:-}" ] || say units.problem "systemctl did not answer within $ANSWER_WITHIN_S s, asked again and again"
  say units.show "$shown"
  say units.origins "$(origins)"
  say units.commands "$(failed_commands)"
  for unit in "${UNITS[@]}"; do
    # shellcheck disable=SC2086 # systemd separates paths with blanks
    exec {fd}< <(if [[ $unit == */* ]]; then set -- inside "${unit%%/*}" cat; else set -- exec cat; fi
      "$@" -- "${value["$unit FragmentPath"]:-}" ${value["$unit DropInPaths"]:-} 2>/dev/null)
    opened[$unit]=$fd
  done
  while read -r digest file; do digests[${file##*/}]=$digest; done < <(sha256sum -- "${opened[@]/#//dev/fd/}" </dev/null)
  for unit in "${UNITS[@]}"; do
    fd=${opened[$unit]}
    definitions+="$unit ${digests[$fd]:-}"$'\n'
    exec {fd}<&-
  done
  say units.definition "${definitions%$'\n'}"
}

# The commands of the units that did not end well, each with how it ended, in systemctl's words.
failed_commands() {
  local unit; local -a bad=()
  for unit in "${HOST_UNITS[@]}"; do
    case ${value["$unit Result"]:-success} in success | '') ;; *) bad+=("$unit") ;; esac
  done
  ((${#bad[@]})) || return 0
  ask_systemctl show -p Id,ExecCondition,ExecStartPre,ExecStart,ExecStartPost,ExecStop,ExecStopPost -- "${bad[@]}" || true
  printf '%s' "$answered"
}

# Where the definitions of the host's units come from: unit, path, the file that it leads to, and the file of that name in
# the running system.
origins() {
  local unit path tail top index=0; local -a units=() paths=() places=() files=()
  top=$(toplevel)
  for unit in "${HOST_UNITS[@]}"; do
    # Blanks separate paths.
    read -r -a files <<<"${value["$unit FragmentPath"]:-} ${value["$unit DropInPaths"]:-}"
    for path in "${files[@]}"; do
      tail=${path##*/}
      [[ $path != *.d/* ]] || tail=${path%/*} tail=${tail##*/}/${path##*/}
      units+=("$unit") paths+=("$path") places+=("$path" "$top/etc/systemd/system/$tail")
    done
  done
  ((${#paths[@]})) || return 0
  mapfile -t files < <(readlink -m -- "${places[@]}")
  while ((index < ${#paths[@]})); do
    printf '%s %s %s %s\n' "${units[index]}" "${paths[index]}" "${files[2 * index]}" "${files[2 * index + 1]}"
    index=$((index + 1))
  done
}
