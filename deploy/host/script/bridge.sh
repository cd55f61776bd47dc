# The store path bridge: prebuilt programs that units run through a link.

# The bridge with the store path of each program after its name, and units inside named by their container's unit.
bridge_table() {
  local name file at units build unit told; local -a list
  while IFS=$US read -r name file at units build; do
    [ -n "$name" ] || continue
    IFS=$RS read -r -a list <<<"$units"
    told=''
    for unit in "${list[@]}"; do
      [[ $unit != */* ]] || unit=${CONTAINER_OF[${unit%%/*}]}/${unit#*/}
      told+="${told:+ }$unit"
    done
    bridged "$name" "$(store_path_of "$name")" "$file" "$at" "$told" "$build"
  done <<<"$BRIDGE"
}

bridge_problem() {
  local name path
  while IFS=$US read -r name path _; do
    [[ -z $path || $path =~ ^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+$ ]] || { echo "'$path', given for $name, is not a store path"; return; }
  done < <(bridge_table)
}

# Bring every store path that was given into this host's store, or have it built here where that is allowed.
realise_programs() {
  local name path file at units build words held; local -a row
  while IFS=$US read -r name path file at units build; do
    [ -n "$path" ] || continue
    [ "$(cat "$RUN_DIR/$JOB/stage")" = realise ] || stage realise
    held=$ROOTS/$RUN/installed-$name
    mkdir -p "${held%/*}" && ln -sfn "$path" "$held"
    if words=$(nix-store --realise "$path" 2>&1 >/dev/null </dev/null); then
      echo "$name: $path is in the store of this host"
    elif [ "$ALLOW_HOST_BUILD_FALLBACK" != true ] || [ -z "$build" ]; then
      echo "error: $name: $path cannot be realised on this host, and the host may not build it (ALLOW_HOST_BUILD_FALLBACK): $words"
      return 1
    else
      echo "$name: $path cannot be realised on this host; building $build of the commit instead: $words"
      mapfile -t row < <("${NIX[@]}" build --no-link --print-out-paths --print-build-logs "$(flake_of "$build")" </dev/null)
      if ((${#row[@]} != 1)); then echo "error: $name: $path cannot be realised, and $build did not build exactly one path"; return 1; fi
      path=${row[0]}
      ln -sfn "$path" "$held"
    fi
    if [ ! -x "$path/$file" ]; then echo "error: $name: $path has no program $file"; return 1; fi
    bridged "$name" "$path" "$file" "$at" "$units" "$build" >>"$RUN_DIR/$JOB/realised"
  done <"$RUN_DIR/$JOB/bridge"
}
flake_of() {
  local folder=${1%%#*}
  printf 'git+file://%s?rev=%s%s#%s' "$WORKDIR" "$RELEASE_SHA" "${folder:+&dir=$folder}" "${1#*#}"
}

# Put links to what was realised where units expect them; what was there is put by.
install_programs() {
  local name path file at units _
  [ -e "$RUN_DIR/$JOB/realised" ] || return 0
  stage install
  while IFS=$US read -r name path file at units _; do
    if ! { put_by "$name" "$at" "$units" && belong "$1" "$name" "$path" && place "$at" "$path/$file" "$units"; }; then
      echo "error: $name: $path could not be installed as $at"
      return 1
    fi
    echo "$name: $at leads to $path/$file"
  done <"$RUN_DIR/$JOB/realised"
}

# Going back further than this run began: to what belongs to that system. Where nobody knows that, it is left alone.
install_what_belongs() {
  local name file at units path
  while IFS=$US read -r name _ file at units _; do
    path=$(readlink "$BELONGS/${1##*/}/$name") || continue
    put_by "$name" "$at" "$units" && place "$at" "$path/$file" "$units" || return
    echo "$name: $at leads to $path/$file"
  done <"$RUN_DIR/$JOB/bridge"
}

# Exactly what was there before this run, a link, a file or nothing.
bring_programs_back() {
  local kept at rc=0
  for kept in "$RUN_DIR"/installed/*/at; do
    kept=${kept%/at}
    [ -e "$kept/at" ] || continue
    at=$(cat "$kept/at")
    ! unlike "$kept/was" "$at" || place "$at" "$kept/was" "$(cat "$kept/units")" || rc=1
    belong "$(ran_before)" "${kept##*/}" "$(readlink "$kept/was" || true)" || rc=1
  done
  return "$rc"
}
as_before() {
  local kept
  for kept in "$RUN_DIR"/installed/*/at; do
    [ ! -e "$kept" ] || ! unlike "${kept%/at}/was" "$(cat "$kept")" || return 1
  done
}

put_by() {
  local kept=$RUN_DIR/installed/$1 new=$RUN_DIR/putting-by
  [ ! -e "$kept" ] || return 0
  rm -rf "$new" && mkdir -p "$new" "${kept%/*}" && printf '%s\n' "$2" >"$new/at" && printf '%s\n' "$3" >"$new/units" || return
  if [ -e "$2" ] || [ -L "$2" ]; then cp -a --no-target-directory -- "$2" "$new/was" || return; fi
  belong "$(ran_before)" "$1" "$(readlink "$2" || true)" && sync --file-system "$new" && mv "$new" "$kept"
}

# Keep in mind which path a program has with a system, and keep that from the garbage collector.
belong() {
  local folder=$BELONGS/${1##*/}
  if [[ $3 != /nix/store/* ]]; then rm -f "$folder/$2"; return; fi
  mkdir -p "$folder" && ln -sfn "$(store_root "$3")" "$folder/$2"
}

unlike() {
  if [ -L "$1" ] || [ -L "$2" ]; then [ "$(readlink "$1" || echo -)" != "$(readlink "$2" || echo -)" ]; return; fi
  if [ ! -e "$1" ] || [ ! -e "$2" ]; then [ -e "$1" ] || [ -e "$2" ]; return; fi
  if cmp -s "$1" "$2"; then return 1; fi
}

# Change in one step what stands at $1: to a link into the store, or to what was put by; and note which units run it.
declare -A INVOCATIONS=()
place() {
  local unit new=$1.switchproof
  for unit in $3; do INVOCATIONS[$unit]=$(invocation "$unit"); done
  if [[ $2 == /nix/store/* ]]; then
    openly mkdir -p "${1%/*}" && ln -sfn -- "$2" "$new"
  elif [ -e "$2" ] || [ -L "$2" ]; then
    cp -a --no-target-directory -- "$2" "$new"
  else
    rm -f -- "$1"
    return
  fi && mv -fT -- "$new" "$1"
}

# Note the services that the switch away from $1 missed: they were stopping when it listed what runs, and systemd restarted
# them from their old definition before it read the new one.
note_strays() {
  local id started known loaded=0; local -a redefined=(); local -A before=()
  [ -r "$RUN_DIR/restarts" ] || return 0
  find_redefined "$1" "$(toplevel)"
  ((${#redefined[@]} > 0)) && ask_systemctl show -p UnitsLoadTimestampMonotonic || return 0
  number_to loaded "${answered#*=}" 0
  while read -r id started; do before[$id]=$started; done < <(main_starts <"$RUN_DIR/restarts")
  ask_systemctl show -p Id,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic -- init.scope "${redefined[@]}" || return 0
  while read -r id started; do
    number_to started "$started" 0
    number_to known "${before[$id]:-}" "$loaded"
    if ((started > known && started < loaded)); then INVOCATIONS[$id]=$(invocation "$id"); fi
  done < <(main_starts <<<"$answered")
}

# Put into `redefined` the services that the systems $1 and $2 define differently; of a template, all that there are of it.
find_redefined() {
  local file name from=$1/etc/systemd/system to=$2/etc/systemd/system; local -A compared=()
  [ "$1" != "$2" ] || return 0
  for file in "$from"/*.service{,.d/overrides.conf} "$to"/*.service{,.d/overrides.conf}; do
    name=${file#*/etc/systemd/system/}
    if [ -n "${compared[$name]:-}" ] || [ "$from/$name" -ef "$to/$name" ]; then continue; fi
    compared[$name]=yes
    ! unlike "$from/$name" "$to/$name" || redefined+=("${name%.d/*}")
  done
  redefined=("${redefined[@]/@./@*.}")
}

# Each service with the microseconds, since the boot, at which its main process started; none that has exited since.
main_starts() {
  awk -F= '
    function tell() { if (id != "" && started > exited) printf "%s %.0f\n", id, started; id = ""; started = exited = 0 }
    $1 == "Id" { id = $2 }
    $1 == "ExecMainStartTimestampMonotonic" { started = $2 + 0 }
    $1 == "ExecMainExitTimestampMonotonic" { exited = $2 + 0 }
    /^$/ { tell() }
    END { tell() }'
}

# Units that still run what was there before are started anew; those that the switch has started are left alone.
renew_units() {
  local unit rc=0
  for unit in "${!INVOCATIONS[@]}"; do
    [ "$(invocation "$unit")" = "${INVOCATIONS[$unit]}" ] || continue
    echo "restarting $unit, which still runs what was installed before"
    with_unit "$unit" reset-failed 2>/dev/null || true
    if with_unit "$unit" restart; then continue; fi
    # Where it was not even tried, as systemd did not answer, it is tried once more.
    sleep 1
    if [ "$(invocation "$unit")" = "${INVOCATIONS[$unit]}" ] && with_unit "$unit" restart; then continue; fi
    echo "Failed to restart $unit"
    rc=1
  done
  INVOCATIONS=()
  return "$rc"
}

# A unit's invocation as systemd spells it; empty where nobody says.
invocation() {
  if [[ $1 == */* ]]; then with_unit "$1" show -p InvocationID || true; return; fi
  if ask_systemctl show -p InvocationID -- "$1"; then printf '%s' "$answered"; fi
}

# systemctl about a unit of the host, or of a container that is up: CONTAINER-UNIT/UNIT.
with_unit() {
  local unit=$1 container=${1%%/*}
  if [[ $unit != */* ]]; then systemctl "${@:2}" -- "$unit"; return; fi
  ask_systemctl show -P MainPID -- "$container" || return
  [[ $answered =~ ^[0-9]+$ ]] || return
  value["$container MainPID"]=$answered
  find_leader "$container"
  [ -z "${LEADER[$container]}" ] || INSIDE_S=60 enter "${LEADER[$container]}" systemctl "${@:2}" -- "${unit#*/}"
}
