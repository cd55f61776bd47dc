# Which system runs, and where the definitions of its units come from.

say_system() {
  local top text special
  [ -n "$shown$silent" ] || show_units # else the watch has just asked
  follow_links
  top=${led[0]}
  say system.running "$top"
  say system.profile "${led[1]}"
  text=''
  [ "${led[1]}" = "$top" ] || text=$(wrapped "$top" "${led[1]}")
  say system.wrapped "$text"
  find_special "$top" "$PROFILE" || true
  say system.specialisation "$special"
  say system.booted "${led[2]}"
  generation_to text
  say system.generation "$text"
  ask_within 10 "$top/sw/bin/nixos-version" --configuration-revision || true
  say system.revision "$answered"
  file_to text "$STATE/systems/${top##*/}"
  say system.built_from "$text"
  file_to text /proc/sys/kernel/random/boot_id
  say system.boot_id "$text"
  say_reboot_parts
  say system.clock "$EPOCHREALTIME"
  say_installed "$top"
  ask_store "$top" "${INSTALLED[@]}" || true
  say system.nar_hash "$nar_hash"
  say_failed "${1:-}"
  say_units
}

# Put the hash of the system $1 into `nar_hash`, and the closure of all that is given into `closure`, in which each path comes
# after a byte that is its length. It is the protocol of `nix-store --serve`, as a start of nix-store costs a host more than
# most questions do. What it said last is kept for the next question. Fails with nix's words in `closure`.
nar_hash='' closure=''
ask_store() {
  local path system=$1 key=''
  make_scratch
  if recall_store "$*"; then return; fi
  {
    # Who asks, in which version; what is known of one path; and the closure, without outputs, of that many.
    printf '\xeb\x9d\x0c\x39\0\0\0\0\x05\x02\0\0\0\0\0\0'
    store_number 2 1
    store_path "$1"
    store_number 7 0 "$#"
    for path in "$@"; do store_path "$path"; done
  } >"$SCRATCH/asked"
  ask_within 60 nix-store --serve <"$SCRATCH/asked" || answered=''
  # Before the hash come the links of that path, and after it all of the closure.
  closure=${answered#*sha256:} nar_hash=sha256:${closure:0:52} closure=${closure:52}
  if ((${#answered} < 4194304)) && in_closure "$system"; then
    # As old as the question, so that what nix wrote since then is newer.
    { printf %s "$key$nar_hash$closure" >"$SCRATCH/store" && touch -r "$SCRATCH/asked" "$SCRATCH/store" && mv "$SCRATCH/store" "$RECALLED"; } 2>/dev/null || true
    return
  fi
  nar_hash=''
  closure=$(exec nix-store -qR "$@" 2>&1 >/dev/null) && closure='nix-store --serve gave no whole answer'
  return 1
}

# Take what nix-store said of the paths $1 before, where neither its database nor the program was written to since, nor the clock
# set. Where that is not known, nix-store is asked.
RECALLED=/run/switchproof-closure STORE_DB=/nix/var/nix/db/db.sqlite
recall_store() {
  local up at file text=''
  uptime_to up
  milliseconds_to up "$up" && milliseconds_to at "$EPOCHREALTIME" || return
  hash nix-store
  key="$(((at - up) / 60000)) ${BASH_CMDS[nix-store]:-} $1"$'\n'
  [ -e "$STORE_DB" ] || return
  for file in "$STORE_DB" "$STORE_DB-wal" "${BASH_CMDS[nix-store]:-}"; do [ "$RECALLED" -nt "$file" ] || return; done
  IFS= read -r -N 4194304 text <"$RECALLED" || true
  [[ $text == "$key"sha256:* ]] || return
  text=${text#"$key"} nar_hash=${text:0:59} closure=${text:59}
}

# Write numbers below 256, and a text after its length, in words of eight bytes.
readonly ZEROS='\0\0\0\0\0\0\0'
store_number() { local number; for number in "$@"; do printf -v number '\\x%x' "$number" && printf %b "$number$ZEROS"; done; }
store_path() { store_number "${#1}" && printf '%s%b' "$1" "${ZEROS:0:(-${#1} & 7) * 2}"; }

# Whether the store path $1 is in `closure`.
in_closure() {
  local length
  printf -v length '\\x%x' "${#1}"
  printf -v length %b "$length"
  [[ $closure == *"$length$1"* ]]
}

# The parts of the system $1, by default the running one, that only a reboot brings, where the booted system has others: a part
# and, for kernels, the versions of both.
say_reboot_parts() {
  local part waits='' booted=/run/booted-system current=${1:-/run/current-system}; local -a was is
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

# Put into `led` what runs, the profile and the booted system; empty where there is none. Into `origins` where the definitions
# of the host's units come from: unit, path, the file that it leads to, and the file of that name in the running system.
follow_links() {
  local unit path tail index=3; local -a units=() paths=() files=()
  local -a places=(/run/current-system "$PROFILE" /run/booted-system)
  for unit in "${HOST_UNITS[@]}"; do
    # Blanks separate paths.
    read -r -a files <<<"${value["$unit FragmentPath"]:-} ${value["$unit DropInPaths"]:-}"
    for path in "${files[@]}"; do
      tail=${path##*/}
      [[ $path != *.d/* ]] || tail=${path%/*} tail=${tail##*/}/${path##*/}
      units+=("$unit") paths+=("$path") places+=("$path" "/run/current-system/etc/systemd/system/$tail")
    done
  done
  # What comes through a pipe is read byte by byte.
  make_scratch
  readlink -z -m -- "${places[@]}" >"$SCRATCH/led" 2>/dev/null || true
  mapfile -d '' -t led <"$SCRATCH/led"
  # Where readlink left one out, it is not known which is which.
  ((${#led[@]} == ${#places[@]})) || led=()
  origins=''
  while ((index < ${#led[@]})); do
    origins+="${units[index / 2 - 1]} ${paths[index / 2 - 1]} ${led[index]} ${led[index + 1]}"$'\n'
    index=$((index + 2))
  done
  for index in 0 1 2; do [ -e "${led[index]:-}" ] || led[index]=''; done
}

# The system $1 if the profile's folder $2 has links to all that it has, as deploy-rs makes one; else nothing.
wrapped() {
  local file profile=$2; local -a files=() there=() here=()
  if [ "$profile" = "$1" ] || [ -z "$profile" ] || [ ! -x "$1/init" ]; then return 0; fi
  for file in "$1"/* "$1"/bin/*; do [ "$file" = "$1/bin" ] || files+=("${file#"$1"}"); done
  mapfile -t here < <(readlink -e -- "${files[@]/#/$1}")
  mapfile -t there < <(readlink -e -- "${files[@]/#/$profile}")
  [ "${here[*]}" != "${there[*]}" ] || printf '%s' "$1"
}

# Put into `special` the name of the specialisation of the system $2 that the system $1 is; fails where it is none.
find_special() {
  for special in "$2"/specialisation/*; do
    if [ "$special" -ef "$1" ]; then special=${special##*/}; return; fi
  done
  special=''
  return 1
}

# Units that failed, as systemctl told with those of the contract; $1 is where those are told that fail before anything is
# changed.
say_failed() {
  local rows=$failed
  if [ -n "$silent" ]; then
    rows=silent
  elif [ -n "$1" ]; then
    IFS= read -r -d '' rows <&"$1" || true
    if [[ $rows == *. ]]; then rows=${rows%.} rows=${rows%$'\n'}; else rows=silent; fi
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
  local unit path fd digest file text name=0 definitions=''; local -A opened=() source=() digests=()
  [ -z "$silent" ] || [ -n "${said[units.problem]:-}" ] || say units.problem "systemctl did not answer within $ANSWER_WITHIN_S s, asked again and again"
  say units.show "$shown"
  say units.origins "${origins%$'\n'}"
  find_failed_commands
  say units.commands "$answered"
  for unit in "${UNITS[@]}"; do
    if [[ $unit == */* ]]; then
      # shellcheck disable=SC2086 # systemd separates paths with blanks
      exec {fd}< <(inside "${unit%%/*}" cat -- "${value["$unit FragmentPath"]:-}" ${value["$unit DropInPaths"]:-} 2>/dev/null)
      opened[$unit]=$fd source[$unit]=/dev/fd/$fd
      continue
    fi
    name=$((name + 1)) source[$unit]=$SCRATCH/definition.$name
    for path in ${value["$unit FragmentPath"]:-} ${value["$unit DropInPaths"]:-}; do
      text=''
      # It ends at a NUL byte, which no definition has.
      { IFS= read -r -d '' text <"$path"; } 2>/dev/null || true
      printf %s "$text"
    done >"${source[$unit]}"
  done
  sha256sum -- "${source[@]}" >"$SCRATCH/digests" </dev/null || true
  while read -r digest file; do digests[$file]=$digest; done <"$SCRATCH/digests"
  for unit in "${UNITS[@]}"; do
    definitions+="$unit ${digests[${source[$unit]}]:-}"$'\n'
    fd=${opened[$unit]:-}
    [ -z "$fd" ] || exec {fd}<&-
  done
  say units.definition "${definitions%$'\n'}"
}

# Put into `answered` the commands of the units that did not end well, each with how it ended, in systemctl's words.
find_failed_commands() {
  local unit; local -a bad=()
  answered=''
  for unit in "${HOST_UNITS[@]}"; do
    case ${value["$unit Result"]:-success} in success | '') ;; *) bad+=("$unit") ;; esac
  done
  ((${#bad[@]} == 0)) || ask_systemctl show -p Id,ExecCondition,ExecStartPre,ExecStart,ExecStartPost,ExecStop,ExecStopPost -- "${bad[@]}" || true
}
