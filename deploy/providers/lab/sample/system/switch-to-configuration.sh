#!/bin/bash
# Stands in for NixOS's switch-to-configuration: its order of steps, its words, its lock and its exit codes.
# It manages the units that come from a system in the Nix store; the host's other units are left alone.
#
# Exit codes: 0 done, 1 refused before anything changed, 2 the activation script failed, 4 some unit failed,
# 11 another one is at work, 100 the boot default is set but a reboot is needed to get there.
set -uo pipefail
shopt -s nullglob
trap '' HUP PIPE

readonly toplevel=@out@
readonly old_units=/etc/systemd/system
readonly new_units=@system-units@
readonly lists=/run/nixos
readonly installer=/usr/local/lib/switchproof-lab/install-boot-loader
# There when the lab was given a real switch-to-configuration.
readonly real=/usr/local/lib/switchproof-lab/real/switch-to-configuration
exit_code=0 systemd_changed=''

# Sets of unit names. Those in $unspoken are worked on and not told about.
declare -A to_stop=() to_skip=() to_reload=() to_restart=() to_start=() unspoken=() before=()

say() { printf '%s\n' "$*" >&2; }

log() { logger --tag nixos --priority "user.$1" -- "$2"; }

# say_units WORDS UNIT…: nothing without units.
say_units() {
  local words=$1 unit line=
  shift
  while read -r unit; do
    [[ -z $unit || -n ${unspoken[$unit]:-} ]] || line+=", $unit"
  done < <(printf '%s\n' "$@" | sort --ignore-case)
  [[ -z $line ]] || say "$words: ${line#, }"
}

# unit_file DIRECTORY UNIT: the file that defines it there, its own or its template's.
unit_file() {
  local template=${2/@*./@.}
  if [[ -e $1/$2 ]]; then
    printf '%s\n' "$1/$2"
  elif [[ $2 == *@* && -e $1/$template ]]; then
    printf '%s\n' "$1/$template"
  else
    return 1
  fi
}

