# The processes of the contract, and what they run from.

# The processes of the contract's units, with the store paths each runs from that are not in the closure $1, and
# after an equals sign those that the bridge installed.
processes() {
  local unit group file pid exe text path strays roots=" ${INSTALLED[*]} "; local -a pids links=() words; local -A unit_of=()
  shopt -s globstar dotglob nullglob
  for unit in "${UNITS[@]}"; do
    group=${value["$unit ControlGroup"]:-}
    [ -n "$group" ] || continue
    for file in /sys/fs/cgroup{,/systemd}"$group"/**/cgroup.procs; do
      mapfile -t pids 2>/dev/null <"$file" || continue
      for pid in "${pids[@]}"; do
        [ -n "${unit_of[$pid]:-}" ] || links+=("/proc/$pid/exe")
        unit_of[$pid]=$unit
      done
    done
  done
  ((${#links[@]})) || return 0
  local -A executables=()
  while read -r file exe; do executables[$file]=${exe// /_}; done < <(find "${links[@]}" -maxdepth 0 -printf '%p %l\n' 2>/dev/null)
  for file in "${links[@]}"; do
    pid=${file//[!0-9]/} exe=${executables[$file]:-} words=() strays=''
    mapfile -d '' -t words 2>/dev/null <"${file%exe}cmdline" || true
    text="$exe ${words[*]}"
    while [[ $text =~ /nix/store/[a-z0-9]{32}-[A-Za-z0-9+._?=-]+ ]]; do
      path=${BASH_REMATCH[0]} text=${text#*"${BASH_REMATCH[0]}"}
      [[ $roots != *" $path "* || " $strays " == *" =$path "* ]] || strays+="${strays:+ }=$path"
      [[ $'\n'$1$'\n' == *$'\n'"$path"$'\n'* || " $strays " == *" $path "* ]] || strays+="${strays:+ }$path"
    done
    printf '%s %s %s %s\n' "${unit_of[$pid]}" "$pid" "${exe:-?}" "$strays"
  done
}

# When processes began, in hundredths of a second since the boot: the twentieth field after the name in parentheses.
began_of() {
  local pid text; local -a fields
  for pid in "$@"; do
    { IFS= read -r -d '' text <"/proc/$pid/stat"; } 2>/dev/null || true
    read -r -a fields <<<"${text##*)}"
    [[ ${fields[19]:-} =~ ^[0-9]{1,15}$ ]] && printf '%s %s\n' "$pid" "${fields[19]}"
  done
  return 0
}

# Which store paths each process of the contract's units runs from that do not belong to the running system, and when
# it began; and when that system was activated, by the clock.
say_processes() {
  local top closure rows
  top=$(toplevel)
  if ! closure=$(nix-store -qR "$top" "${INSTALLED[@]}" 2>&1) || [ -z "$top" ]; then
    say processes.problem "$closure"
    return
  fi
  rows=$(processes "$closure")
  say processes "$rows"
  # shellcheck disable=SC2046 # one number a line
  say processes.began "$(began_of $(cut -d' ' -f2 <<<"$rows"))"
  say programs "$(probing_programs "$closure")"
  say system.activated "$(stat -c %.2Y /run/current-system) $(</proc/uptime)"
}

# The files that probes run: the endpoint, whether the file is of the closure $1, and the file.
probing_programs() {
  local name question file origin; local -a part
  while IFS=$US read -r name _ _ _ question _; do
    IFS=$RS read -r -a part <<<"$question"
    [ "${part[0]:-}" = exec ] || continue
    file=$(readlink -e -- "${part[2]}" || true) origin=other
    if [[ $file == /nix/store/* ]]; then
      [[ " ${INSTALLED[*]} " != *" $(store_root "$file") "* ]] || origin=installed
      [[ $'\n'$1$'\n' != *$'\n'"$(store_root "$file")"$'\n'* ]] || origin=system
    fi
    printf '%s %s %s\n' "$name" "$origin" "$file"
  done <<<"$ENDPOINTS"
}
