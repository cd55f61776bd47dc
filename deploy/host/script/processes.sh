# The processes of the contract, and what they run from.

# Put into `rows` the processes of the contract's units, with the store paths each runs from that are not in `closure`,
# and after an equals sign those that the bridge installed; into `began` when each began; and into `activated` when the
# system was, by the clock.
find_processes() {
  local unit group file pid exe at text path strays roots=" ${INSTALLED[*]} "; local -a pids links=() words; local -A unit_of=() of_system=()
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
  shopt -u globstar dotglob nullglob
  local -A executables=()
  find /run/current-system "${links[@]}" -maxdepth 0 -printf '%p %T@ %l\n' >"$SCRATCH/executables" 2>/dev/null || true
  while read -r file at exe; do
    executables[$file]=${exe// /_}
    [[ $file != /run/current-system || ! $at =~ ^[0-9]+\.[0-9]{2} ]] || activated=${BASH_REMATCH[0]}
  done <"$SCRATCH/executables"
  for file in "${links[@]}"; do
    pid=${file//[!0-9]/} exe=${executables[$file]:-} words=() strays=''
    mapfile -d '' -t words 2>/dev/null <"${file%exe}cmdline" || true
    text="$exe ${words[*]}"
    while [[ $text == */nix/store/* ]]; do
      text=${text#*/nix/store/} path=${text%%[!A-Za-z0-9+._?=-]*}
      if [[ ${path:0:32} == *[!a-z0-9]* || $path != ????????????????????????????????-?* ]]; then continue; fi
      path=/nix/store/$path
      [[ $roots != *" $path "* || " $strays " == *" =$path "* ]] || strays+="${strays:+ }=$path"
      # Finding a path among all of a system takes milliseconds.
      if [ -z "${of_system[$path]:-}" ]; then
        of_system[$path]=yes
        in_closure "$path" || of_system[$path]=no
      fi
      [[ ${of_system[$path]} == yes || " $strays " == *" $path "* ]] || strays+="${strays:+ }$path"
    done
    rows+="${unit_of[$pid]} $pid ${exe:-?} $strays"$'\n'
    note_began "$pid"
  done
}

# Add to `began` when a process did, in hundredths of a second since the boot: the twentieth field after the name in
# parentheses.
note_began() {
  local text='' at; local -a fields
  { IFS= read -r -N 4096 text <"/proc/$1/stat"; } 2>/dev/null || true
  text=${text##*)} text=${text//$'\n'/ }
  split_to fields ' ' "$text"
  number_to at "${fields[19]:-}"
  [ -z "$at" ] || began+="$1 $at"$'\n'
}

# Which store paths each process of the contract's units runs from that do not belong to the running system, and when
# it began; and when that system was activated, by the clock.
say_processes() {
  local up rows='' began='' activated=''
  if [ -z "$nar_hash" ]; then
    say processes.problem "$closure"
    return
  fi
  find_processes
  say processes "${rows%$'\n'}"
  say processes.began "${began%$'\n'}"
  find_probing_programs
  say programs "${rows%$'\n'}"
  file_to up /proc/uptime
  say system.activated "$activated $up"
}

# Put into `rows` the files that probes run: the endpoint, whether the file is of `closure`, and the file.
find_probing_programs() {
  local name file origin; local -a part
  rows=''
  for name in "${NAMES[@]}"; do
    [[ ${ENDPOINT["$name question"]} == exec$RS* ]] || continue
    split_to part "$RS" "${ENDPOINT["$name question"]}"
    file=$(readlink -e -- "${part[2]}" || true) origin=other
    if [[ $file == /nix/store/* ]]; then
      [[ " ${INSTALLED[*]} " != *" $(store_root "$file") "* ]] || origin=installed
      ! in_closure "$(store_root "$file")" || origin=system
    fi
    rows+="$name $origin $file"$'\n'
  done
}