# settings DIRECTORY UNIT: one "Section.Key=value" a line, drop-ins included; the order of keys does not count.
settings() {
  awk '
    /^[#;]/ || /^[[:space:]]*$/ { next }
    /^\[/ { section = substr($0, 2, index($0, "]") - 2); next }
    section != "Install" { print section "." $0 }
  ' "$(unit_file "$1" "$2")" "$1/${2/@*./@.}.d"/*.conf "$1/$2.d"/*.conf | sort --stable --field-separator== --key=1,1
}

# is_set SETTINGS KEY DEFAULT
is_set() {
  local value
  value=$(sed -n "s/^$2=//p" <<<"$1" | tail -n 1)
  [[ ${value:-$3} =~ ^(1|yes|true|on)$ ]]
}

# compare OLD NEW (settings): prints same, reload or restart.
compare() {
  local told='^Unit\.(Description|Documentation|OnFailure|OnSuccess|OnFailureJobMode|IgnoreOnIsolate'
  told+='|StopWhenUnneeded|RefuseManualStart|RefuseManualStop|AllowIsolate|CollectMode|SourcePath)='
  local triggers='^(Unit\.X-Reload-Triggers|Service\.ExecReload)='
  if [[ $(grep -vE "$told|$triggers" <<<"$1") != "$(grep -vE "$told|$triggers" <<<"$2")" ]]; then
    echo restart
  elif [[ $(grep -E "$triggers" <<<"$1") != "$(grep -E "$triggers" <<<"$2")" ]]; then
    echo reload
  else
    echo same
  fi
}

# plan_changed UNIT NEW-SETTINGS: what NixOS's options restartIfChanged and so on ask for.
plan_changed() {
  if is_set "$2" Service.X-ReloadIfChanged false; then
    to_reload[$1]=1
  elif ! is_set "$2" Service.X-RestartIfChanged true || is_set "$2" Unit.RefuseManualStop false ||
    is_set "$2" Unit.X-OnlyManualStart false; then
    to_skip[$1]=1
  elif [[ $1 != *.service ]] || ! is_set "$2" Service.X-StopIfChanged true; then
    to_restart[$1]=1
  else
    to_stop[$1]=1
    to_start[$1]=1
  fi
}

# units: name, active state and sub state of all units that are not inactive.
units() {
  systemctl list-units --all --full --plain --no-legend | awk '$3 != "inactive" { print $1, $3, $4 }'
}

plan() {
  local unit active _ file old new
  [[ $(readlink -e /etc/systemd/system.conf) == "$(readlink -e "$toplevel/etc/systemd/system.conf")" ]] ||
    systemd_changed=yes
  while read -r unit active _; do
    before[$unit]=1
    [[ $active == active || $active == activating ]] || continue
    if [[ $unit == multi-user.target ]]; then
      # It is the host's, and pulls in what the new system wants.
      to_start[$unit]=1 unspoken[$unit]=1
      continue
    fi
    file=$(unit_file "$old_units" "$unit") || continue
    [[ $(readlink "$file") == /nix/store/* ]] || continue
    old=$(settings "$old_units" "$unit")
    if ! unit_file "$new_units" "$unit" >/dev/null; then
      ! is_set "$old" Unit.X-StopOnRemoval true || to_stop[$unit]=1
      continue
    fi
    new=$(settings "$new_units" "$unit")
    case $(compare "$old" "$new") in
    restart) plan_changed "$unit" "$new" ;;
    reload) to_reload[$unit]=1 ;;
    esac
  done < <(units)
}

# An interrupted switch leaves these lists behind, and the next one finishes what they name.
read_lists() {
  local unit
  while read -r unit; do to_start[$unit]=1; done < <(cat "$lists/start-list" 2>/dev/null)
  while read -r unit; do to_restart[$unit]=1; done < <(cat "$lists/restart-list" 2>/dev/null)
  while read -r unit; do to_reload[$unit]=1; done < <(cat "$lists/reload-list" 2>/dev/null)
}

write_lists() {
  ((!${#to_start[@]})) || printf '%s\n' "${!to_start[@]}" >"$lists/start-list"
  ((!${#to_restart[@]})) || printf '%s\n' "${!to_restart[@]}" >"$lists/restart-list"
  ((!${#to_reload[@]})) || printf '%s\n' "${!to_reload[@]}" >"$lists/reload-list"
}

take_lock() {
  install -d -m 0755 "$lists"
  exec {lock}>>"$lists/switch-to-configuration.lock" || { say "Could not open lock" && exit 1; }
  flock --nonblock "$lock" || { say "Could not acquire lock" && exit 11; }
}

install_bootloader() {
  "$installer" "$toplevel" || exit 1
}

check_init_interface() {
  local current
  current=$(cat /run/current-system/init-interface-version 2>/dev/null)
  [[ $current == "$(<"$toplevel/init-interface-version")" ]] && return
  say "Warning: the new NixOS configuration has an ‘init’ that is"
  say "incompatible with the current configuration.  The new configuration"
  say "won't take effect until you reboot the system."
  exit 100
}

# run_jobs VERB UNIT…: all at once; says which jobs failed.
run_jobs() {
  local verb=$1 line
  shift
  (($#)) || return 0
  while read -r line; do
    [[ $line =~ ^(A dependency job|Job)\ for\ ([^ ]+)\ (failed|timed) ]] && line="Failed to $verb ${BASH_REMATCH[2]}"
    [[ $line == Failed* ]] || continue
    say "$line"
    exit_code=4
  done < <(systemctl "$verb" -- "$@" 2>&1)
}

activate() {
  say "activating the configuration..."
  "$toplevel/activate" "$toplevel" {lock}>&- && return
  say "Failed to run activate script"
  exit_code=2
}

# For about 150 ms nobody can reach the new systemd; the real one waits for its signal that it is there.
reexecute_systemd() {
  local deadline=$((SECONDS + 180))
  say "restarting systemd..."
  systemctl daemon-reexec
  until [[ -n $(systemctl show --property Version --value 2>/dev/null) ]] || ((SECONDS >= deadline)); do sleep 0.02; done
}

# The real one has the systemd of each logged-in user start nixos-activation.service. A lab host keeps no sessions:
# root, who deploys, counts as the one user who is logged in.
reload_user_units() {
  say "reloading user units for root..."
  "$toplevel/user-activation" {lock}>&- && return
  say "Failed to start nixos-activation.service"
  exit_code=4
}

apply() {
  say_units "stopping the following units" "${!to_stop[@]}"
  ((!${#to_stop[@]})) || systemctl stop -- "${!to_stop[@]}" 2>/dev/null
  say_units "NOT restarting the following changed units" "${!to_skip[@]}"
  activate
  [[ -z $systemd_changed ]] || reexecute_systemd
  # The real one forgets every failed unit here, whosever it is, and so does this.
  systemctl reset-failed
  systemctl daemon-reload
  reload_user_units
  say "restarting sysinit-reactivation.target"
  run_jobs restart sysinit-reactivation.target
  say_units "reloading the following units" "${!to_reload[@]}"
  run_jobs reload "${!to_reload[@]}"
  say_units "restarting the following units" "${!to_restart[@]}"
  run_jobs restart "${!to_restart[@]}"
  say_units "starting the following units" "${!to_start[@]}"
  run_jobs start "${!to_start[@]}"
  rm -f "$lists"/{start,restart,reload}-list
}

# Until nothing has changed for 250 ms, at most 90 s: a unit that fails later is not seen.
settle() {
  local last now deadline=$((SECONDS + 90))
  now=$(units)
  while last=$now && sleep 0.25 && now=$(units) && [[ $now != "$last" ]] && ((SECONDS < deadline)); do :; done
}

report() {
  local unit active sub new=() failed=()
  while read -r unit active sub; do
    if [[ $active == failed ]]; then
      failed+=("$unit")
    elif [[ $sub == auto-restart && $(systemctl show -P ExecMainStatus -- "$unit") != 0 ]]; then
      failed+=("$unit")
    elif [[ -z ${before[$unit]:-} && $unit != *.scope ]]; then
      new+=("$unit")
    fi
  done < <(units)
  say_units "the following new units were started" "${new[@]}"
  if ((${#failed[@]})); then
    say_units "warning: the following units failed" "${failed[@]}"
    systemctl status --no-pager --full -- "${failed[@]}"
    exit_code=4
  fi
}

dry_activate() {
  say_units "would stop the following units" "${!to_stop[@]}"
  say_units "would NOT stop the following changed units" "${!to_skip[@]}"
  say "would activate the configuration..."
  [[ -z $systemd_changed ]] || say "would restart systemd"
  say_units "would reload the following units" "${!to_reload[@]}"
  say_units "would restart the following units" "${!to_restart[@]}"
  say_units "would start the following units" "${!to_start[@]}"
}

# As NixOS's wrapper does for its own.
become_the_real_one() {
  export OUT=$toplevel TOPLEVEL=$toplevel DISTRO_ID=nixos INSTALL_BOOTLOADER=$installer SYSTEMD=/usr
  export PRE_SWITCH_CHECK=$toplevel/pre-switch-check LOCALE_ARCHIVE=/usr/lib/locale/locale-archive
  exec "$real" "$@"
}

main() {
  local action=${1:-}
  [[ ! -x $real ]] || become_the_real_one "$@"
  if [[ ! $action =~ ^(check|switch|boot|test|dry-activate)$ ]]; then
    say "Usage: switch-to-configuration [check|switch|boot|test|dry-activate]"
    exit 1
  fi
  ((EUID == 0)) || { say "Error: switch-to-configuration must be run as the root user" && exit 1; }

  take_lock
  if [[ ${NIXOS_NO_CHECK:-} != 1 ]] && ! "$toplevel/pre-switch-check" "$toplevel" "$action"; then
    say "Pre-switch checks failed"
    exit 1
  fi
  [[ $action != check ]] || exit 0
  [[ $action != switch && $action != boot ]] || install_bootloader
  [[ ${NIXOS_NO_SYNC:-} == 1 ]] || sync --file-system /nix/store
  [[ $action != boot ]] || exit 0
  check_init_interface

  read_lists
  plan
  [[ $action != dry-activate ]] || { dry_activate && exit 0; }

  log info "switching to system configuration $toplevel"
  write_lists
  apply
  settle
  report
  if ((exit_code == 0)); then
    log info "finished switching to system configuration $toplevel"
  else
    log err "switching to system configuration $toplevel failed (status $exit_code)"
  fi
  exit "$exit_code"
}

main "$@"
