#!/usr/bin/env bash
# The host's side of every deploy: the same text over SSH, through an agent, in CI and by hand.
#
#   RELEASE_SHA=… REPO_URL=… host-switch.sh deploy     all five clauses in order, as far as they are judged by hand;
#                                                      exits non-zero when one fails, and names what is not judged
#   host-switch.sh observe|diagnose|status             look, change nothing
#
# Verbs: resolve converge status observe diagnose rollback generations confirm plan deploy. Each but `deploy` gathers
# all that its checks need and prints one frame (deploy/host/frame.py) when SWITCHPROOF_NONCE is set, readable text otherwise.
set -euo pipefail
# What this script writes, and what it collects, is for root alone.
umask 0077
export LC_ALL=C
readonly BEGAN=$EPOCHREALTIME
# Going back relies on the tools of the system to which it goes: the newer one's may be what is broken.
export PATH="${SWITCHPROOF_TO:+$SWITCHPROOF_TO/sw/bin:}/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export HOME="${HOME:-/root}" GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0 SYSTEMD_PAGER='' SYSTEMD_COLORS=0
export GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -oBatchMode=yes -oConnectTimeout=15}"

readonly STATE=/var/lib/switchproof LOCK=/run/switchproof/lock SINCE=/run/switchproof/since PROFILE=/nix/var/nix/profiles/system
readonly ROOTS=/nix/var/nix/gcroots/switchproof PENDING=$STATE/pending
# Which programs belong to which system: a folder a system, a link a program, so that they are kept as long.
readonly BELONGS=/nix/var/nix/gcroots/switchproof-installed
readonly GUARD=switchproof-guard.service CONTROL=/etc/systemd/system.control
readonly NIX=(nix --extra-experimental-features 'nix-command flakes')
readonly US=$'\x1f' RS=$'\x1e'

RELEASE_SHA=${RELEASE_SHA:-} WORKDIR=${WORKDIR:-/opt/choiros/workspace} REPO_URL=${REPO_URL:-}
FLAKE_ATTR=${FLAKE_ATTR:-$(cat /proc/sys/kernel/hostname)}
RUN=${SWITCHPROOF_RUN:-hand-$(date -u +%Y%m%dT%H%M%SZ)-$$} OWNER=${SWITCHPROOF_OWNER:-${USER:-root} by hand}
readonly RUN_DIR=$STATE/runs/$RUN
LEASE_S=${SWITCHPROOF_LEASE_S:-900} TIMEOUT_S=${SWITCHPROOF_TIMEOUT_S:-3600} JOB=${SWITCHPROOF_JOB:-converge}
# Seconds after which a host that nobody confirmed goes back by itself (0: never), and for which a switch that hangs
# keeps a rollback waiting. A way back has at least the third number of seconds, however short a switch may take.
DEADMAN_S=${SWITCHPROOF_DEADMAN_S:-0} PATIENCE_S=${SWITCHPROOF_PATIENCE_S:-600} SWITCH_S=1200
readonly WAY_BACK_S=600
READY_S=${READY_S:-120} ANSWERS=${ANSWERS:-5} INTERVAL_S=${INTERVAL_S:-1} SOAK_S=${SOAK_S:-15}
ANSWER_TIMEOUT_S=${ANSWER_TIMEOUT_S:-5} MAX_BYTES=${MAX_BYTES:-65536}
# Bytes of all bodies that one look sends.
readonly BODY_BYTES=4194304
# What the target file calls `exposure` and `unit_files`, for a deploy by hand: ports in a container's own network are for
# whoever reaches that, those of the host for the host alone.
EXPOSURE=${EXPOSURE:-} UNIT_FILES=${UNIT_FILES:-}
# Why the host has no hypervisor, likewise, where none is among what is probed.
NO_HYPERVISOR=${NO_HYPERVISOR:-}
OFFSET=${SWITCHPROOF_OFFSET:-0} WAIT_S=${SWITCHPROOF_WAIT_S:-0}

# ---- numbers from outside -------------------------------------------------------------------------------------
#
# Arithmetic in bash runs what stands in `a[$(…)]`. So no value of a host, a container, a file or a caller gets there
# before one of these three has seen that it is a number; a test of the project finds whatever does.

# Set the variable $1 to the whole number $2, or to $3 where $2 is not one.
number_to() {
  if [[ $2 =~ ^[0-9]{1,15}$ ]]; then printf -v "$1" %s "$((10#$2))"; else printf -v "$1" %s "${3:-}"; fi
}

# Set the variable $1 to the milliseconds in $2 seconds; fails where $2 is not a number of seconds.
milliseconds_to() {
  printf -v "$1" 0
  [[ $2 =~ ^([0-9]{1,12})(\.([0-9]*))?$ ]] || return
  set -- "$1" "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]}000"
  printf -v "$1" %s "$((10#$2 * 1000 + 10#${3:0:3}))"
}

# Say which of the caller's numbers is not one.
given_problem() {
  local name
  for name in LEASE_S TIMEOUT_S DEADMAN_S PATIENCE_S ANSWERS MAX_BYTES OFFSET; do
    [[ ${!name} =~ ^(0|[1-9][0-9]{0,14})$ ]] || { echo "$name is '${!name}', which is not a whole number"; return; }
  done
  for name in READY_S INTERVAL_S SOAK_S ANSWER_TIMEOUT_S WAIT_S; do
    [[ ${!name} =~ ^[0-9]{1,12}(\.[0-9]*)?$ ]] || { echo "$name is '${!name}', which is not a number of seconds"; return; }
  done
}

# ---- answering ------------------------------------------------------------------------------------------------

payload=
declare -A said
declare -a parts=()
say() { [ -n "${said[$1]+known}" ] || parts+=("$1"); said[$1]=$2; printf -v payload '%s%s %d\n%s\n' "$payload" "$1" "${#2}" "$2"; }

answer() {
  local digest; digest=$(printf '%s' "$payload" | sha256sum)
  printf '\nSWITCHPROOF/1 %s %s %d %s\n' "$SWITCHPROOF_NONCE" "$1" "${#payload}" "${digest%% *}"
  printf '%s' "$payload" | gzip -c | base64
  printf 'SWITCHPROOF/1 %s end\n' "$SWITCHPROOF_NONCE"
}

# A file of lines "key value": one key's value. A file of sections: one section's first line.
field() { sed -n "s/^$2 //p" "$1" 2>/dev/null || true; }
section() { awk -v name="$2" '$1 == name { getline; print; exit }' "$1" 2>/dev/null || true; }

# A private folder that is gone when the script ends.
SCRATCH=
make_scratch() {
  [ -z "$SCRATCH" ] || return 0
  SCRATCH=$(mktemp -d -p /run switchproof.XXXXXXXXXX 2>/dev/null) || SCRATCH=$(mktemp -d)
  trap 'rm -rf -- "$SCRATCH"' EXIT
}

# Run a program whose files are for everybody, as systemd would.
openly() { (umask 0022 && exec "$@"); }

# Write a file so that it is there whole or not at all, also after a loss of power.
keep() { cat >"$1.new" && sync "$1.new" && mv "$1.new" "$1" && sync "${1%/*}"; }

# The same for a file that only one of several may write.
keep_first() {
  local rc=0
  { cat >"$1.$$" && sync "$1.$$" && ln -T "$1.$$" "$1" && sync "${1%/*}"; } 2>/dev/null || rc=$?
  rm -f "$1.$$"
  return "$rc"
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# A text's last bytes; its first line says so if there were more. Nothing longer ever stands in a variable.
tail_of() {
  local limit text
  number_to limit "$1" 0
  text=$(tail -c "$((limit + 1))" | tr -d '\0'; printf x) text=${text%x}
  if ((${#text} <= limit)); then printf '%s' "$text"; return; fi
  printf '[what came before these %d bytes is left out]\n%s' "$limit" "${text: -limit}"
}

# A text for a terminal: what would command it is taken out, whoever said it.
printable() { sed -e 's/[\x00-\x08\x0b-\x1f\x7f]//g; s/\xc2[\x80-\x9f]//g; s/\xe2\x80[\x8e\x8f\xaa-\xae]//g; s/\xe2\x81[\xa6-\xa9]//g'; }

# Seconds since the boot, into a variable.
uptime_to() { read -r "$1" _ </proc/uptime; }

# Whether at least $1 seconds have gone by since an uptime. Nothing waits for a time that cannot be read.
gone_by() {
  local up now least since
  uptime_to up
  milliseconds_to now "$up" && milliseconds_to least "$1" && milliseconds_to since "$2" || return 0
  ((now - since >= least))
}

# ---- asking systemd -------------------------------------------------------------------------------------------
#
# While systemd or dbus restarts, systemctl fails, hangs or prints nothing. That is not an answer: ask again, until a
# deadline, and conclude nothing where none came.

ANSWER_WITHIN_S=10
readonly DONE_WITHIN_S=30 ACTIVATION=nixos-rebuild-switch-to-configuration
readonly SWITCH_LOCK=/run/nixos/switch-to-configuration.lock
answered='' unit_active='' unit_sub='' activating=''

# Keep a note of every silence, for the answers of this run's later questions.
note_silence() {
  [ ! -d "$RUN_DIR" ] || printf '%s %s\n' "$(now)" "$*" >>"$RUN_DIR/silences" 2>/dev/null || true
}

# Ask systemctl, again while it does not answer, and put the answer into `answered`; fails where none came in time.
# Every question is asked so that a true answer is never empty.
ask_systemctl() {
  local began tries=0 rc tenths=1
  answered=''
  [ -d /run/systemd/system ] || return # nobody is there to ask
  uptime_to began
  while :; do
    rc=0
    answered=$(timeout 10 systemctl "$@" 2>/dev/null) || rc=$?
    if [ "$rc" = 0 ] && [ -n "$answered" ]; then break; fi
    tries=$((tries + 1)) answered=''
    if gone_by "$ANSWER_WITHIN_S" "$began"; then
      note_silence "systemctl $*: no answer within $ANSWER_WITHIN_S s, asked $tries times (exit status $rc)"
      return 1
    fi
    sleep "$((tenths / 10)).$((tenths % 10))"
    tenths=$((tenths < 4 ? tenths * 2 : 5))
  done
  [ "$tries" = 0 ] || note_silence "systemctl $*: answered after $tries attempts without an answer"
}

# Have systemctl do something that may safely be done twice, again while it fails, until a deadline.
have_systemctl() {
  local began tries=0 stderr
  uptime_to began
  until stderr=$(timeout 100 systemctl "$@" 2>&1); do
    tries=$((tries + 1))
    if gone_by "$DONE_WITHIN_S" "$began"; then
      note_silence "systemctl $*: failed $tries times: ${stderr:0:300}"
      printf 'systemctl %s failed: %s\n' "$*" "$stderr" >&2
      return 1
    fi
    sleep 0.5
  done
  [ "$tries" = 0 ] || note_silence "systemctl $*: done after $tries failed attempts"
}

# Put a unit's state into `unit_active` and `unit_sub`; fails where systemd does not answer.
look_at_unit() {
  unit_active='' unit_sub=''
  ask_systemctl show -p LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus -- "$1" || return
  if [[ $answered =~ ActiveState=([a-z-]+) ]]; then unit_active=${BASH_REMATCH[1]}; fi
  if [[ $answered =~ SubState=([a-z-]+) ]]; then unit_sub=${BASH_REMATCH[1]}; fi
  [ -n "$unit_active" ]
}

# Whether systemd says of a unit that it is over; no answer says nothing.
has_ended() {
  look_at_unit "$1" || return 1
  case $unit_active:$unit_sub in inactive:* | failed:* | active:exited) return 0 ;; esac
  return 1
}

# Put the unit in which nixos-rebuild activates into `activating`, empty where it does not; some versions give its name
# a suffix. init.scope is always there: an answer without it is none.
find_activation() {
  activating=''
  [ -d /run/systemd/system ] || return 0
  ask_systemctl list-units --plain --no-legend --full --state=activating,active,deactivating \
    init.scope "$ACTIVATION*.service" || return
  [[ ! $answered =~ (${ACTIVATION}[^[:space:]]*\.service) ]] || activating=${BASH_REMATCH[1]}
}

# Remove what is left of a unit that has ended.
drop_unit() {
  has_ended "$1" || return 0
  case $unit_active in
    active) have_systemctl stop -- "$1" || true ;;
    failed) have_systemctl reset-failed -- "$1" || true ;;
  esac
}

# ---- the contract: what is probed -----------------------------------------------------------------------------

# One endpoint a line: name, units, listen, listener, question, code, backend, wants of the body, commands inside, machine
# (unit, tap, bridge, monitor), keys of the body and the system's files that hold their values, in turn. Wants are a text
# that the body must contain, then keys and values in turn, spelled as JSON in ASCII. A question is one of these:
#   http URL HEADERS-FILE · https URL HEADERS-FILE CONNECT-TO CA-FILE · unix URL HEADERS-FILE SOCKET · tcp ADDRESS PORT ·
#   exec USER PROGRAM ARGUMENT…
# The code is the HTTP status that is wanted, or the exit code, in three digits; 000 where there is none.
# Fields are separated by US, parts of a field by RS. The last field names the unit that is a container, where the
# endpoint answers in the network namespace of one; a unit inside it is called CONTAINER/UNIT.
# Only a target file knows them: a session sends them, and deploy/host/by_hand.py writes them into a script for people.
ENDPOINTS=${SWITCHPROOF_ENDPOINTS:-}

# The contract's units, once each, in order: all, those of the host itself, and by container those inside.
declare -A CONTAINER_OF INSIDE LEADER
list_units() {
  local units unit container; local -a parts; local -A seen=()
  UNITS=() HOST_UNITS=() CONTAINER_OF=() INSIDE=() LEADER=()
  while IFS=$US read -r _ units _ _ _ _ _ _ _ _ _ container; do
    [ -z "$container" ] || LEADER[$container]=''
    IFS=$RS read -r -a parts <<<"$units"
    for unit in "${parts[@]}"; do
      [ -z "${seen[$unit]:-}" ] || continue
      seen[$unit]=yes UNITS+=("$unit")
      if [[ $unit != */* ]]; then HOST_UNITS+=("$unit"); continue; fi
      CONTAINER_OF[${unit%%/*}]=$container
      INSIDE[${unit%%/*}]+="${unit#*/} "
    done
  done <<<"$ENDPOINTS"
}
list_units
contract_units() { printf '%s\n' "${UNITS[@]}"; }

# The store path bridge, one program a line: its name, its file in the store path, where a link to that is installed,
# the units that run it, and the flake that would build it here. Which store path it is says NAME_STORE_PATH.
bridged() { local IFS=$US; printf '%s\n' "$*"; }
readonly ALLOW_HOST_BUILD_FALLBACK=${ALLOW_HOST_BUILD_FALLBACK:-false}
BRIDGE=${SWITCHPROOF_BRIDGE:-}
store_path_of() {
  local variable=${1^^}
  variable=${variable//-/_}_STORE_PATH
  [[ ! $variable =~ ^[A-Z][A-Z0-9_]*$ ]] || printf '%s' "${!variable:-}"
}

# ---- what the host is -----------------------------------------------------------------------------------------

toplevel() { readlink -e /run/current-system || true; }
generation() { local link; link=$(readlink "$PROFILE") && [[ $link =~ ^system-([0-9]+)-link$ ]] && printf '%s' "${BASH_REMATCH[1]}"; }
# Units that failed, or wait to be started again after a failure; over some moments, one of them may just be starting.
# Fails where systemctl does not answer. The legend makes that no true answer is empty.
failed_units() {
  local unit active sub moment rows=''
  number_to moment "${1:-}" 1
  for (( ; moment > 0; moment--)); do
    ask_systemctl list-units --state=failed,auto-restart --plain --no-pager --full || return
    while read -r unit _ active sub _; do
      [[ $unit != switchproof-* ]] || continue
      if [ "$active" = failed ]; then rows+=$unit$'\n'; fi
      # What ended well and waits for its next start has not failed.
      if [ "$sub" = auto-restart ] && ask_systemctl show -p Result -- "$unit" && [ "$answered" != Result=success ]; then rows+=$unit$'\n'; fi
    done <<<"$answered"
    ((moment == 1)) || sleep 0.3
  done
  printf '%s' "$rows" | sort -u
}

# Services that systemd itself started again in the last quarter of an hour: they fail now and then, whatever they are
# at this moment.
flapping_units() {
  local line id='' restarts=0 since=0 up
  uptime_to up
  milliseconds_to up "$up"
  ask_systemctl show -p Id,NRestarts,InactiveExitTimestampMonotonic -- '*.service' || return
  while IFS= read -r line; do
    case $line in
      Id=*) id=${line#Id=} ;;
      NRestarts=*) number_to restarts "${line#*=}" 0 ;;
      InactiveExitTimestampMonotonic=*) number_to since "${line#*=}" 0 ;;
      '')
        if ((restarts > 0 && up - since / 1000 < 900000)); then printf '%s\n' "$id"; fi
        restarts=0 since=0
        ;;
    esac
  done <<<"$answered"$'\n'
}

# What fails before anything is changed, as a list: it may go on failing.
failing_before() { { failed_units 3 && flapping_units; } | sort -u; }

# Ask systemctl what the contract's units are: its words in `shown`, a value each in `value[unit property]`.
# Where no answer comes in time, `silent` says so and all is left as it was seen last.
shown='' silent=''
declare -A value PATIENCE=()
show_units() {
  local name inner
  if ! ask_systemctl show "${PROPERTIES[@]}" -- "${HOST_UNITS[@]}"; then
    silent=yes
    return
  fi
  value=() silent='' shown=$answered
  take_shown "$shown"
  for name in "${!LEADER[@]}"; do find_leader "$name"; done
  for name in "${!INSIDE[@]}"; do
    inner=$(show_inside "$name")
    # Who was silent once is not waited for as long again.
    [[ $inner != *ActiveState=unknown* ]] || PATIENCE[$name]=1
    take_shown "$inner"
    shown+=$'

'$inner
  done
}
PROPERTIES=(-p "Id,LoadState,ActiveState,SubState,Result,MainPID,InvocationID,NRestarts,ExecMainCode,ExecMainStatus"
  -p "FragmentPath,DropInPaths,NeedDaemonReload,ControlGroup,InactiveExitTimestampMonotonic")

# Take in what systemctl said. Whoever said it, numbers are numbers and a control group leads nowhere else.
take_shown() {
  local line property word; local -A block=()
  while IFS= read -r line; do
    if [[ $line == [A-Z]*=* ]]; then block[${line%%=*}]=${line#*=}; fi
    [ -z "$line" ] || continue
    for property in "${!block[@]}"; do
      word=${block[$property]}
      case $property in
        MainPID | NRestarts | ExecMainCode | ExecMainStatus) number_to word "$word" 0 ;;
        ControlGroup) [[ $word == /* && $word/ != */../* ]] || word='' ;;
      esac
      value["${block[Id]:-} $property"]=$word
    done
    block=()
  done <<<"$1"$'
'
}

# The process that is the first one inside a container: a child of its unit's main process.
find_leader() {
  local pid child; local -a children=()
  open_jail
  number_to pid "${value["$1 MainPID"]:-}" 0
  LEADER[$1]=''
  { read -r -a children <"/proc/$pid/task/$pid/children"; } 2>/dev/null || true
  for child in "${children[@]}"; do
    ! grep -qs '^NSpid:.*[[:space:]]1$' "/proc/$child/status" || LEADER[$1]=$child
  done
}

# Run a command inside a container; fails where none is up, or where it does not end.
inside() {
  local leader=${LEADER[${CONTAINER_OF[$1]}]:-}
  [ -n "$leader" ] && enter "$leader" "${@:2}"
}

# A user namespace in which root is root over nothing that the host has, as an open file: JAIL.
JAIL=''
open_jail() {
  local holder ready
  [ -z "$JAIL" ] || return 0
  exec {holder}< <(exec unshare --user --map-root-user sh -c 'echo ready && exec sleep 60' 2>/dev/null)
  if IFS= read -r -t 10 ready <&"$holder" && [ "$ready" = ready ]; then exec {JAIL}<"/proc/$!/ns/user"; fi
  kill "$!" 2>/dev/null || true
  exec {holder}<&-
}

# Close all open files but the standard ones and $1: a lock among them would be held by whatever a program leaves behind.
close_files() {
  local file fd
  for file in /proc/"$BASHPID"/fd/*; do
    fd=${file##*/}
    case $fd in 0 | 1 | 2 | 255 | "$1") ;; *) exec {fd}>&- ;; esac
  done
}

# Run a program of the container that the process $1 leads. It may be anybody's, so it gets no rights over the host, no
# terminal and no open file; and it says so much and takes so long at most.
enter() (
  [ -n "$JAIL" ] || return
  number_to limit "${INSIDE_S:-}" 10
  close_files "$JAIL"
  {
    [ /dev/stderr -ef /dev/null ] || exec 2>&1
    exec setsid --wait timeout -k 1 "$limit" setpriv --no-new-privs nsenter --preserve-credentials \
      --user="/proc/self/fd/$JAIL" -t "$1" -m -u -i -n -p -- "${@:2}" </dev/null
  } | timeout -k 1 "$((limit + 2))" head -c 1048576
)

# The units inside a container under their names here, with control groups as the host sees them.
show_inside() {
  local text unit group=${value["${CONTAINER_OF[$1]} ControlGroup"]:-}; local -a units
  read -r -a units <<<"${INSIDE[$1]}"
  if text=$(INSIDE_S=${PATIENCE[$1]:-5} inside "$1" systemctl show "${PROPERTIES[@]}" -- "${units[@]}" 2>/dev/null); then
    sed -e "s|^Id=|&$1/|" -e "s|^ControlGroup=/|ControlGroup=$group/payload/|" <<<"$text"
    return
  fi
  local state=inactive sub='container down'
  [ -z "${LEADER[${CONTAINER_OF[$1]}]}" ] || state=unknown sub='the systemd inside does not answer'
  [ -n "$JAIL" ] || sub='not asked, as this host makes no user namespace'
  for unit in "${units[@]}"; do printf 'Id=%s\nActiveState=%s\nSubState=%s\n\n' "$1/$unit" "$state" "$sub"; done
}

# systemctl or journalctl about a unit, wherever it is; without its container, or where nobody in there answers, about
# that.
about() {
  local unit=$1 name=${1%%/*}
  if [[ $unit != */* ]]; then "${@:2}" "$unit"; return; fi
  if [ -z "${LEADER[${CONTAINER_OF[$name]}]}" ]; then
    echo "[$name is not up; of ${CONTAINER_OF[$name]}:]"
  elif [ "$2:${value["$unit ActiveState"]:-}" = systemctl:unknown ]; then
    echo "[the systemd in $name does not answer; of ${CONTAINER_OF[$name]}:]"
  else
    inside "$name" "${@:2}" "${unit#*/}"
    return
  fi
  "${@:2}" "${CONTAINER_OF[$name]}"
}

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

# Whose process it is, into `unit`: the unit of the contract whose control group it is in, as systemd names that group,
# else the group itself. A unit of a user, or one inside another, may have the name of any unit.
find_unit() { local group; find_group "$1"; name_group "$group"; }

# The control group of a process, into `group`; empty where there is no such process.
find_group() {
  local line
  group=''
  while IFS= read -r line; do
    case $line in 0::* | 1:name=systemd:*) group=${line#*:*:} ;; esac
  done 2>/dev/null <"/proc/$1/cgroup" || true
  group=${group// /_}
}

name_group() {
  local name own longest=''
  unit=${1:-?}
  for name in "${UNITS[@]}"; do
    own=${value["$name ControlGroup"]:-}
    if [ -n "$own" ] && [[ $1/ == "$own/"* ]] && ((${#own} > ${#longest})); then longest=$own unit=$name; fi
  done
}

# Who listens: one line a socket and process, with the unit whose control group the process is in.
sockets=
say_listeners() {
  local container rows
  ask_ss -Hltnp
  sockets=$answered
  rows=$(listeners <<<"$sockets")
  add_unix_listeners ''
  say listeners "$rows"
  for container in "${!LEADER[@]}"; do
    [ -n "${LEADER[$container]}" ] || continue
    ask_ss -Hltnp nsenter -t "${LEADER[$container]}" -n --
    rows=$(listeners <<<"$answered")
    add_unix_listeners "$container"
    say "listeners.$container" "$rows"
  done
}

# Ask ss who listens, again where it fails; that it never answered is said. $1 are its options, the rest goes before it.
ask_ss() {
  local tries=0 stderr=''
  while ((tries < 5)); do
    tries=$((tries + 1))
    if answered=$(timeout 10 "${@:2}" ss "$1" 2>/dev/null); then return 0; fi
    sleep 0.5
  done
  stderr=$(timeout 10 "${@:2}" ss "$1" 2>&1 >/dev/null) || true
  answered=''
  [ -n "${said[sockets.problem]:-}" ] || say sockets.problem "ss failed $tries times: ${stderr:0:300}"
}

# Add to `rows` who listens on the unix sockets that probes ask in the network of the container $1, as `listeners` does
# for ports. Of all the sockets that were ever made at a path, the inode tells which one a connection reaches now.
add_unix_listeners() {
  local question container line inode device number pid unit held='' asked=''; local -a part
  while IFS=$US read -r _ _ _ _ question _ _ _ _ _ _ container; do
    IFS=$RS read -r -a part <<<"$question"
    if [ "${part[0]:-}" != unix ] || [ "$container" != "$1" ]; then continue; fi
    read -r inode device number < <(stat -L -c '%i %Hd/%Ld %d' -- "${part[3]}" 2>/dev/null || true) || continue
    # ss splits the device's number as the kernel does inside; some kernels give it the number that stat sees.
    number_to number "$number" 0
    number=$((number >> 20))/$((number & 1048575))
    [ -n "$asked" ] || ask_ss -Hlxnpe ${1:+nsenter -t "${LEADER[$1]}" -n --}
    asked=yes
    while IFS= read -r line; do
      [[ $line =~ \ ino:([0-9]+)\ dev:([0-9]+/[0-9]+) && ${BASH_REMATCH[1]} == "$inode" ]] || continue
      case ${BASH_REMATCH[2]} in "$device" | "$number") ;; *) continue ;; esac
      pid=0 unit='?'
      while [[ $line =~ pid=([0-9]{1,10}) ]]; do
        pid=${BASH_REMATCH[1]} line=${line#*"${BASH_REMATCH[0]}"}
        find_unit "$pid"
        [ "$unit" != /init.scope ] || find_held "${part[3]}"
        rows+=$'\n'"${part[3]} $pid $unit"
      done
      [ "$pid" != 0 ] || rows+=$'\n'"${part[3]} 0 ?"
    done <<<"$answered"
  done <<<"$ENDPOINTS"
}

# For which unit of the contract systemd holds the socket $1, into `unit`; `held` keeps what systemd said of that.
find_held() {
  local name port=${1##*:}
  [ -n "$held" ] || held=$'\n'$(held_sockets)$'\n'
  for name in "${UNITS[@]}"; do
    # A socket for every address is [::] to systemd and * to ss.
    if [[ $held == *$'\n'"$1 $name"$'\n'* || ($1 == "*:$port" && $held == *$'\n'"[::]:$port $name"$'\n'*) ]]; then unit=$name; fi
  done
}

# The sockets that systemd itself holds for units, as `address service` a line: the service is in the contract.
held_sockets() {
  local line address service; local -a triggers=() listens=()
  # shellcheck disable=SC2034 # the unit's name ends its part
  while IFS= read -r line; do
    case $line in
      Listen=*' (Stream)') line=${line#Listen=} listens+=("${line% (Stream)}") ;;
      Triggers=*) read -r -a triggers <<<"${line#Triggers=}" ;;
      '')
        for address in "${listens[@]}"; do
          for service in "${triggers[@]}"; do printf '%s %s\n' "$address" "$service"; done
        done
        listens=() triggers=()
        ;;
    esac
  done < <({ ask_systemctl show -p Listen,Triggers -- '*.socket' && printf '%s\n\n' "$answered"; } || true)
}

# Read what ss says: a line a socket and process.
listeners() {
  local address rest pid unit seen rows='' held=''
  while read -r _ _ _ address _ rest; do
    seen=' '
    while [[ $rest =~ pid=([0-9]{1,10}) ]]; do
      pid=${BASH_REMATCH[1]} rest=${rest#*"${BASH_REMATCH[0]}"}
      [[ $seen != *" $pid "* ]] || continue
      seen+="$pid "
      find_unit "$pid"
      [ "$unit" != /init.scope ] || find_held "$address"
      rows+="$address $pid $unit"$'\n'
    done
    # Somebody whom ss cannot name is a stranger all the same.
    [ "$seen" != ' ' ] || [ -z "$address" ] || rows+="$address 0 ?"$'\n'
  done
  printf '%s' "${rows%$'\n'}"
}

# ---- what boots next ------------------------------------------------------------------------------------------
#
# Facts only: of each file that a boot loader reads, the lines that bear on the choice. deploy/observe/boot/ computes the choice,
# in audits of many hosts at a time, so nothing here starts a program.

readonly EFIVARS=/sys/firmware/efi/efivars OF_LOADER=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f OF_EFI=8be4df61-93ca-11d2-aa0d-00e098032b8c
readonly BOOT_ENTRIES=500 BOOT_LINES=20000

say_boot() {
  local root firmware=none boot_files='' cut='' line mounts='' variables=''
  for root in /boot /efi /boot/efi; do
    if [ -d "$root/loader" ] || [ -d "$root/EFI/Linux" ]; then take_systemd_boot "$root"; fi
  done
  for root in /boot/grub /boot/grub2; do
    take_file "$root/grubenv" '' ' menuentry submenu '
    take_file "$root/grub.cfg" /boot ' menuentry submenu function } if elif else fi set linux linux16 linuxefi initrd initrd16 initrdefi blscfg configfile '
  done
  for root in /boot/extlinux/extlinux.conf /boot/limine/limine.conf /boot/limine.conf /boot/config.txt /boot/refind_linux.conf; do
    [ ! -e "$root" ] || boot_files+=$US$root$'\n'
  done
  [ ! -d /sys/firmware/efi ] || firmware=efi
  [ ! -e /run/systemd/container ] || firmware=container
  # After all that: a look at an automount point mounts it.
  while read -r line; do
    root=${line#* * * * } root=${root%% *} line=${line#* - }
    case $root in /boot | /efi | /boot/efi | "$EFIVARS") mounts+="$root ${line%% *}"$'\n' ;; esac
  done </proc/self/mountinfo
  take_variables
  say boot.firmware "$firmware"
  say boot.mounts "$mounts"
  say boot.variables "$variables"
  say boot.files "$boot_files"
  say boot.cut "$cut"
}

take_systemd_boot() {
  local file number=0
  take_file "$1/loader/loader.conf" '' ' default preferred '
  for file in "$1"/loader/entries/*.[cC][oO][nN][fF] "$1"/EFI/Linux/*.[eE][fF][iI]; do
    [ -e "$file" ] || continue
    if ((++number > BOOT_ENTRIES)); then cut=yes; return; fi
    if [[ $file == *.[cC][oO][nN][fF] ]]; then
      take_file "$file" "$1" ' sort-key machine-id version linux efi uki initrd options '
    else
      boot_files+=$US$file$'\n'
    fi
  done
}

# Take the lines of a file that begin with one of the words $3, into `boot_files`; without a word, those that set a
# variable. $2 is the file system in which its kernels are.
take_file() {
  local line key rest; local -a lines=()
  [ -f "$1" ] || return 0
  { mapfile -n "$((BOOT_LINES + 1))" -t lines <"$1"; } 2>/dev/null || true # bash drops NUL bytes, and says so
  ((${#lines[@]} <= BOOT_LINES)) || cut=yes
  boot_files+=$US$1$'\n'
  for line in "${lines[@]}"; do
    line=${line//[$US$'\t'$'\r']/ } line=${line#"${line%%[! ]*}"} key=${line%% *} rest=${line#"$key"}
    if [[ ${1##*/} == grubenv ]]; then
      [[ $line != [A-Za-z_]*=* ]] || boot_files+=${line:0:200}$'\n'
      continue
    fi
    [[ $3 == *" $key "* ]] || continue
    rest=${rest#"${rest%%[! ]*}"}
    case $key in
      options | linux* | initrd* | efi | uki) take_kernel_line "$key" "$rest" "$2" ;;
      *) boot_files+="$key ${rest:0:300}"$'\n' ;;
    esac
  done
}

# Of a line with a kernel or its options only what bears on the choice, and whether the file is there.
take_kernel_line() {
  local path=${2%% *} init='' found=''
  # The last init= counts, as for the kernel.
  [[ ! " $2" =~ .*\ (init=[^\ ]+) ]] || init=${BASH_REMATCH[1]}
  if [ "$1" = options ]; then boot_files+="options $init"$'\n'; return; fi
  boot_files+="$1 ${path:0:300}${init:+ $init}"$'\n'
  path=${path#(*)} path=${path//\\//}
  for found in "$3$path" "/boot/kernels/${path##*/kernels/}" "/nix/store/${path##*/store/}" "$path"; do
    [ ! -s "$found" ] || return 0
  done
  if [ -e "$3$path" ]; then boot_files+="missing $path empty"$'\n'; else boot_files+="missing $path gone"$'\n'; fi
}

# A variable of EFI is four bytes of attributes, then its value; text in UTF-16, whose NUL bytes part its letters here.
take_variables() {
  local name of value IFS=''; local -a bytes
  for name in Loader{Info,EntryOneShot,EntryDefault,EntryPreferred,EntryLastBooted} Boot{Next,Current}; do
    of=$OF_LOADER bytes=()
    [[ $name != Boot* ]] || of=$OF_EFI
    [ -e "$EFIVARS/$name-$of" ] || continue
    { mapfile -d '' -t bytes <"$EFIVARS/$name-$of"; } 2>/dev/null || continue
    value=${bytes[*]:3}
    [[ $name != Boot* ]] || printf -v value %04X "'$value"
    variables+="$name ${value:0:300}"$'\n'
  done
}

# ---- the revision ---------------------------------------------------------------------------------------------

refuse() { say outcome "$1"; say detail "$2"; }

name_repository() {
  [ -n "$REPO_URL" ] || REPO_URL=$(git -C "$WORKDIR" remote get-url origin 2>/dev/null || true)
  [ -n "$REPO_URL" ] || { refuse checkout "no REPO_URL, and $WORKDIR has no remote 'origin'"; return 1; }
}

fetch() {
  local words top depth=()
  if [ ! -e "$WORKDIR" ] || { [ -d "$WORKDIR" ] && [ -z "$(ls -A "$WORKDIR")" ]; }; then
    words=$(git init --quiet "$WORKDIR" 2>&1) || { refuse checkout "$WORKDIR cannot be made: $words"; return 1; }
  elif ! words=$(git -C "$WORKDIR" rev-parse --git-dir 2>&1); then
    refuse checkout "$WORKDIR is not a git repository that $(id -un) may use: $words"
    return 1
  elif top=$(git -C "$WORKDIR" rev-parse --show-toplevel 2>/dev/null) && [ ! "$top" -ef "$WORKDIR" ]; then
    refuse checkout "$WORKDIR is a folder in the git repository $top, not one itself"
    return 1
  fi
  name_repository || return 1
  [ "$(git -C "$WORKDIR" rev-parse --is-shallow-repository)" = false ] || depth=(--unshallow)
  if ! words=$(timeout 600 git -C "$WORKDIR" fetch --quiet --force --prune --no-tags --no-write-fetch-head \
    --no-recurse-submodules "${depth[@]}" -- "$REPO_URL" \
    '+refs/heads/*:refs/switchproof/heads/*' '+refs/tags/*:refs/switchproof/tags/*' 2>&1 </dev/null); then
    refuse unreachable "git fetch from the repository failed: $words"
    return 1
  fi
}

# The commits that a revision may mean, one a line with what it is. A commit that no branch or tag of the repository
# contains is none: the clone may hold it all the same, and servers hand out what others put into their copies.
candidates() {
  local rev=$1 name sha digits=${1,,} # names are told apart by case, commits are not
  if [[ ! $rev =~ ^[0-9a-f]{40}$ ]]; then
    for name in "heads/${rev#refs/heads/}" "tags/${rev#refs/tags/}" "$rev" "${rev#refs/}"; do
      case $name in heads/* | tags/*) ;; *) continue ;; esac
      sha=$(git -C "$WORKDIR" rev-parse --quiet --verify "refs/switchproof/$name^{commit}" 2>/dev/null) || continue
      printf '%s %s\n' "$sha" "$name"
    done
  fi
  [[ $digits =~ ^[0-9a-f]{4,40}$ ]] || return 0
  git -C "$WORKDIR" rev-parse --disambiguate="$digits" | while read -r sha; do
    [ "$(git -C "$WORKDIR" cat-file -t "$sha" 2>/dev/null)" = commit ] || continue
    [ -n "$(git -C "$WORKDIR" for-each-ref --count=1 --contains="$sha" refs/switchproof/heads refs/switchproof/tags)" ] || continue
    printf '%s commit\n' "$sha"
  done
}

verb_resolve() {
  if [ -z "$RELEASE_SHA" ]; then refuse malformed "'' is not a revision: set RELEASE_SHA to a commit, a branch or a tag"; return; fi
  if ! git check-ref-format --allow-onelevel "$RELEASE_SHA" 2>/dev/null || [[ $RELEASE_SHA == -* ]]; then
    refuse malformed "'$RELEASE_SHA' is neither a commit, a branch nor a tag"
    return
  fi
  if [ -n "${SWITCHPROOF_CLAIM:-}" ]; then claim && be_at_work || return 0; fi
  local found name shas turn
  if [ -n "${SWITCHPROOF_READONLY:-}" ]; then
    name_repository || return 0
    name=${RELEASE_SHA#refs/}
    found=$(timeout 60 git ls-remote -- "$REPO_URL" "refs/heads/${name#heads/}" "refs/tags/${name#tags/}"{,'^{}'} 2>&1 </dev/null) ||
      { refuse unreachable "git ls-remote on the repository failed: $found"; return; }
    # The commit of an annotated tag stands in the line that ends in ^{}; other lines are warnings of git or ssh.
    found=$(awk 'length($1) == 40 && $2 ~ /^refs\// { name = $2; sub(/\^\{\}$/, "", name); commit[name] = $1 }
      END { for (name in commit) print commit[name], name }' <<<"$found")
  else
    # One after the other: who asked before, and lost the connection, may still be at it.
    if ! { mkdir -p "$STATE" && exec {turn}>>"$STATE/fetch.lock" && flock -w 650 "$turn"; } 2>/dev/null; then
      [ -z "${turn:-}" ] || exec {turn}>&-
      refuse unready "cannot lock $STATE/fetch.lock; held by $(holders_of "$STATE/fetch.lock")"
      return
    fi
    umask 0022
    fetch || { umask 0077; return 0; }
    umask 0077
    exec {turn}>&-
    found=$(candidates "$RELEASE_SHA" | sort -u)
  fi
  shas=$(cut -d' ' -f1 <<<"$found" | sort -u | sed '/^$/d')
  case $(wc -w <<<"$shas") in
    0) refuse missing "the repository has no commit, branch or tag '$RELEASE_SHA'; a commit must be in a branch or tag" ;;
    1)
      say outcome ok
      say sha "$shas"
      [ -z "${SWITCHPROOF_READONLY:-}" ] || return 0
      say subject "$(git -C "$WORKDIR" log -1 --format=%s "$shas")"
      say author "$(git -C "$WORKDIR" log -1 --format=%an "$shas")"
      say authored "$(git -C "$WORKDIR" log -1 --format=%aI "$shas")"
      say checkout "$(git -C "$WORKDIR" rev-parse --quiet --verify HEAD || true) $(
        [ -z "$(git -C "$WORKDIR" status --porcelain 2>/dev/null | head -n1)" ] || printf 'with uncommitted changes')"
      ;;
    *) refuse ambiguous "'$RELEASE_SHA' is ambiguous, it may mean: ${found//$'\n'/, }; give the full commit, or heads/… or tags/…" ;;
  esac
}

flake() { printf 'git+file://%s?rev=%s#%s' "$WORKDIR" "$RELEASE_SHA" "$1"; }
toplevel_attr() { printf 'nixosConfigurations."%s".config.system.build.toplevel' "$FLAKE_ATTR"; }

# ---- one deploy at a time -------------------------------------------------------------------------------------

job_dir() { printf '%s/%s' "$RUN_DIR" "$JOB"; }
job_unit() { printf 'switchproof-%s-%s.service' "$RUN" "${1:-$JOB}"; }

# The run's jobs that there have been, and those of them that are still at work.
jobs() { find "$RUN_DIR" -mindepth 1 -maxdepth 1 -type d -printf '%f\n'; }
jobs_at_work() { local job; for job in $(jobs); do ended "$job" || printf '%s\n' "$job"; done; }

# Whether a job is over: first by what it wrote itself, then by systemd's explicit answer.
ended() { [ -e "$RUN_DIR/$1/rc" ] || has_ended "$(job_unit "$1")"; }

# One at a time among those who look at the lock or change it; the lock itself outlasts every process.
guarded() {
  local guard rc=0
  if ! { install -d -m 0700 "${LOCK%/*}" && exec {guard}<"${LOCK%/*}" && flock -w "$LOCK_WITHIN_S" "$guard"; } 2>/dev/null; then
    [ -z "${guard:-}" ] || exec {guard}<&-
    unguarded="cannot lock ${LOCK%/*} within $LOCK_WITHIN_S s; held by $(holders_of "${LOCK%/*}")"
    echo "$unguarded" >&2
    LOCK_WITHIN_S=1
    # An unconfirmed host goes back whoever holds that; the first decision wins all the same.
    [ -n "${GUARDING:-}" ] || return 1
    "$@"
    return
  fi
  "$@" || rc=$?
  exec {guard}<&-
  return "$rc"
}

LOCK_WITHIN_S=30 unguarded=''

held_by() { field "$LOCK/holder" "$1"; }
# What waits for a confirmation; the run's newest job that did; and what was decided about that.
pending() { field "$PENDING" "$1"; }
armed() { cat "$RUN_DIR/armed" 2>/dev/null || true; }
decided() { field "$RUN_DIR/$(armed)/decided" "$1"; }

# Hold the lock since a time, from the runner's last word on. A lease is told in seconds since the boot, as clocks jump,
# and is short as long as nothing was switched: whoever is killed before that must not keep others out.
readonly LEASE_BEFORE_SWITCH_S=120
hold() {
  local up seen lease
  number_to lease "$LEASE_S" 900
  uptime_to up
  number_to up "${up%.*}" 0
  number_to up "${3:-}" "$up"
  number_to seen "${2:-}" "$EPOCHSECONDS"
  switch_has_begun || ((lease < LEASE_BEFORE_SWITCH_S)) || number_to lease "$LEASE_BEFORE_SWITCH_S"
  printf 'run %s\nowner %s\nsince %s\nseen %s\nseen_up %s\nlease %s\n' "$RUN" "$OWNER" "$1" "$seen" "$up" "$((up + lease))" \
    >"$LOCK/holder.new" && mv "$LOCK/holder.new" "$LOCK/holder"
}
switch_has_begun() { grep -qxE 'arm|install|switch|rollback' "$RUN_DIR"/*/stage 2>/dev/null; }

# As long as this process lives, the lock does not end, however short its lease.
be_at_work() {
  local work
  exec {work}>>"$LOCK/at-work"
  flock -n "$work" || true
}

# Seconds until the lock ends by itself into `ends_in`, 0 where it has.
lease_left() {
  local up lease now
  uptime_to up
  number_to up "${up%.*}" 0
  number_to lease "$(stat -c %Y "$LOCK" 2>/dev/null || true)" 0
  now=$EPOCHSECONDS
  # One whose holder was not written is a minute old at most, also where the clock was set back since.
  lease=$((lease > now ? now : lease))
  number_to lease "$(held_by lease)" "$((up + lease + 60 - now))"
  ends_in=$((lease > up ? lease - up : 0))
}

renew() { [ "$(held_by run)" != "$RUN" ] || hold "$(held_by since)"; }
release() { [ "$(held_by run)" != "$RUN" ] || rm -rf "$LOCK"; }
refresh_lease() { [ ! -e "$LOCK/holder" ] || guarded renew || true; }

switch_lock_is_held() { [ -e "$SWITCH_LOCK" ] && ! flock -n "$SWITCH_LOCK" true; }

# Who holds a lock: every process that has it open, with its command and since when it runs.
holders_of() {
  local pid command holders=''
  while read -r pid; do
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | head -c 200) || true
    holders+="${holders:+; }process $pid (${command% }) since $(ps -o lstart= -p "$pid" 2>/dev/null || true)"
  done < <(find /proc/[0-9]*/fd -lname "$1" ! -path "/proc/$$/*" ! -path "/proc/$BASHPID/*" 2>/dev/null | cut -d/ -f3 | sort -un)
  printf '%s' "${holders:-an unknown process}"
}

# Who else changes the host at this moment, if anyone. A wrapped program has a dot before its name.
foreign_switch() {
  local pid
  if ! find_activation; then
    printf 'systemd did not answer within %s s, so a switch may be under way' "$ANSWER_WITHIN_S"
  elif [ -n "$activating" ]; then
    ask_systemctl show -P ActiveEnterTimestamp -- "$activating" || true
    printf '%s, since %s' "$activating" "${answered:-an unknown time}"
  elif switch_lock_is_held; then
    printf '%s is held by %s; it belongs to no deploy that this host knows' "$SWITCH_LOCK" "$(holders_of "$SWITCH_LOCK")"
  elif pid=$(pgrep -u 0 -of '(^|/)\.?nixos-rebuild(-ng)?(-wrapped)? (.* )?(switch|boot|test)( |$)'); then
    printf 'nixos-rebuild by hand (process %s, since %s)' "$pid" "$(ps -o lstart= -p "$pid")"
  fi
}

# Whether a job of a run may still be at work: no answer counts as one that is.
may_be_at_work() {
  ask_systemctl list-units --plain --no-legend --state=activating,active init.scope "switchproof-$1-*" || return 0
  [[ $answered =~ switchproof-[^[:space:]]+[[:space:]]+[^[:space:]]+[[:space:]]+activating ]]
}

# Why another run still has the lock, and until when; nothing where it has ended.
lock_problem() {
  local other ends_in until; other=$(held_by run)
  lease_left
  local who; who="$(held_by owner), run ${other:-unknown}, since $(held_by since)"
  if may_be_at_work "$other"; then
    echo "$who; its job $([ -n "$answered" ] && echo 'is' || echo 'may be, as systemd does not answer,') still at work"
  elif [ -n "${SWITCHPROOF_TAKE_LOCK:-}" ]; then
    return
  elif [ -e "$LOCK/at-work" ] && ! flock -n "$LOCK/at-work" true; then
    echo "$who; it is at work. To take the lock over: --take-lock, or by hand SWITCHPROOF_TAKE_LOCK=1"
  elif ((ends_in)); then
    until=$(date -u -d "@$((EPOCHSECONDS + ends_in))" +%H:%M:%SZ)
    echo "$who; unless it goes on, its lock ends at $until, in $ends_in s. To take it over before: --take-lock, or by hand SWITCHPROOF_TAKE_LOCK=1"
  fi
}

# All is looked at first: a run that is refused must not have touched another run's guard. A way back that is under way
# says more than the lock, which ends with it.
take_lock() {
  local other held left ends_in
  other=$(pending run)
  if [ "$other" = "$RUN" ]; then other=''; fi
  if [ -n "$other" ] && ! has_ended "$GUARD"; then
    seconds_left
    refuse locked "$(pending owner), run $other, since $(pending armed): not confirmed yet; the host goes back by itself ${left:+in $left s }unless it is"
    return 1
  fi
  if [ -e "$LOCK" ] && [ "$(held_by run)" != "$RUN" ]; then
    held=$(lock_problem)
    if [ -n "$held" ]; then refuse locked "$held"; return 1; fi
  fi
  if [ -n "$other" ]; then disarm; fi
  if [ -e "$LOCK" ]; then
    other=$(held_by run)
    [ "$other" != "$RUN" ] || return 0
    say lock.stale "$other"
    say lock.stale.owner "$(held_by owner)"
    say lock.stale.since "$(held_by since)"
    lease_left
    if ((ends_in)); then say lock.taken "$ends_in"; fi
    rm -rf "$LOCK"
  fi
  # A switch on a host that waits for this run's confirmation is our own guard's.
  if [ "$(pending run)" != "$RUN" ] && other=$(foreign_switch) && [ -n "$other" ]; then refuse locked "$other"; return 1; fi
  if ! as_this_run_left_it; then
    refuse foreign "this run lost the host's lock, and the host runs $(toplevel) since, which is of another deploy"
    return 1
  fi
  if ! { mkdir "$LOCK" && hold "$(now)"; }; then refuse unready "the lock $LOCK cannot be written"; return 1; fi
  drop_old_jobs
}

# Remove the units of earlier runs' jobs that have ended: a run that was killed leaves them.
drop_old_jobs() {
  local unit state; local -a old=()
  ask_systemctl list-units --all --plain --no-legend --full init.scope 'switchproof-*.service' || return 0
  while read -r unit _ _ state _; do
    case $unit in "$GUARD" | "switchproof-$RUN-"* | init.scope) continue ;; esac
    case $state in exited | failed) old+=("$unit") ;; esac
  done <<<"$answered"
  for unit in "${old[@]}"; do drop_unit "$unit"; done
}

# Whether the host runs what it ran before this run, or what a job of this run was to bring it to. A run that lost its
# lock, as in a power cut, must not undo what another one did since.
as_this_run_left_it() {
  local top; top=$(toplevel)
  [ ! -e "$RUN_DIR/before" ] || [ "$top" = "$(ran_before)" ] || grep -qsxF -- "$top" "$RUN_DIR"/*/expected
}

# A job changes the host only while its run holds the lock: it may have begun late, after the lease was over.
holds_host() {
  [ "$(held_by run)" != "$RUN" ] || return 0
  echo "run $RUN no longer holds this host; $(held_by owner), run $(held_by run), does"
  return 1
}

# What the host ran before this run.
ran_before() { section "$RUN_DIR/before" system.running; }

# Keep the garbage collector from a system as long as the run goes on; what earlier runs kept is let go.
hold_system() {
  mkdir -p "$ROOTS/$RUN"
  [ -z "$2" ] || ln -sfn "$2" "$ROOTS/$RUN/$1"
  find "$ROOTS" -mindepth 1 -maxdepth 1 ! -name "$RUN" -exec rm -rf {} +
}

# Take the host for this run, and note what it is before anything changes.
claim() {
  local before="$RUN_DIR/before"
  if [[ ! $RUN =~ ^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$ ]]; then refuse malformed "'$RUN' is no run id"; return 1; fi
  if [[ ! $JOB =~ ^[a-z][a-z-]*$ ]]; then refuse malformed "'$JOB' is no job"; return 1; fi
  guarded take_lock || { [ -n "${said[outcome]:-}" ] || refuse unready "${unguarded:-the lock cannot be taken}"; return 1; }
  if ! { note_before && set_room_aside && hold_system before "$(ran_before)"; }; then
    # Nothing was changed, so the lock need not outlast this run.
    guarded release || true
    refuse unready "cannot write below $STATE: is it full or read-only? $(df -h "$STATE" 2>&1 | tail -n1)"
    return 1
  fi
  say before "$(cat "$before")"$'\n'
}

note_before() {
  [ ! -e "$before" ] || return 0
  { mkdir -p "${before%/*}" && chmod 0700 "$STATE"; } 2>/dev/null || return
  (payload='' && say began "$EPOCHSECONDS" && say_system before && printf '%s' "$payload") | keep "$before"
}

# Keep room on the disk for the way back, which writes a job, its log and what was decided.
readonly ROOM=$STATE/room
set_room_aside() {
  [ -z "${room_given:-}" ] || return 0
  [ -e "$ROOM" ] || { fallocate -l 4M "$ROOM.new" || head -c 4194304 /dev/zero >"$ROOM.new"; } 2>/dev/null &&
    { [ ! -e "$ROOM.new" ] || mv "$ROOM.new" "$ROOM"; }
}
give_room() { room_given=yes && rm -f "$ROOM" "$ROOM.new"; }

# ---- jobs: what changes the host, in a transient unit that needs nobody to watch it ---------------------------

own_text() { if [ -n "${BASH_EXECUTION_STRING:-}" ]; then printf '%s\n' "$BASH_EXECUTION_STRING"; else cat "$0"; fi; }

# Begin a job unless it has begun: its name is taken as long as it is there, and it writes down its stage first.
launch() {
  local dir unit stderr=''; dir=$(job_dir) unit=$(job_unit)
  mkdir -p "$dir"
  if [ ! -e "$dir/stage" ]; then
    : >>"$dir/log"
    own_text >"$dir/host-switch.sh.$$"
    mv "$dir/host-switch.sh.$$" "$dir/host-switch.sh"
    bridge_table >"$dir/bridge"
    begin_unit "$1" || { refuse unstarted "systemd-run could not begin $unit: $stderr"; return; }
  fi
  say outcome started
}

# Start the job's unit, again while nobody knows whether it was: it is there, or systemd says that it is not.
begin_unit() {
  local began
  uptime_to began
  until run_unit "$1" || [ -e "$dir/stage" ]; do
    # It may have begun all the same; where nobody answers that at once, it may be asked for again: its name is taken.
    if ANSWER_WITHIN_S=1 ask_systemctl show -P LoadState -- "$unit" && [ "$answered" = loaded ]; then break; fi
    ! gone_by "$DONE_WITHIN_S" "$began" || return 1
    note_silence "systemd-run could not begin $unit, and is asked again: ${stderr:0:300}"
    sleep 0.2
  done
}
run_unit() {
  local limit=$TIMEOUT_S way_back
  if [ "$1" = rollback ]; then find_way_back; limit=$way_back; fi
  stderr=$(timeout 60 systemd-run --quiet --no-block --no-ask-password --unit="$unit" --service-type=oneshot \
    --remain-after-exit --expand-environment=no -p StandardOutput="append:$dir/log" -p StandardError=inherit \
    -p TimeoutStartSec="$limit" \
    -E HOME="$HOME" -E RELEASE_SHA="$RELEASE_SHA" -E WORKDIR="$WORKDIR" -E FLAKE_ATTR="$FLAKE_ATTR" \
    -E SWITCHPROOF_RUN="$RUN" -E SWITCHPROOF_JOB="$JOB" -E SWITCHPROOF_TO="${SWITCHPROOF_TO:-}" \
    -E SWITCHPROOF_OWNER="$OWNER" -E SWITCHPROOF_DEADMAN_S="$DEADMAN_S" -E SWITCHPROOF_PATIENCE_S="$PATIENCE_S" \
    -E SWITCHPROOF_TIMEOUT_S="$TIMEOUT_S" -E ALLOW_HOST_BUILD_FALLBACK="$ALLOW_HOST_BUILD_FALLBACK" \
    "$BASH" "$dir/host-switch.sh" job "$1" </dev/null 2>&1)
}

stage() { printf '%s\n' "$1" >"$(job_dir)/stage"; printf -- '--- %s\n' "$1"; }

# What the running system's closure and that of $1 differ in, for whoever reads of it; nothing depends on it.
compare_closures() {
  local file; file=$(job_dir)/closure
  timeout 30 "${NIX[@]}" store diff-closures "$(toplevel)" "$1" >"$file" 2>/dev/null || rm -f "$file"
}

job_converge() {
  local dir top rc=0; dir=$(job_dir)
  stage build
  "${NIX[@]}" build --print-build-logs --out-link "$dir/system" "$(flake "$(toplevel_attr)")" || return
  top=$(readlink -e "$dir/system")
  mkdir -p "$STATE/systems"
  printf '%s\n' "$RELEASE_SHA" >"$STATE/systems/${top##*/}"
  printf '%s\n' "$top" >"$dir/expected"
  compare_closures "$top"
  realise_programs || return
  arm "$top" || return
  install_programs "$top" || return
  stage switch
  call_nixos_rebuild
  rc=$switch_result
  if needs_reboot "$rc"; then undo_refused; return "$rc"; fi
  case $rc in 0 | 4) renew_units || rc=4 ;; esac
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
    number_to size "$(stat -c %s "$(job_dir)/log" 2>/dev/null)" 0
    openly nixos-rebuild switch --flake "$(flake "$FLAKE_ATTR")" || rc=$?
    take_switch_result "$rc"
    if ! lost_systemd "$((size + 1))"; then return 0; fi
    [ -n "$failed_at" ] || uptime_to failed_at
    if gone_by "$DONE_WITHIN_S" "$failed_at"; then return 0; fi
    note_silence 'nixos-rebuild could not have systemd begin the switch, and is called again'
    echo 'systemd did not answer nixos-rebuild, and nothing was activated: it is called again'
    sleep 1
  done
}

# Whether nixos-rebuild failed as systemd did not answer, and nobody knows of a switch: neither systemd, nor the journal,
# nor the system that runs. $1 is where its words begin in the log.
lost_systemd() {
  [ "$switch_result" != 0 ] && [ "$switch_source" = nixos-rebuild ] && [ "$(toplevel)" = "$(ran_before)" ] &&
    tail -c "+$1" "$(job_dir)/log" | grep -aE "$NO_ANSWER" >/dev/null
}
readonly NO_ANSWER='Connection (refused|reset by peer|timed out)|Transport endpoint is not connected|[Dd]isconnected from (message )?bus'

# Whether the new system refused to be switched to on a running host: its init is another one, or components changed
# that only a reboot can change. It is never forced.
needs_reboot() {
  [ "$(toplevel)" = "$(ran_before)" ] || return 1
  case $1 in
    100) return 0 ;;
    1) tail -c 65536 "$(job_dir)/log" | grep -qiE 'changes to critical components|switch inhibitor' ;;
    *) return 1 ;;
  esac
}

# Nothing was activated: set back the profile, the programs and what boots, and say whether that worked.
undo_refused() {
  local to; to=$(ran_before)
  echo 'this system needs a reboot, and was not switched to; profile and boot default are set back'
  restore_profile "$to" && bring_programs_back && set_what_boots "$to" && guarded disarm_own || return 0
  INVOCATIONS=()
  : >"$(job_dir)/restored"
}

# From here on is what the journal will have to say of a switch.
declare -a SINCE_MARK=()
mark_journal() {
  local cursor
  SINCE_MARK=(--since "@$EPOCHSECONDS")
  cursor=$(timeout 20 journalctl -q --no-pager -n1 -o cat --show-cursor 2>/dev/null | sed -n 's/^-- cursor: //p') || true
  [ -z "$cursor" ] || SINCE_MARK=(--after-cursor "$cursor")
}

# How the switch itself ended, into `switch_result`. nixos-rebuild's return is not its end: systemd-run ends with 0 where
# it loses the bus, some versions say 1 for everything. So wait for the unit and its lock, and believe systemd's record.
switch_result='' switch_source=''
take_switch_result() {
  local was_busy=''
  if ! find_activation || [ -n "$activating" ] || switch_lock_is_held; then was_busy=yes; fi
  settle || true
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

begin_way_back() { holds_host && { [ "$(pending run)" != "$RUN" ] || decide rollback "job $JOB"; }; }

job_rollback() {
  local to=$SWITCHPROOF_TO rc=0
  share_time
  stage rollback
  printf '%s\n' "$to" >"$(job_dir)/expected"
  end_other_jobs
  # Where the host is going back by itself already, the same is done once more after it.
  guarded begin_way_back || { holds_host && await_return; } || return
  if [ "$to" != "$(ran_before)" ]; then
    compare_closures "$to"
    arm "$to" || return
    stage rollback
  fi
  restore "$to" switch || rc=$?
  if [ "$(pending job)" = "$JOB" ]; then boot_earlier; else guarded disarm_own; fi
  return "$rc"
}

# Wait until the guard has brought the host back.
await_return() {
  local began way_back=0
  find_way_back
  uptime_to began
  while [ -e "$PENDING" ]; do
    if gone_by "$((way_back + 60))" "$began"; then echo "the host's own way back did not end"; return 1; fi
    sleep 0.5
  done
}

# A build may be stopped at any time; an activation under way is let finish.
end_other_jobs() {
  local job
  while job=$(jobs_at_work) && job=$(grep -vxm1 -- "$JOB" <<<"$job"); do
    case $(cat "$RUN_DIR/$job/stage" 2>/dev/null || echo build) in
      build | realise) have_systemctl stop -- "$(job_unit "$job")" || true ;;
    esac
    sleep 0.5
  done
}

# The seconds that a way back has as a whole, into `way_back`.
find_way_back() { way_back=$((TIMEOUT_S < WAY_BACK_S ? WAY_BACK_S : TIMEOUT_S)); }

# Share them out, so that a switch that hangs is ended, and one on the way back tried twice, before they are over.
share_time() {
  local way_back=0
  find_way_back
  ((4 * PATIENCE_S <= way_back)) || PATIENCE_S=$((way_back / 4))
  SWITCH_S=$((way_back / 3))
}

# Whether systemd ended a job of this run because its time was over; the switch that the job began has had its time, too.
has_run_out() {
  local job
  for job in $(jobs); do
    [ ! -e "$RUN_DIR/$job/rc" ] && ask_systemctl show -P Result -- "$(job_unit "$job")" && [ "$answered" = timeout ] && return
  done
  return 1
}

# Wait until no switch is under way: neither its unit nor its lock. One that hangs is ended, and a lock that a stray
# process holds is set aside, or nothing could ever be undone. Fails where even that did not help.
settle() {
  local began patience=$PATIENCE_S limit=$PATIENCE_S
  if has_run_out; then patience=0 limit=$TIMEOUT_S; fi
  uptime_to began
  while ! find_activation || [ -n "$activating" ] || switch_lock_is_held; do
    if gone_by "$((2 * patience + 60))" "$began"; then return 1; fi
    if gone_by "$patience" "$began"; then
      if [ -n "$activating" ]; then
        echo "ending $activating, which did not end within $limit s"
        have_systemctl stop -- "$activating" || true
      elif switch_lock_is_held; then
        echo "setting $SWITCH_LOCK aside: $(holders_of "$SWITCH_LOCK") has held it for $limit s"
        rm -f "$SWITCH_LOCK"
      fi
    fi
    sleep 0.5
  done
}

# Make exactly this system what the profile says, what runs and what would boot. Each is tried whatever became of
# the others: on a full disk, say, the profile may not move, and the host must go back all the same.
restore() {
  local to=$1 action=$2 rc=0 moved=0 profile
  settle || echo 'another switch did not end; going back all the same'
  [ -x "$to/bin/switch-to-configuration" ] || { echo "$to is not a system on this host"; return 1; }
  if [ "$to" = "$(ran_before)" ]; then bring_programs_back || moved=$?; else install_what_belongs "$to" || moved=$?; fi
  restore_profile "$to" || moved=$?
  run_switch "$to" "$action" || rc=$?
  if [ "$rc:$action" = 1:switch ] && [ "$(toplevel)" != "$to" ]; then
    # It ended before it activated anything, as where /boot cannot be written. The host must run the system all the same.
    rc=0
    run_switch "$to" test || rc=$?
    set_what_boots "$to" || moved=$?
  fi
  renew_units || moved=$?
  # The switch has set what boots, unless it failed or the profile was another system before.
  profile=$(profile_for "$to")
  if [ "$profile" != "$to" ] && [ -x "$profile/bin/switch-to-configuration" ]; then
    set_what_boots "$profile" || moved=$?
  elif [ "$rc" != 0 ]; then
    set_what_boots "$to" || true
  fi
  [ "$rc" != 0 ] || rc=$moved
  return "$rc"
}

# What the profile is to be once a system runs again: for the one that ran before, what was noted, even if that was not
# what ran.
profile_for() {
  local noted=''
  [ "$1" != "$(ran_before)" ] || noted=$(section "$RUN_DIR/before" system.profile)
  if [ -e "$noted" ]; then printf '%s' "$noted"; else printf '%s' "$1"; fi
}

# Bring the profile back, to the very generation that it had where there is one.
restore_profile() {
  local wanted number link; wanted=$(profile_for "$1")
  number_to number "$(section "$RUN_DIR/before" system.generation)"
  if [ "$(readlink -e "$PROFILE-$number-link")" != "$wanted" ]; then
    number=$(for link in "$PROFILE"-*-link; do
      [ "$(readlink -e "$link")" != "$wanted" ] || printf '%s\n' "$link"
    done | sed -n 's/.*-\([0-9]*\)-link$/\1/p' | sort -n | tail -n1)
  fi
  if [ -n "$number" ]; then
    nix-env -p "$PROFILE" --switch-generation "$number"
  else
    nix-env -p "$PROFILE" --set "$wanted"
  fi
}

# One that waits without end, as for a bus that it lost, is ended, with status 124 or 137.
call_switch() { NIXOS_NO_CHECK=1 openly timeout -k 20 "$SWITCH_S" "$1/bin/switch-to-configuration" "$2"; }

# Run the switch of a system that ran before, so that the checks with which a switch begins do not matter; again while
# another one holds the lock, and once more where it hung, and where it failed: what made it do so, such as a bus that
# restarted, may be over, and it goes on with the units that it had noted.
run_switch() {
  local rc began hung='' failed=''
  uptime_to began
  while :; do
    rc=0
    call_switch "$1" "$2" || rc=$?
    case $rc:$hung:$failed:$2 in
      124::* | 137::*)
        echo "$1/bin/switch-to-configuration $2 did not end within $SWITCH_S s, and is tried once more"
        hung=yes
        continue
        ;;
      1:*::switch)
        echo "$1/bin/switch-to-configuration $2 ended with status 1, and is tried once more"
        failed=yes
        sleep 1
        continue
        ;;
      11:*) ;;
      *) break ;;
    esac
    ! gone_by "$PATIENCE_S" "$began" || break
    sleep 1
    settle || break
  done
  [ "$rc" = 0 ] || echo "$1/bin/switch-to-configuration $2 ended with status $rc"
  return "$rc"
}

# What would boot.
boot_default() { run_switch "$1" boot; }

# The same in a job, whose answers say why where it could not be set.
set_what_boots() {
  local stderr
  if stderr=$(boot_default "$1" 2>&1); then [ -z "$stderr" ] || printf '%s\n' "$stderr"; return; fi
  printf '%s\n' "$1 could not be made what boots:" "$stderr" | tee "$(job_dir)/boot-problem"
  return 1
}

# ---- the store path bridge: prebuilt programs that units run through a link ------------------------------------

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
    [[ -z $path || $path =~ ^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+$ ]] || { echo "'$path', given for $name, is no store path"; return; }
  done < <(bridge_table)
}

# Bring every store path that was given into this host's store, or have it built here where that is allowed.
realise_programs() {
  local name path file at units build words held; local -a row
  while IFS=$US read -r name path file at units build; do
    [ -n "$path" ] || continue
    [ "$(cat "$(job_dir)/stage")" = realise ] || stage realise
    held=$ROOTS/$RUN/installed-$name
    mkdir -p "${held%/*}" && ln -sfn "$path" "$held"
    if words=$(nix-store --realise "$path" 2>&1 >/dev/null </dev/null); then
      echo "$name: $path is here"
    elif [ "$ALLOW_HOST_BUILD_FALLBACK" != true ] || [ -z "$build" ]; then
      echo "error: $name: $path cannot be realised on this host, and it may not build it (ALLOW_HOST_BUILD_FALLBACK): $words"
      return 1
    else
      echo "$name: $path cannot be realised on this host, so $build of the commit is built here: $words"
      mapfile -t row < <("${NIX[@]}" build --no-link --print-out-paths --print-build-logs "$(flake_of "$build")" </dev/null)
      if ((${#row[@]} != 1)); then echo "error: $name: $path cannot be realised, and $build did not become one path"; return 1; fi
      path=${row[0]}
      ln -sfn "$path" "$held"
    fi
    if [ ! -x "$path/$file" ]; then echo "error: $name: $path has no program $file"; return 1; fi
    bridged "$name" "$path" "$file" "$at" "$units" "$build" >>"$(job_dir)/realised"
  done <"$(job_dir)/bridge"
}
flake_of() {
  local folder=${1%%#*}
  printf 'git+file://%s?rev=%s%s#%s' "$WORKDIR" "$RELEASE_SHA" "${folder:+&dir=$folder}" "${1#*#}"
}

# Put links to what was realised where units expect them; what was there is put by.
install_programs() {
  local name path file at units _
  [ -e "$(job_dir)/realised" ] || return 0
  stage install
  while IFS=$US read -r name path file at units _; do
    if ! { put_by "$name" "$at" "$units" && belong "$1" "$name" "$path" && place "$at" "$path/$file" "$units"; }; then
      echo "error: $name: $path could not be installed as $at"
      return 1
    fi
    echo "$name: $at leads to $path/$file"
  done <"$(job_dir)/realised"
}

# Going back further than this run began: to what belongs to that system. Where nobody knows that, it is left alone.
install_what_belongs() {
  local name file at units path
  while IFS=$US read -r name _ file at units _; do
    path=$(readlink "$BELONGS/${1##*/}/$name") || continue
    put_by "$name" "$at" "$units" && place "$at" "$path/$file" "$units" || return
    echo "$name: $at leads to $path/$file"
  done <"$(job_dir)/bridge"
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

# Units that still run what was there before are started anew; those that the switch has started are left alone.
renew_units() {
  local unit rc=0
  for unit in "${!INVOCATIONS[@]}"; do
    [ "$(invocation "$unit")" = "${INVOCATIONS[$unit]}" ] || continue
    echo "restarting $unit, which runs what was there before"
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

# Do a job, and keep how it ended and what the switch said to the journal.
conduct() {
  local dir rc=0; dir=$(job_dir)
  mark_journal
  "job_$1" </dev/null || rc=$?
  timeout 20 journalctl -q --no-pager -o cat -t nixos "${SINCE_MARK[@]}" 2>/dev/null | tail_of 262144 >"$dir/journal" || true
  # Some versions of nixos-rebuild send what the switch says to the journal instead of here.
  timeout 20 journalctl -q --no-pager -o cat -u "$ACTIVATION*" "${SINCE_MARK[@]}" 2>/dev/null |
    tail_of 262144 | sed 's/^/journal: /' || true
  return "$rc"
}

# Write down how a job ended, which says that it has.
end_job() { printf '%s\n' "$1" | keep "$(job_dir)/rc"; }

verb_job() {
  local rc=0
  conduct "$1" || rc=$?
  end_job "$rc"
  exit "$rc"
}

# ---- the dead man's switch ------------------------------------------------------------------------------------
#
# What is to happen to an unconfirmed host stands in $PENDING. A service sees to it which outlives connections, reloads
# and reboots: systemd reads $CONTROL, and no activation of NixOS touches it. Confirmation, rollback and this guard
# decide under the lock, so that one of them does.

# Have the host go back by itself to what ran before, unless it is confirmed; nothing has changed yet.
arm() {
  local words
  [ "$DEADMAN_S" != 0 ] || return 0
  stage arm
  words=$(guarded set_up_guard "$1" 2>&1) && return
  echo "the dead man's switch cannot be armed: $words"
  guarded give_up_arming
  return 1
}

# Never another run's.
give_up_arming() { ! holds_host >/dev/null || disarm; }

set_up_guard() {
  local to; to=$(ran_before)
  holds_host || return
  if [ ! -x "$to/bin/switch-to-configuration" ]; then echo "'$to', which runs, is no system to go back to"; return 1; fi
  # What is pending comes last: a guard with nothing to do takes itself away, a task without a guard would stay.
  rm -f "$SINCE"
  mkdir -p "$STATE/guard" && openly mkdir -p "$CONTROL/multi-user.target.wants" && own_text | keep "$STATE/guard/host-switch.sh" &&
    guard_unit "$to" | keep "$CONTROL/$GUARD" && chmod 0644 "$CONTROL/$GUARD" &&
    ln -sfn "../$GUARD" "$CONTROL/multi-user.target.wants/$GUARD" && sync --file-system "$CONTROL" "$STATE" &&
    printf '%s\n' "$JOB" | keep "$RUN_DIR/armed" &&
    printf '%s\n' "run $RUN" "job $JOB" "owner $OWNER" "to $to" "expected $1" "seconds $DEADMAN_S" "armed $(now)" \
      "boot_id $(</proc/sys/kernel/random/boot_id)" | keep "$PENDING" &&
    have_systemctl daemon-reload && have_systemctl restart "$GUARD"
}

guard_unit() {
  cat <<UNIT
[Unit]
Description=Goes back to the earlier system unless run $RUN is confirmed
StartLimitIntervalSec=0

[Service]
Type=exec
Environment=HOME=/root SWITCHPROOF_RUN=$RUN SWITCHPROOF_TO=$1 SWITCHPROOF_TIMEOUT_S=$TIMEOUT_S
ExecStart=$(readlink -e "$BASH") $STATE/guard/host-switch.sh guard
Restart=on-failure
RestartSec=2
OOMScoreAdjust=-900
SyslogIdentifier=switchproof
UNIT
}

# The guard itself ends when it has nothing left to do; anybody else stops it.
disarm() {
  rm -f "$PENDING" "$SINCE" "$CONTROL/multi-user.target.wants/$GUARD" "$CONTROL/$GUARD"
  rmdir "$CONTROL/multi-user.target.wants" "$CONTROL" 2>/dev/null || true
  have_systemctl daemon-reload || true
  [ -n "${GUARDING:-}" ] || has_ended "$GUARD" || have_systemctl stop "$GUARD" || true
}
# What the guard has begun it ends: it is not stopped in the middle of a switch.
disarm_own() { [ "$(pending run)" != "$RUN" ] || [ "$(decided by)" = guard ] || disarm; }

# As long as nobody has confirmed, a reboot leads to the earlier system.
boot_earlier() {
  [ "$(pending run)" = "$RUN" ] || return 0
  set_what_boots "$(pending to)" || echo 'after a reboot the guard would go back to the earlier system'
}

# The first decision wins, also over somebody who acts without the lock; but the guard takes over from a rollback that
# did not end.
decide() {
  local file; file=$RUN_DIR/$(armed)/decided
  [ "$(pending run)" = "$RUN" ] || return 1
  case $1:$(decided by) in
    guard:guard) return 0 ;;
    *:) printf 'by %s\nat %s\n%s\n' "$1" "$(now)" "$2" | keep_first "$file" || { [ "$1" = guard ] && [ ! -e "$file" ]; } ;;
    guard:rollback | rollback:rollback)
      printf 'by %s\nat %s\n%s\n' "$1" "$(now)" "$2" | keep "$file" || [ "$1" = guard ]
      ;;
    *) return 1 ;;
  esac
}

# The countdown begins when the switch has ended, and anew when a runner says that it is still at work. It stands
# where no disk can be full, in seconds since the boot.
count_down() { read -r REPLY _ </proc/uptime; printf '%s\n' "$REPLY" >"$SINCE.new" && mv "$SINCE.new" "$SINCE"; }
restart_countdown() { if [ "$(pending run)" = "$RUN" ] && [ -e "$SINCE" ] && [ -z "$(decided by)" ]; then count_down; fi; }

# Whether it is time to go back, and why.
due() {
  local by since seconds now; by=$(decided by)
  if [ "$by" = guard ]; then
    why=$(decided why)
  elif rebooted; then
    why='rebooted before it was confirmed'
  elif [ "$by" = rollback ]; then
    ended "$(decided job)" || return 1
    why='the rollback did not end'
  elif [ -e "$SINCE" ]; then
    since=$(cat "$SINCE") seconds=$(pending seconds)
    # A time that cannot be read is no reason to go back: the countdown begins again.
    milliseconds_to now "$since" || { count_down; return 1; }
    gone_by "$seconds" "$since" || return 1
    why="not confirmed within $seconds s after the switch ended"
  else
    ! ended "$(armed)" || count_down
    return 1
  fi
}
rebooted() { [ "$(pending boot_id)" != "$(</proc/sys/kernel/random/boot_id)" ]; }

# The name of the job in which an armed job is undone by the guard.
return_of() { case $1 in converge | rollback) echo return ;; *) echo "return-$1" ;; esac; }

verb_guard() {
  local why
  GUARDING=yes JOB=$(return_of "$(armed)") OWNER=$(pending owner)
  number_to PATIENCE_S "$(pending seconds)" 600
  number_to TIMEOUT_S "$TIMEOUT_S" 3600
  share_time
  while [ "$(pending run)" = "$RUN" ] && [ "$(decided by)" != confirm ]; do
    if ! due; then sleep 1; continue; fi
    ! guarded decide guard "why $why" || go_back
    break
  done
  guarded retire
}
retire() { [ -e "$PENDING" ] || disarm; }

go_back() {
  local rc=0 told log; log=$(job_dir)/log
  # Also on a full disk.
  give_room
  mkdir -p "$(job_dir)" && : >>"$log" || log=/dev/null
  exec {told}>&1
  conduct return >>"$log" 2>&1 || rc=$?
  printf '<2>%s\n' "$OWNER, run $RUN: $why; went back from $(pending expected) to $(pending to), exit status $rc" >&"$told"
  guarded end_return "$rc"
}

job_return() {
  local action=switch to; to=$(pending to)
  stage rollback
  printf '%s\n' "$to" >"$(job_dir)/expected"
  # After a reboot into the earlier system nothing of it has to be activated again.
  if rebooted && [ "$(toplevel)" = "$to" ] && [ "$(readlink -e /run/booted-system)" = "$to" ]; then action=boot; fi
  restore "$to" "$action"
}

# Tell whoever comes next. The lock is left only to a runner who is still there.
end_return() {
  local told job; told="$RUN_DIR/$(armed)/returned"
  printf '%s\n' "run $RUN" "at $(decided at)" "why $why" "from $(pending expected)" "to $(pending to)" "rc $1" \
    "owner $OWNER" "ended $(now)" | keep "$told" && keep "$STATE/returned" <"$told"
  LEASE_S=20
  [ "$(held_by run)" != "$RUN" ] || hold "$(held_by since)" "$(held_by seen)" "$(held_by seen_up)"
  for job in $(jobs); do drop_unit "$(job_unit "$job")"; done
  end_job "$1"
  disarm
}

# The seconds until the host goes back, into `left`; empty while the countdown has not begun.
seconds_left() {
  local up seconds since now
  left=''
  [ -e "$SINCE" ] || return 0
  uptime_to up
  number_to seconds "$(pending seconds)" 0
  milliseconds_to now "$up" && milliseconds_to since "$(cat "$SINCE" 2>/dev/null)" || since=$now
  left=$((seconds + (since - now) / 1000)) left=${left/#-*/0}
}

say_guard() {
  local armed dir state='' left=''
  armed=$(armed) dir="$RUN_DIR/$armed"
  case $armed:$(decided by) in
    :*) ;;
    *:guard) state=returning; [ ! -e "$dir/returned" ] || state=returned ;;
    *:rollback) state=rolled-back ;;
    *:confirm) state=confirmed ;;
    *) [ "$(pending run)" != "$RUN" ] || state=armed ;;
  esac
  [ "$state" != armed ] || seconds_left
  say guard "$state"
  say guard.job "$armed"
  say guard.left "$left"
}

# A return that waits for a confirmation, whose run it is, and what becomes of it.
say_pending() {
  local left
  [ -e "$PENDING" ] || return 0
  seconds_left
  ! rebooted || left=0
  look_at_unit "$GUARD" || true
  say pending "$(<"$PENDING")"$'\n'"left $left"$'\n'"guard $unit_active"
}

# ---- verbs ----------------------------------------------------------------------------------------------------

verb_converge() {
  local problem; problem=$(bridge_problem)
  if [[ ! $RELEASE_SHA =~ ^[0-9a-f]{40}$ ]]; then refuse malformed "converge needs a full commit"; return; fi
  if [ -n "$problem" ]; then refuse malformed "$problem"; return; fi
  claim || return 0
  launch converge
}

# Asked by a person, it follows to the end and gives the host back.
verb_rollback() {
  local to=${SWITCHPROOF_TO:-}
  JOB=${SWITCHPROOF_JOB:-rollback}
  if [[ ! $to =~ ^/nix/store/[^/]+$ ]]; then refuse malformed "'$to' is no system in the Nix store"; return; fi
  if [ ! -x "$to/bin/switch-to-configuration" ]; then refuse gone "$to is not on this host (any more)"; return; fi
  if [ "$(decided by)" = guard ] ||
    { [ "$(pending run)" = "$RUN" ] && rebooted && have_systemctl start --no-block "$GUARD"; }; then
    refuse returning "the host goes back by itself, or has"
    say job "$(return_of "$(armed)")"
    return
  fi
  give_room
  claim || return 0
  hold_system target "$to"
  launch rollback
  [ -z "${SWITCHPROOF_NONCE:-}" ] || return 0
  follow || true
  verb_confirm
  [ "$(cat "$(job_dir)/rc" 2>/dev/null)" = 0 ]
}

# What the host could be brought back to.
verb_generations() {
  local number top current words='' running
  [ -z "${SWITCHPROOF_CLAIM:-}" ] || claim || return 0
  running=$(toplevel) current=$(generation)
  while read -r number; do
    top=$(readlink "$PROFILE-$number-link")
    words+=$number$US$top$US$([ -x "$top/bin/switch-to-configuration" ] && echo yes || echo no)
    words+=$US$([ "$number" != "$current" ] || echo yes)$US$(commit_of "$top")$US$(stat -c %Y "$PROFILE-$number-link")$'\n'
  done < <(find "${PROFILE%/*}" -maxdepth 1 -name 'system-*-link' | sed -n 's/.*-\([0-9]*\)-link$/\1/p' | sort -rn)
  say outcome ok
  say generations "${words%$'\n'}"
  say earlier "$(ran_earlier "$running")"
  say running "$running"
}

# The commit that a system was built from, as far as we or it know.
commit_of() {
  cat "$STATE/systems/${1##*/}" 2>/dev/null || timeout 10 "$1/sw/bin/nixos-version" --configuration-revision 2>/dev/null || true
}

# What ran before the newest run that changed the host and is still there.
ran_earlier() {
  local file top
  while read -r _ file; do
    top=$(section "$file" system.running)
    if [ "$top" != "$1" ] && [ -x "$top/bin/switch-to-configuration" ]; then printf '%s' "$top"; return; fi
  done < <(find "$STATE/runs" -mindepth 2 -maxdepth 2 -name before -printf '%T@ %p\n' 2>/dev/null | sort -rn)
}

verb_status() {
  local dir unit began state size
  dir=$(job_dir) unit=$(job_unit)
  # It is the guard itself that undoes an armed job.
  if [[ $JOB == return* ]] && [ "$(pending run)" = "$RUN" ]; then unit=$GUARD; fi
  uptime_to began
  refresh_lease
  [ -z "${SWITCHPROOF_RENEW:-}" ] || guarded restart_countdown
  answered=''
  while :; do
    number_to size "$(stat -c %s "$dir/log" 2>/dev/null)" 0
    state=running
    # What the job wrote itself counts, before and after systemd was asked.
    [ -e "$dir/rc" ] || ! has_ended "$unit" || state=lost
    [ ! -e "$dir/rc" ] || state=finished
    if [ "$state" != running ] || ((size > OFFSET)) || gone_by "$WAIT_S" "$began"; then break; fi
    sleep 0.2
  done
  say state "$state"
  say stage "$(cat "$dir/stage" 2>/dev/null || true)"
  say rc "$(cat "$dir/rc" 2>/dev/null || true)"
  say expected "$(cat "$dir/expected" 2>/dev/null || true)"
  say installed "$(cut -d"$US" -f1,2 "$dir/realised" 2>/dev/null || true)"
  say journal "$(cat "$dir/journal" 2>/dev/null || true)"
  say unit "$answered"
  say boot.problem "$(head -c 4096 "$dir/boot-problem" 2>/dev/null || true)"
  [ ! -e "$dir/restored" ] || say restored yes
  say silences "$(tail -n 50 "$RUN_DIR/silences" 2>/dev/null || true)"
  say holder "$(cat "$LOCK/holder" 2>/dev/null || true)"
  say log.size "$(stat -c %s "$dir/log" 2>/dev/null || echo 0)"
  say log "$(tail -c "+$((OFFSET + 1))" "$dir/log" 2>/dev/null | head -c 262144 | base64 -w0)"
  [ "$state" != finished ] || [ ! -e "$dir/closure" ] || say closure "$(head -c 262144 "$dir/closure")"
  say boot_id "$(</proc/sys/kernel/random/boot_id)"
  say_guard
}

# An answer without a body: its code, curl's or the script's own, and words.
no_answer() { printf '%s' "000${US}0${US}0${US}$1${US}0$US$US$US$2"; }

# One answer to the question $1 of an endpoint, with its body in the file $4. $2 is the container in whose network it is
# asked, if any, and $3 a text for which a connection waits.
ask_endpoint() {
  local -a part
  IFS=$RS read -r -a part <<<"$1"
  case ${part[0]:-} in
    http) ask "${part[1]}" "$2" "$4" "${part[2]:-}" ;;
    https)
      # Whom the host's system trusts, not whom the caller's variables name; or the file's authorities and no other.
      unset CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
      if [ -z "${part[4]:-}" ]; then
        ask "${part[1]}" "$2" "$4" "${part[2]:-}" --connect-to "${part[3]}"
      elif [ -f "${part[4]}" ] && [ -r "${part[4]}" ] && [ -s "${part[4]}" ]; then
        mkdir -p "$SCRATCH/no-authorities"
        ask "${part[1]}" "$2" "$4" "${part[2]:-}" --connect-to "${part[3]}" --cacert "${part[4]}" --capath "$SCRATCH/no-authorities"
      else
        no_answer 77 "${part[4]}, which ca_file names, is not a file with certificates that can be read"
      fi
      ;;
    unix) ask "${part[1]}" '' "$4" "${part[2]:-}" --unix-socket "${part[3]}" ;;
    tcp) ask_tcp "$2" "${part[1]}" "${part[2]}" "$3" "$4" ;;
    exec) ask_program "$2" "$4" "${part[@]:1}" ;;
    *) no_answer 2 "this host's script does not know a probe of kind '${part[0]:-}'" ;;
  esac
}

# One answer of a URL, asked with the headers in the file $4, if any, and with further arguments of curl: the body into the
# file $3 and its headers beside it, else to standard output; then a line of
# code, connect and total seconds, curl's exit code, bytes of body, address and port that answered, and curl's words.
ask() {
  local text=''; local -a curl=(curl -q -sS --noproxy '*' --max-time "$ANSWER_TIMEOUT_S" --max-redirs 0 --max-filesize "$MAX_BYTES")
  local form="%{http_code}$US%{time_connect}$US%{time_total}$US%{exitcode}$US%{size_download}$US%{remote_ip}$US%{remote_port}$US%{errormsg}%{redirect_url}"
  if [ -n "${3:-}" ]; then
    curl+=(-o "$3" -D "$3.head")
    trap '' XFSZ # some versions of curl write on beyond --max-filesize
    ulimit -f "$((MAX_BYTES / 1024 + 1))"
  else
    form="\n$form"
  fi
  # curl reads the headers itself, so that their values stand in no list of arguments and in no answer.
  if [ -n "${4:-}" ]; then
    if ! { [ -f "$4" ] && [ -r "$4" ]; }; then
      no_answer 26 "$4, which headers_file names, is not a file that can be read"
      return 0
    fi
    curl+=(-H "@$4")
  fi
  curl+=("${@:5}")
  [ -n "${2:-}" ] || exec "${curl[@]}" -w "$form" -- "$1" 2>/dev/null
  # The host's own curl in the container's network alone: nothing need be there inside.
  [ -z "${LEADER[$2]:-}" ] || text=$(nsenter -t "${LEADER[$2]}" -n -- "${curl[@]}" -w "$form" -- "$1" 2>/dev/null) || true
  if [ -n "$text" ]; then printf '%s' "$text"; else no_answer 7 'its container is not up'; fi
}

# Microseconds since $1, in the form of EPOCHREALTIME, into the variable $2; and the same as seconds, into `took`.
took=''
took_to() {
  local since=$((${EPOCHREALTIME/./} - ${1/./}))
  printf -v "$2" %s "$since"
  printf -v took '%d.%06d' "$((since / 1000000))" "$((since % 1000000))"
}

# A connection to the port $3 of $2, in the network of the container $1, if any: what it received into the file $5, until
# that has the text $4. The words of a good answer are the processes that accepted it, each with its control group.
ask_tcp() {
  local text='' limit=0; local -a enter=()
  if [ -n "$1" ]; then
    [ -n "${LEADER[$1]:-}" ] || { no_answer 7 'its container is not up'; return; }
    enter=(nsenter -t "${LEADER[$1]}" -n --)
  fi
  milliseconds_to limit "$ANSWER_TIMEOUT_S"
  # Another shell, as a connection has no time limit of its own in bash.
  text=$(timeout -k 1 "$((limit / 1000 + 2))" "${enter[@]}" "$BASH" -c "
    set -u; export LC_ALL=C; US=$'\x1f'; took=''
    $(declare -f no_answer took_to find_group find_accepting connect)
    connect \"\$@\"" - "${@:2}" "$((limit * 1000))" "$MAX_BYTES" 2>/dev/null) || true
  if [ -n "$text" ]; then printf '%s' "$text"; else no_answer 28 'no connection in time'; fi
}

# The same in a shell of its own: address, port, text, file, microseconds, bytes. A process that has the connection open has
# accepted it, and so has one that sent something or closed it in order. The kernel alone makes a connection all the same:
# that of a process which is stopped.
connect() {
  local began=$EPOCHREALTIME connected='' us=0 char='' rc window='' size=0 heard='' over='' owners='' failed=''
  if ! { exec 3<>"/dev/tcp/$1/$2"; } 2>"$4.error"; then
    no_answer 7 "$(sed -n '1s/.*: //p' "$4.error")"
    return
  fi
  took_to "$began" us
  connected=$took
  exec 4>"$4"
  while took_to "$began" us && ((us < $5)); do
    if [ -z "$3" ] || [ -n "$over" ]; then
      failed=''
      owners=$(find_accepting "$2") || failed=yes
      if [ -n "$owners$heard" ] || { [ -n "$over" ] && [ -z "$failed" ]; }; then break; fi
      if [ -n "$over" ]; then sleep 0.2; continue; fi
    fi
    rc=0
    IFS= read -r -d '' -n 1 -t 0.05 char <&3 || rc=$?
    # A byte may come together with the end of the time.
    if [ "$rc" = 0 ] || [ -n "$char" ]; then
      heard=yes size=$((size + 1))
      if [ -n "$char" ]; then printf %s "$char" >&4; else printf '\0' >&4; fi
      if [ -n "$char" ]; then window+=$char; else window=''; fi
      ((${#window} <= ${#3})) || window=${window: -${#3}}
      if [ "$window" = "$3" ] || [ -z "$3" ] || ((size >= $6)); then over=yes; fi
    elif ((rc < 128)); then
      over=yes
    fi
  done
  [ -n "$heard$owners$failed" ] || owners=$(find_accepting "$2") || failed=yes
  took_to "$began" us
  if [ -z "$heard$owners$failed$over" ]; then
    no_answer 101 ''
  elif [ -z "$heard$owners" ] && [ -n "$failed" ]; then
    no_answer 2 'ss did not say which process has the connection'
  elif [ -z "$heard" ] && [ "$owners" = reset ]; then
    no_answer 56 ''
  else
    printf %s "000$US$connected$US$took${US}0$US$size$US$1$US$2$US${owners#reset}"
  fi
}

# The processes that have the other end of this shell's connection to the port $1, each with its control group, as it may
# end with the connection; or `reset` where the connection is no more.
find_accepting() {
  local rows pid group
  rows=$(timeout 5 ss -Htnp "( sport = :$1 or dport = :$1 )" 2>/dev/null) || return
  awk -v me="pid=$$," '
    function bare(address) {
      sub(/%[^]:]+/, "", address)
      if (address ~ /^\[::ffff:[0-9.]+\]/) { sub(/^\[::ffff:/, "", address); sub(/\]/, "", address) }
      return address
    }
    {
      users = ""
      for (n = 6; n <= NF; n++) users = users " " $n
      owners[bare($4) " " bare($5)] = users
      if (index(users, me)) other = bare($5) " " bare($4)
    }
    END {
      if (other == "") print "reset"
      users = other == "" ? "" : owners[other]
      while (match(users, /pid=[0-9]+/)) { print substr(users, RSTART + 4, RLENGTH - 4); users = substr(users, RSTART + RLENGTH) }
    }' <<<"$rows" | while read -r pid; do
    if [ "$pid" = reset ]; then printf reset; return; fi
    find_group "$pid"
    [ -z "$group" ] || printf '%s:%s ' "$pid" "$group"
  done
}

# What came of running a program as the user $3, in the network of the container $1, if any: its output into the file $2.
# The rest are the program and its arguments. It gets none of this script's variables, which may hold secrets.
ask_program() {
  local began=$EPOCHREALTIME us=0 limit=0 uid gid size=0 rc; local -a enter=() ended
  if [ -n "$1" ]; then
    [ -n "${LEADER[$1]:-}" ] || { no_answer 7 'its container is not up'; return; }
    enter=(nsenter -t "${LEADER[$1]}" -n --)
  fi
  { uid=$(id -u -- "$3") && gid=$(id -g -- "$3"); } 2>/dev/null || { no_answer 103 "this host has no user '$3'"; return; }
  if ! { [ -f "$4" ] && [ -x "$4" ]; }; then no_answer 103 "$4 is not a program on this host"; return; fi
  milliseconds_to limit "$ANSWER_TIMEOUT_S"
  set +e
  # What it exits with counts only if it was begun: others before it exit with 1 as well.
  (
    close_files '' && cd / && exec env -i PATH="$PATH" LANG=C.UTF-8 USER="$3" LOGNAME="$3" timeout -k 1 "$ANSWER_TIMEOUT_S" \
      "${enter[@]}" setpriv --reuid "$uid" --regid "$gid" --init-groups -- \
      "$BASH" -c 'echo begun >&3 && exec 3>&- && exec "$@"' - "${@:4}" </dev/null 2>&1 3>"$2.begun"
  ) | timeout -k 1 "$((limit / 1000 + 2))" head -c "$((MAX_BYTES + 1))" >"$2"
  ended=("${PIPESTATUS[@]}")
  set -e
  took_to "$began" us
  number_to rc "${ended[0]}" 127
  number_to size "$(stat -c %s -- "$2")" 0
  if [ ! -s "$2.begun" ] || ((rc == 126 || rc == 127)); then
    no_answer 103 "$(head -c 300 -- "$2" | tr -c '[:print:]' ' ')"
  elif ((size > MAX_BYTES)); then
    no_answer 63 ''
  elif [ "${ended[1]}" != 0 ]; then
    no_answer 28 'something that it began keeps its output open'
  elif ((us >= limit * 1000)); then
    no_answer 28 ''
  else
    printf '%03d%s' "$rc" "${US}0$US$took${US}0$US$size$US$US$US"
  fi
}

# Each unit's state, and what changes whenever its process does.
sample_units() {
  local unit
  show_units
  [ -z "$silent" ] || return 0
  identity=''
  for unit in "${UNITS[@]}"; do
    unit_state[$unit]="${value["$unit ActiveState"]:-} ${value["$unit SubState"]:-}"
    # Of whom nobody answers it is not known that they are others.
    [ "${value["$unit ActiveState"]:-}" = unknown ] && [ -n "${unit_identity[$unit]:-}" ] ||
      unit_identity[$unit]="${value["$unit MainPID"]:-0} ${value["$unit InvocationID"]:--} ${value["$unit NRestarts"]:-0}"
    identity+="$unit ${unit_state[$unit]} ${unit_identity[$unit]}"$'\n'
  done
}

# What an answer of each endpoint must hold: a text into `contains`, keys and values into `wants`; some of the values are
# in files of the running system.
read_wants() {
  local name given keys key value word texts
  while IFS=$US read -r name _ _ _ _ _ _ given _ _ keys _; do
    endpoints=$((endpoints + 1)) contains[$name]=${given%%"$RS"*} wants[$name]='' texts=''
    [[ $given == *"$RS"* ]] || given+=$RS
    while IFS= read -r -d "$RS" key && IFS= read -r -d "$RS" value; do
      wants[$name]+="want"$'\t'"$key"$'\t'"$value"$'\n'
    done <<<"${given#*"$RS"}$RS"
    while IFS= read -r -d "$RS" key && IFS= read -r -d "$RS" value; do
      word=''
      { IFS= read -r word <"/run/current-system/$value"; } 2>/dev/null || true
      # Another word would have to be spelled as JSON; what the system does not say, nobody can wait for.
      [[ $word =~ ^[A-Za-z0-9@._+:/=-]{1,200}$ ]] || continue
      wants[$name]+="want"$'\t'"$key"$'\t'"\"$word\""$'\n' texts+="$value $word"$'\n'
    done <<<"$keys$RS"
    [ -z "$texts" ] || say "due.$name" "$texts"
  done <<<"$ENDPOINTS"
}

# Whether bodies are JSON objects with the wanted keys and values: lines of a body's name and file, its wants, and `judge`
# → the names of the good ones. Only decides when to stop waiting; the checks read every body themselves.
judge_json() {
  awk -F '\t' '
    function unhex(s,   n, i) {
      n = 0
      for (i = 1; i <= length(s); i++) n = 16 * n + index("0123456789abcdef", tolower(substr(s, i, 1))) - 1
      return n
    }
    function utf8(n) {
      if (n == 0) return "\\u0000"
      if (n < 128) return sprintf("%c", n)
      if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
      if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
      return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
    }
    function decode(s,   out, at, c, n, low) {
      out = ""
      while (at = index(s, "\\")) {
        out = out substr(s, 1, at - 1)
        c = substr(s, at + 1, 1)
        if (c != "u") {
          n = index("bfnrt", c)
          out = out (n ? substr("\b\f\n\r\t", n, 1) : c)
          s = substr(s, at + 2)
          continue
        }
        n = unhex(substr(s, at + 2, 4))
        s = substr(s, at + 6)
        low = substr(s, 1, 2) == "\\u" ? unhex(substr(s, 3, 4)) : 0
        if (n >= 55296 && n < 56320 && low >= 56320 && low < 57344) {
          n = 65536 + (n - 55296) * 1024 + low - 56320
          s = substr(s, 7)
        }
        out = out utf8(n)
      }
      return out s
    }
    function commit() {
      if (after_colon) {
        count[key]++
        value[key] = literal != "" ? "literal " literal : token
      }
      after_colon = 0
      token = literal = ""
    }
    function outside(seg,   j, c) {
      gsub(/[ \t\r\n]/, "", seg)
      for (j = 1; j <= length(seg); j++) {
        c = substr(seg, j, 1)
        if (c == "{" || c == "[") {
          if (depth == 0 && (c == "[" || objects++)) bad = 1
          if (depth++ == 1) token = "container"
        } else if (c == "}" || c == "]") {
          if (depth-- == 1) commit()
        } else if (depth == 1 && c == ":") {
          key = token
          token = literal = ""
          after_colon = 1
        } else if (depth == 1 && c == ",") commit()
        else if (depth == 0) bad = 1
        else if (depth == 1 && length(literal) < 400) literal = literal c
      }
    }
    function read_object(body,   n, i, j, inside, text) {
      split("", count)
      split("", value)
      bad = objects = depth = after_colon = inside = 0
      key = token = literal = text = ""
      n = split(body, part, "\"")
      for (i = 1; i <= n; i++) {
        if (!inside) {
          outside(part[i])
          inside = 1
          text = ""
          continue
        }
        # A longer text is none of the wanted ones, however it is spelled.
        if (depth == 1 && length(text) <= longest) text = text part[i]
        for (j = length(part[i]); j && substr(part[i], j, 1) == "\\"; j--);
        if ((length(part[i]) - j) % 2) {
          if (length(text) <= longest) text = text "\""
          continue
        }
        if (depth == 1) token = length(text) <= longest ? "text " decode(text) : "long"
        inside = 0
      }
      return !bad && objects == 1 && depth == 0 && inside
    }
    function matches(seen, want) {
      if (want ~ /^"/) return seen == "text " decode(substr(want, 2, length(want) - 2))
      if (want ~ /^[tf]/) return seen == "literal " want
      sub(/^literal /, "", seen)
      if (seen !~ /^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$/ || (seen ~ /[.eE]/) != (want ~ /[.eE]/)) return 0
      return want ~ /[.eE]/ ? seen + 0 == want + 0 : (seen == "-0" ? "0" : seen) == want
    }
    $1 == "file" { name = $2; file = $3; wanted = longest = 0; next }
    $1 == "want" {
      keys[++wanted] = "text " decode(substr($2, 2, length($2) - 2))
      values[wanted] = $3
      if (longest < 12 * length($2) + 64) longest = 12 * length($2) + 64
      if (longest < 12 * length($3) + 64) longest = 12 * length($3) + 64
      next
    }
    $1 == "judge" {
      RS = "\001"
      body = more = ""
      getline body < file
      good = (getline more < file) <= 0 && read_object(body)
      close(file)
      RS = "\n"
      for (i = 1; i <= wanted; i++) good = good && count[keys[i]] == 1 && matches(value[keys[i]], values[i])
      if (good) print name
    }'
}

# Take what came of asking an endpoint: its facts, its body and the number under which that is kept.
take_answer() {
  local name=$1 fd=$2 file="$SCRATCH/$1.$asks" line status='' fresh=yes code connect total rc size ip port words text pid unit
  IFS=$US read -r code connect total rc size ip port words <&"$fd" || true
  exec {fd}<&-
  [[ "$code $connect $total $rc $size" =~ ^[0-9]{3}\ [0-9.]+\ [0-9.]+\ [0-9]{1,3}\ [0-9]{1,9}$ ]] || {
    code=000 connect=0 total=0 rc=2 size=0 ip='' port='' words='curl ended without a word'
  }
  # The status line of the last answer: those before it are interim ones.
  while IFS= read -r line; do
    line=${line%$'\r'}
    if [ -z "$line" ]; then fresh=yes; elif [ -n "$fresh" ]; then status=$line fresh=''; fi
  done 2>/dev/null <"$file.head" || true
  if [ "$rc:${kind[$name]}" = 0:tcp ]; then
    for pid in $words; do
      name_group "${pid#*:}"
      if [ "$unit" != "${listener[$name]}" ]; then rc=102 words="process ${pid%%:*} of $unit"; break; fi
    done
    [ "$rc" != 0 ] || words=''
  elif [ "$rc" = 0 ] && [ "${kind[$name]}" != exec ] && ! [[ $status =~ ^HTTP/[0-9](\.[0-9])?\ ([0-9]{3})(\ .*)?$ && ${BASH_REMATCH[2]} == "$code" ]]; then
    status=${status//[^[:print:]]/?}
    rc=8 words="its status line is '${status:0:100}'"
  fi
  text='' odd[$name]=''
  if { IFS= read -r -d '' text <"$file"; } 2>/dev/null; then odd[$name]=yes; fi # it has a NUL byte
  reply[$name]=$text body[$name]=- status_of[$name]="$code $rc"
  [ "$rc" != 0 ] || keep_body "$name" "$size"
  [[ $ip != *:* ]] || ip="[$ip]"
  [ -n "$ip" ] && [ -n "$port" ] && ip+=:$port || ip=-
  how[$name]="code $code"
  [ "$rc" = 0 ] || how[$name]="no answer, $rc${words:+: $words}"
  facts[$name]="$code $connect $total $rc ${body[$name]} $ip $words"
}

# Keep a body until it is sent, unless the same one is kept already; of too many bytes the latest.
keep_body() {
  local name=$1 known="$1 ${reply[$1]}" number total size
  number=${same[$known]:-none}
  if [ -z "${odd[$name]}" ] && [[ " ${kept[$name]:-} " == *" $number "* ]]; then body[$name]=$number; return; fi
  body[$name]=$asks same[$known]=$asks size_of[$name.$asks]=$2
  kept[$name]+=" $asks"
  number_to size "$2" 0
  number_to total "${held[$name]:-0}" 0
  total=$((total + size))
  for number in ${kept[$name]}; do
    if [ "$number" = "$asks" ]; then break; fi
    if [ -n "${contains[$name]}${wants[$name]}" ] && ((total * endpoints <= BODY_BYTES)); then break; fi
    : >"$SCRATCH/$name.$number"
    number_to size "${size_of[$name.$number]}" 0
    total=$((total - size)) kept[$name]=${kept[$name]#" $number"}
  done
  held[$name]=$total
}

# Ask every endpoint at the same time; `good[name]` says whether its answer is the wanted one.
sample_answers() {
  local name unit question want fd container task=''
  local -A asked facts status_of odd body kind listener
  asks=$((asks + 1))
  while IFS=$US read -r name _ _ unit question _ _ _ _ _ _ container; do
    : >"$SCRATCH/$name.$asks"
    kind[$name]=${question%%"$RS"*} listener[$name]=$unit
    exec {fd}< <(ask_endpoint "$question" "$container" "${contains[$name]}" "$SCRATCH/$name.$asks")
    asked[$name]=$fd
  done <<<"$ENDPOINTS"
  while IFS=$US read -r name _ _ _ _ want _; do
    take_answer "$name" "${asked[$name]}"
    good[$name]=''
    [ "${status_of[$name]}" = "$want 0" ] || continue
    [[ ${reply[$name]} == *"${contains[$name]}"* ]] || { [ -n "${odd[$name]}" ] && grep -qaF -- "${contains[$name]}" "$SCRATCH/$name.$asks"; } || continue
    if [ -z "${wants[$name]}" ]; then good[$name]=yes; continue; fi
    [ -n "${odd[$name]}" ] || task+="file"$'\t'"$name"$'\t'"$SCRATCH/$name.$asks"$'\n'"${wants[$name]}judge"$'\n'
  done <<<"$ENDPOINTS"
  [ -z "$task" ] || while read -r name; do good[$name]=yes; done < <(judge_json <<<"$task")
  while IFS=$US read -r name _; do
    series+="$now $name ${good[$name]:-no} ${facts[$name]}"$'\n'
  done <<<"$ENDPOINTS"
}

# What is wrong with an endpoint at this moment, if anything; `key` gets the identity of its units, `life` that
# which no moment between two processes changes; `up` gets the same as `key` if every unit is active.
judge_endpoint() {
  local name=$1 unit
  shift
  key='' life='' up=yes problem[$name]=''
  [ -n "${good[$name]:-}" ] || problem[$name]="its answer is not the wanted one (${how[$name]:-never asked}): ${reply[$name]:0:200}"
  for unit in "$@"; do
    key+="$unit ${unit_identity[$unit]:-} "
    life+="${value["$unit InvocationID"]:-} "
    [[ ${unit_state[$unit]:-} == active\ * ]] || up='' problem[$name]="$unit is ${unit_state[$unit]:-not there}"
    [[ ${unit_state[$unit]:-} != failed\ * ]] || key+='failed '
  done
  up=${up:+$key}
}

note_identity() {
  [ "$identity" = "$last_identity" ] || changes+="at $1"$'\n'"$identity"
  last_identity=$identity
}

# An endpoint that restarted after it had been good is settled when one can tell what became of it: it is healthy
# again, restarted once more, or has not been good for READY_S.
settle_restarted() {
  local name=$1
  if [ -z "${again[$name]:-}" ]; then again[$name]=$now row[$name]=0 since[$name]=''; fi
  [ "$life" = "${latest[$name]}" ] || lives[$name]=$((${lives[$name]:-1} + 1))
  latest[$name]=$life
  if ((${lives[$name]:-1} > 2)) || gone_by "$READY_S" "${again[$name]}" ||
    { ((${row[$name]} >= ANSWERS)) && gone_by "$SOAK_S" "${since[$name]}"; }; then settled[$name]=restarted; fi
  problem[$name]="it restarted after it had been healthy"
}

# Ask until every endpoint is settled: good ANSWERS times in a row over SOAK_S as the same processes; or restarted
# after it had been good, failed for good, or not good in READY_S. A settled one is asked on while others are not.
watch_endpoints() {
  local began now bad name units unit key life up identity='' last_identity='' series='' changes=''
  local -a list; local -A how contains wants same size_of kept held unit_state unit_identity reply good first since row failing settled again latest lives earlier
  declare -gA problem=()
  local moment=$EPOCHSECONDS asks=0 endpoints=0 silences=0 idle
  make_scratch
  exec {idle}<> <(:) # waiting for what never comes costs no process
  uptime_to began
  read_wants
  sample_units
  [ -n "$silent" ] || note_identity "$began"
  while IFS=$US read -r name units _; do
    IFS=$RS read -r -a list <<<"$units"
    reply[$name]=''
    judge_endpoint "$name" "${list[@]}"
    earlier[$name]=$up
  done <<<"$ENDPOINTS"
  while :; do
    bad=''
    uptime_to now
    sample_answers
    sample_units
    # Of whom nobody answers nothing is known: neither that they are others, nor that they are good.
    if [ -n "$silent" ]; then
      silences=$((silences + 1))
      ((silences < 2)) || { for name in "${!reply[@]}"; do : "${settled[$name]:=unknown}"; done; break; }
      continue
    fi
    silences=0
    note_identity "$now"
    while IFS=$US read -r name units _; do
      IFS=$RS read -r -a list <<<"$units"
      judge_endpoint "$name" "${list[@]}"
      if [[ $key == *' failed '* ]]; then failing[$name]=$((${failing[$name]:-0} + 1)); else failing[$name]=0; fi
      # Whoever answered the very first question was there before it; later it may be who replaced a bad one.
      [ -z "${good[$name]}" ] || : "${first[$name]:=${earlier[$name]:-$key}}" "${latest[$name]:=$life}"
      earlier[$name]=''
      if [ -n "${problem[$name]}" ]; then row[$name]=0 since[$name]=''; else
        row[$name]=$((${row[$name]:-0} + 1)) since[$name]=${since[$name]:-$now}
      fi
      if [ "${settled[$name]:-}" = restarted ] || [ "${first[$name]:-$key}" != "$key" ]; then
        settle_restarted "$name"
      elif [ -n "${problem[$name]}" ]; then
        settled[$name]=''
        ((${failing[$name]} < 6)) || settled[$name]='unit-failed'
        ! gone_by "$READY_S" "$began" || settled[$name]=unhealthy
      else
        ((${row[$name]} < ANSWERS)) || ! gone_by "$SOAK_S" "${since[$name]}" || settled[$name]=healthy
      fi
      [ -n "${settled[$name]:-}" ] || bad+=" $name"
    done <<<"$ENDPOINTS"
    [ -n "$bad" ] || break
    read -r -t "$INTERVAL_S" -u "$idle" _ || true
  done
  exec {idle}<&-
  uptime_to now
  say watch.settled "$(for name in "${!settled[@]}"; do printf '%s %s\n' "$name" "${settled[$name]}"; done)"
  say watch.began "$began"
  say watch.ended "$now"
  say watch.series "$series"
  say watch.units "$changes"
  say_bodies
  look_behind
}

# The bodies that answers of the watch name: endpoint, number and bytes of each, then all of them in turn.
say_bodies() {
  local name number rows=''; local -a files=()
  for name in "${!kept[@]}"; do
    for number in ${kept[$name]}; do
      rows+="$name $number ${size_of[$name.$number]}"$'\n'
      files+=("$SCRATCH/$name.$number")
    done
  done
  say watch.bodies "$rows"
  say watch.body-bytes "$([ -z "$rows" ] || cat -- "${files[@]}" | base64 -w0)"
}

# What is behind the endpoints that are not healthy: the workloads' own answers, all asked at once, and their machines.
look_behind() {
  local name backend machine fd listener container; local -A asked=()
  while IFS=$US read -r name _ _ _ _ _ backend _; do
    if [ -z "$backend" ] || [ -n "${good[$name]}" ]; then continue; fi
    exec {fd}< <(ask "$backend" '' '' '' | head -c "$((MAX_BYTES + 1024))")
    asked[$name]=$fd
  done <<<"$ENDPOINTS"
  for name in "${!asked[@]}"; do
    fd=${asked[$name]}
    say "backend.$name" "$(cat <&"$fd")"
    exec {fd}<&-
  done
  while IFS=$US read -r name _ _ listener _ _ backend _ _ machine _ container; do
    [ "${settled[$name]}" != healthy ] || continue
    [ -z "$machine" ] || say_machine "$name" "$machine" "$backend" "$((moment - 60))"
    [ -z "$container" ] || say_container "$name" "$container" "$listener" "$((moment - 60))"
  done <<<"$ENDPOINTS"
}

# ---- the virtual machine behind a workload --------------------------------------------------------------------

# What a machine's monitor says of it, or why it says nothing. curl is what every host has that reaches such a socket;
# it would go on listening after QEMU's answer, so only the answer is waited for.
ask_monitor() {
  local socket=${1#*:} fd line text=''
  if [ ! -S "$socket" ]; then echo absent; return; fi
  case $1 in
    qmp:*)
      exec {fd}< <(printf '%s\r\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status"}' |
        exec curl -q -sS --no-buffer --max-time 2 --unix-socket "$socket" telnet://localhost 2>/dev/null)
      while IFS= read -r -t 3 line <&"$fd"; do
        text+=$line
        [[ $line != *'"running"'* ]] || break
      done
      exec {fd}<&-
      ;;
    *) text=$(curl -q -sS --max-time 2 --unix-socket "$socket" http://localhost/api/v1/vm.info 2>/dev/null) || true ;;
  esac
  if [[ $text =~ \"(status|state)\":\ *\"([A-Za-z-]+)\" ]]; then echo "${BASH_REMATCH[2],,}"; else echo silent; fi
}

link_fact() { cat "/sys/class/net/$1/$2" 2>/dev/null || echo unknown; }

# A machine's process, monitor and network, as the host sees them at this moment.
machine_facts() {
  local unit tap monitor pid address=${2#*://} master
  IFS=$RS read -r unit tap _ monitor <<<"$1"
  number_to pid "${value["$unit MainPID"]:-}" 0
  ! ((pid)) || printf 'process %s\n' "$(ps -o pid=,stat=,etimes=,wchan= -p "$pid" || true)"
  [ -z "$monitor" ] || printf 'monitor %s\n' "$(ask_monitor "$monitor")"
  if [ -n "$tap" ] && [ ! -e "/sys/class/net/$tap" ]; then
    echo 'tap absent'
  elif [ -n "$tap" ]; then
    master=$(readlink "/sys/class/net/$tap/master" || true)
    printf 'tap %s %s %s\n' "$(link_fact "$tap" operstate)" "$(link_fact "$tap" carrier)" "${master##*/}"
  fi
  [ -z "$2" ] || printf 'neighbour %s\n' "$(ip neighbour show to "${address%%[:/]*}" 2>/dev/null | awk 'NR == 1 { print $NF }')"
}

say_machine() {
  local name=$1 unit=${2%%"$RS"*}
  say "machine.$name" "$(machine_facts "$2" "$3")"
  say "systemd.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="$unit" 2>/dev/null | tail_of 16384)"
  say "console.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" -n 60 _SYSTEMD_UNIT="$unit" 2>/dev/null | tail_of 8192)"
}

# ---- the container that a workload is in ----------------------------------------------------------------------

# The process that is a unit's main one inside a container, by its number here.
main_inside() {
  local main file pid
  number_to main "${value["$1 MainPID"]:-}" 0
  ! ((main)) || for file in /sys/fs/cgroup{,/systemd}"${value["$1 ControlGroup"]}"/cgroup.procs; do
    while read -r pid; do
      ! grep -qs "^NSpid:.*[[:space:]]$main\$" "/proc/$pid/status" || { echo "$pid"; return; }
    done 2>/dev/null <"$file" || true
  done
}

# A container, its systemd, its network, and the unit inside, as the host sees them at this moment.
container_facts() {
  local leader=${LEADER[$1]:-} pid
  if [ -z "$leader" ]; then echo 'leader none'; return; fi
  printf 'leader %s\n' "$(ps -o pid=,stat=,etimes=,wchan= -p "$leader" || true)"
  if [ "${value["$2 ActiveState"]:-}" = unknown ]; then echo 'systemd silent'; else echo 'systemd answers'; fi
  pid=$(main_inside "$2")
  [ -z "$pid" ] || printf 'process %s\n' "$(ps -o pid=,stat=,etimes=,wchan= -p "$pid" || true)"
  printf 'network %s\n' "$(nsenter -t "$leader" -n -- ip -o link show lo 2>/dev/null | grep -o '[<,]UP[,>]' | tr -d '<,>' || true)"
}

say_container() {
  local name=$1 container=$2 unit=$3
  say "container.$name" "$(container_facts "$container" "$unit")"
  say "outside.$name" "$(journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="$container" 2>/dev/null | tail_of 16384)"
  say "inside.$name" "$([[ $unit != */* ]] || inside "${unit%%/*}" \
    journalctl -q --no-pager -o short-unix --since "@$4" _PID=1 UNIT="${unit#*/}" 2>/dev/null | tail_of 16384)"
}

# What a person on call would look at inside; with nobody to ask, what is known from outside.
diagnose_container() {
  local name=$1 container=$2 unit=$3 leader=${LEADER[$2]:-}
  say "container/$name.facts" "$(container_facts "$container" "$unit")"
  say "container/$name.console" "$(journalctl -q --no-pager -o short-iso-precise -n 200 _SYSTEMD_UNIT="$container" 2>&1 | tail_of 65536)"
  [ -n "$leader" ] || return 0
  say "container/$name.sockets" "$(nsenter -t "$leader" -n -- ss -tunap 2>&1 | tail_of 65536)"
  say "container/$name.network" "$(nsenter -t "$leader" -n -- ip -s address show 2>&1 | tail_of 65536)"
  if [[ $unit != */* || ${value["$unit ActiveState"]:-} == unknown ]]; then return; fi
  say "container/$name.units" "$(inside "${unit%%/*}" systemctl list-units --all --no-pager --full 2>&1 | tail_of 65536)"
}

# Whether a line that is written to the journal now comes back from it; entries of old prove nothing.
journal_works() {
  local nonce began
  nonce="switchproof-$(</proc/sys/kernel/random/uuid)"
  timeout 5 systemd-cat -t switchproof echo "$nonce" 2>/dev/null || return
  uptime_to began
  until [ -n "$(timeout 5 journalctl -q --no-pager -o cat -n 1 -t switchproof MESSAGE="$nonce" 2>/dev/null)" ]; do
    ! gone_by 10 "$began" || return
    sleep 0.2
  done
}

# Show that unit states, logs and sockets could be emitted if something failed.
say_diagnosable() {
  local unit line fd text told='' name listener backend machine container; local -A journals size=()
  for unit in "${UNITS[@]}"; do
    # The dot says that journalctl ended well.
    exec {fd}< <(about "$unit" journalctl -q --no-pager -n 5 -u 2>/dev/null && printf .)
    journals[$unit]=$fd
  done
  # The part of a unit begins with the dot of its state and its name; the lines that follow are indented.
  unit='?'
  while IFS= read -r line; do
    if [[ $line =~ ^[^[:blank:]]+\ ([^[:blank:]]+)(\ -\ |$) || $line =~ ^Unit\ (.+)\ could\ not\ be\ found ]]; then unit=${BASH_REMATCH[1]}; fi
    size[$unit]=$((${size[$unit]:-0} + ${#line} + 1))
  done < <(systemctl status --no-pager -n 0 -- "${HOST_UNITS[@]}" 2>&1)
  for unit in "${UNITS[@]}"; do
    [[ $unit == */* ]] || continue
    text=$(about "$unit" systemctl status --no-pager -n 0 -- 2>/dev/null || true)
    size[$unit]=$((${#text}))
  done
  for unit in "${UNITS[@]}"; do
    told+="systemctl $unit ${size[$unit]:-0}"$'\n'
    fd=${journals[$unit]} text=''
    IFS= read -r -d '' text <&"$fd" || true
    exec {fd}<&-
    [[ $text != *. ]] || told+="journalctl $unit $((${#text} - 1))"$'\n'
  done
  while IFS=$US read -r name _ _ listener _ _ backend _ _ machine _ container; do
    if [ -n "$machine" ]; then
      text=$(machine_facts "$machine" "$backend")
      told+="machine $name ${#text}"$'\n'
    fi
    if [ -z "$container" ] || [ -z "${LEADER[$container]}" ]; then continue; fi
    text=$(container_facts "$container" "$listener")
    told+="container $name ${#text}"$'\n'
  done <<<"$ENDPOINTS"
  [ -z "$sockets" ] || told+="ss sockets ${#sockets}"$'\n'
  ! journal_works || told+="journald line 1"
  say diagnosable "${told%$'\n'}"
}

verb_observe() {
  refresh_lease
  watch_endpoints
  say_system
  say_processes
  say_listeners
  say_boot
  say_pending
  say_diagnosable
}

# A unit's journal since a time; where it said nothing since, its last words before.
journal_since() {
  local text
  text=$(about "$2" journalctl -q --no-pager -o short-iso-precise --since "@$1" -u | tail_of 262144) || return 0
  if [ -z "$text" ]; then
    text="[nothing since the deploy began; before that:]
$(about "$2" journalctl -q --no-pager -o short-iso-precise -n 20 -u | tail_of 65536)" || return 0
  fi
  printf '%s' "$text"
}

# The machine behind a workload: what the host sees of it, its own words, and the way to it.
diagnose_machine() {
  local name=$1 unit tap bridge link
  IFS=$RS read -r unit tap bridge _ <<<"$2"
  say "machine/$name.facts" "$(machine_facts "$2" "$3")"
  [ -z "$3" ] || say "machine/$name.answer" "$3"$'\n'"$(ANSWER_TIMEOUT_S=2 && ask "$3" | head -c "$((MAX_BYTES + 1024))")"
  say "machine/$name.console" "$(journalctl -q --no-pager -o short-iso-precise -n 200 _SYSTEMD_UNIT="$unit" 2>&1 | tail_of 65536)"
  say "machine/$name.network" "$({
    for link in $tap $bridge; do ip -s address show dev "$link"; done
    [ -z "$bridge" ] || ip link show master "$bridge"
    ip neighbour show
  } 2>&1 | tail_of 65536)"
}

verb_diagnose() {
  local unit began name inside command listener backend machine container number=0
  refresh_lease
  number_to began "$(section "$STATE/runs/$RUN/before" began)" "$((EPOCHSECONDS - 3600))"
  show_units
  while read -r unit; do
    say "status/$unit" "$(about "$unit" systemctl status --no-pager --full -n 20 -- 2>&1 | tail_of 65536)"
    say "show/$unit" "$(about "$unit" systemctl show -- 2>&1 | tail_of 65536)"
    say "journal/$unit" "$(journal_since "$began" "$unit")"
  done < <({ contract_units; failed_units; } | awk '!seen[$0]++')
  say sockets "$({
    ss -tunap
    for name in "${!LEADER[@]}"; do
      printf '\n%s:\n' "$name"
      [ -z "${LEADER[$name]}" ] || nsenter -t "${LEADER[$name]}" -n -- ss -tunap
    done
  } 2>&1 | tail_of 131072)"
  ! journal_works || say journald "a line that was written now came back from the journal"
  say failed-units "$(systemctl list-units --failed --no-pager --full 2>&1 | tail_of 65536)"
  say switch-journal "$(journalctl -q --no-pager -o short-iso-precise --since "@$began" -t nixos 2>&1 | tail_of 65536)"
  say generations "$(find "${PROFILE%/*}" /run/current-system /run/booted-system -maxdepth 1 -printf '%p -> %l, %t\n' 2>&1 | sort | tail_of 65536)"
  say disk "$(df -h 2>&1; df -i / /nix 2>&1)"
  say memory "$(cat /proc/meminfo /proc/loadavg 2>&1)"
  say kernel "$(dmesg --color=never -T 2>&1 | tail -n 100 | tail_of 65536)"
  while IFS=$US read -r name _ _ listener _ _ backend _ inside machine _ container; do
    [ -z "$machine" ] || diagnose_machine "$name" "$machine" "$backend"
    [ -z "$container" ] || diagnose_container "$name" "$container" "$listener"
    while IFS= read -r -d "$RS" command; do
      [ -n "$command" ] || continue
      number=$((number + 1))
      say "inside/$name.$number" "\$ $command"$'\n'"$(timeout 10 bash -c "$command" 2>&1 </dev/null | tail_of 65536)"
    done <<<"$inside$RS"
  done <<<"$ENDPOINTS"
}

# The run is over: whoever comes next may have the host. With SWITCHPROOF_KEEP it keeps the system that the run
# switched to: with 1 that very system, which passed every check; with anything else whatever became of it.
verb_confirm() {
  if [ ! -d "$RUN_DIR" ]; then refuse foreign "this host knows no run $RUN"; return; fi
  guarded conclude || { [ -n "${said[outcome]:-}" ] || refuse busy "${unguarded:-the run could not be ended}"; }
}

conclude() {
  local keep=${SWITCHPROOF_KEEP:-} job outcome=ok detail=''
  job=$(jobs_at_work | head -n1)
  if [ -z "$job" ] && ! find_activation; then job='perhaps a switch, as systemd does not answer,'; fi
  job=${job:-$activating}
  if [ -n "$job" ]; then refuse busy "$job is still at work; the lock stays"; return; fi
  judge
  if [ "$outcome" = ok ] && [ -n "$keep" ]; then keep_system; fi
  [ "$keep" != 1 ] || say_boot
  [ "$outcome" != ok ] || disarm_own
  case $outcome:$keep in ok:* | late: | pending:) end_run ;; esac
  say outcome "$outcome"
  [ -z "$detail" ] || say detail "$detail"
}

# What a confirmation means in the state that the host is in.
judge() {
  local by dir; by=$(decided by) dir="$RUN_DIR/$(armed)"
  if [ "$by" = confirm ]; then
    return
  elif [ "$by" = guard ]; then
    outcome=late detail="the host goes back by itself since $(decided at): $(decided why)"
    [ ! -e "$dir/returned" ] || detail="the host went back by itself at $(decided at), with exit status $(field "$dir/returned" rc): $(decided why)"
  elif [ "$by" = rollback ]; then
    [ -z "$keep" ] || { outcome=late detail="the run itself went back at $(decided at)"; }
  elif [ "$(pending run)" != "$RUN" ]; then
    [ -z "$keep" ] || [ -z "$(armed)$(pending run)" ] || { outcome=foreign detail="another run has taken the host over"; }
  elif [ -n "$keep" ] && rebooted; then
    outcome=booted detail='the host was rebooted before it was confirmed, and goes back by itself'
  elif [ "$keep" = 1 ] && [ "$(toplevel)" != "$(pending expected)" ]; then
    outcome=foreign detail="the host runs $(toplevel), not $(pending expected)"
  elif [ -z "$keep" ] && { [ "$(toplevel) $(readlink -e "$PROFILE")" != "$(pending to) $(profile_for "$(pending to)")" ] || ! as_before; }; then
    outcome=pending detail="nobody confirmed $(pending expected); the host goes back by itself"
  fi
}

# First what boots, then the decision: after a loss of power in between, the host is unconfirmed and goes back.
keep_system() {
  local new words='' rc=0; new=$(pending expected)
  if [ "$(pending run)" = "$RUN" ] && [ -z "$(decided by)" ]; then
    if [ "$(toplevel)" = "$new" ]; then words=$(call_switch "$new" boot 2>&1) || rc=$?; fi
    if [ "$rc" = 11 ]; then outcome=busy detail="another switch holds the host: $words"; return; fi
    if [ "$rc" != 0 ] || ! decide confirm ''; then
      outcome=unbootable detail="$new could not be made the boot default, or the confirmation could not be written: $words"
      boot_earlier >&2
      return
    fi
  fi
  rm -f "$STATE/returned"
}

# What the run kept is kept, for the newest twenty runs.
end_run() {
  local job old
  for job in $(jobs); do drop_unit "$(job_unit "$job")"; done
  printf '%s\n' "${SWITCHPROOF_OUTCOME:-}" >"$RUN_DIR/outcome"
  release
  [ -e "$PENDING" ] || rm -rf -- "${ROOTS:?}/$RUN"
  while read -r old; do [ -e "/nix/store/$old" ] || rm -rf -- "${BELONGS:?}/$old"; done < <(ls "$BELONGS" 2>/dev/null)
  while read -r old; do rm -rf -- "${STATE:?}/runs/$old"; done < <(
    find "$STATE/runs" -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' | sort -rn | tail -n +21 | cut -d' ' -f2-)
}

job_plan() {
  local dir top; dir=$(job_dir)
  stage build
  "${NIX[@]}" build --print-build-logs --out-link "$dir/system" "$(flake "$(toplevel_attr)")" || return
  top=$(readlink -e "$dir/system")
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

# ---- for a person on the host ---------------------------------------------------------------------------------

row() { printf '%-12s %s\n' "$1" "$2"; }

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
  local top profile run left ends_in; top=$(toplevel) profile=$(readlink -e "$PROFILE" || true)
  row runs "$top ($(commit_of "$top"))"
  row profile "$([ "$profile" = "$top" ] && echo 'the same' || echo "$profile, which is not what runs"), generation $(generation || true)"
  lease_left
  row lock "$([ -e "$LOCK" ] && echo "$(held_by owner), run $(held_by run), since $(held_by since); it ends in $ends_in s unless that goes on" || echo free)"
  run=$(pending run)
  seconds_left
  row unconfirmed "${run:-nothing}${run:+: goes back to $(pending to) ${left:+in $left s }unless it is confirmed}"
  for run in $(find "$STATE/runs" -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' 2>/dev/null | sort -rn | sed -n '1,5s/^[^ ]* //p'); do
    row run "$run: $(cat "$STATE/runs/$run/outcome" 2>/dev/null || echo 'not ended')"
  done
  [ -n "${SWITCHPROOF_RUN:-}" ] || return 0
  row "$JOB" "${said[state]}${said[stage]:+, stage ${said[stage]}}${said[rc]:+, exit status ${said[rc]}}; log: $(job_dir)/log"
}

tell_generations() {
  local number top here current commit made
  row "${said[outcome]}" "${said[detail]:-}"
  while IFS=$US read -r number top here current commit made; do
    [ -n "$number" ] || continue
    number_to made "$made" 0
    printf '%5s  %s  %-40s  %s%s%s\n' "$number" "$(date -u -d "@$made" +%Y-%m-%dT%H:%MZ)" "${commit:-commit unknown}" "$top" \
      "$([ "$current" != yes ] || echo '  (current)')" "$([ "$here" = yes ] || echo '  (gone)')"
  done <<<"${said[generations]:-}"
  row 'ran before' "${said[earlier]:-unknown}"
}

tell_observation() {
  local name
  row runs "${said[system.running]:-} (${said[system.revision]:-commit not said})"
  row profile "${said[system.profile]:-}"
  while IFS=$US read -r name _; do
    row "$name" "$(sed -n "s/^$name //p" <<<"${said[watch.settled]:-}")${problem[$name]:+: ${problem[$name]}}"
  done <<<"$ENDPOINTS"
  row failed "${said[units.failed]:-none}"
}

tell_plan() {
  row "${said[outcome]}" "${said[detail]:-${said[expected]:+$(job_dir)/log}}"
  printf '%s\n' "${said[closure]:-}" "${said[units]:-}"
}


clause() { printf '%-12s %-7s %s\n' "$1" "$2" "$3" | printable; }

follow() {
  local dir seen=0 size; dir=$(job_dir)
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
  local expected; expected=$(cat "$(job_dir)/expected" 2>/dev/null || true)
  local rc; rc=$(cat "$(job_dir)/rc" 2>/dev/null || echo unknown)
  if [ -e "$(job_dir)/restored" ]; then echo "it needs a reboot; nothing was switched, and profile and boot default are as before"; return 1; fi
  if [ "$rc" != 0 ] && [ "$rc" != 4 ]; then echo "the $(cat "$(job_dir)/stage" 2>/dev/null || echo start) ended with $rc; see $(job_dir)/log"; return 1; fi
  if [ -s "$(job_dir)/boot-problem" ]; then cat "$(job_dir)/boot-problem"; return 1; fi
  if [ -z "$expected" ] || [ "${said[system.running]}" != "$expected" ] || [ "${said[system.profile]}" != "$expected" ]; then
    echo "expected ${expected:-a system}, running ${said[system.running]}, profile ${said[system.profile]}"; return 1
  fi
  local new look
  if [ "$rc" = 4 ]; then
    new=$(units_named_failed "$(job_dir)/log")
    if [ -z "$new" ]; then echo "the switch ended with 4, and names no unit that failed; see $(job_dir)/log"; return 1; fi
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
    told=$(awk -F"$US" -v name="$name" '$1 == name { path = $2 } END { print path }' "$(job_dir)/realised" 2>/dev/null || true)
    # What nobody gave and no unit runs may be there.
    if [ -z "$told" ] && ! { [ "$state" = store ] && grep -qF -- "=$(store_root "$target")" <<<"${said[processes]}"; }; then
      continue
    fi
    if [ "$state" != store ] || { [ -n "$told" ] && [ "$target" != "$told/$file" ]; }; then
      echo "$name: ${told:-a store path} is not what is installed, but ${target:-what no store path is known of}"
      return
    fi
    if [ "$belongs" != "$(store_root "$target")" ]; then
      echo "$name: $target is installed, and whether it belongs to this system is not known; give ${name^^}_STORE_PATH"
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
    [ "${value["$unit LoadState"]:-}" = loaded ] || { echo "$unit is ${value["$unit LoadState"]:-of an unknown load state}, and runs all the same"; return; }
    [ "${value["$unit NeedDaemonReload"]:-}" != yes ] || { echo "systemd has not read the present files of $unit"; return; }
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
    if [[ $commit =~ ^[0-9a-f]{40}$ && $commit != "$named"* ]]; then echo "the running system says that it is of $named, not of $commit"; return; fi
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
    :*) echo "it is not known whether $path is of the running system" ;;
    *:) echo "$path leads to no file" ;;
    system:* | installed:*) ;;
    *) echo "$path is the file $file, which is not of the running system" ;;
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
    words=${said[sockets.problem]:+"it is not known who listens on $listen: ${said[sockets.problem]}"}
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
  local bad='' words name failed_before sources
  words=$(bridge_problem)
  if [ -n "$words" ]; then echo "$words; nothing was touched"; exit 4; fi
  [ ! -e "$STATE/returned" ] || { echo 'The last deploy was not confirmed, and the host went back by itself:'; cat "$STATE/returned"; }
  SWITCHPROOF_CLAIM=1 verb_resolve
  if [ "${said[outcome]}" = locked ]; then clause revision REFUSED "the host is taken by ${said[detail]}"; exit 75; fi
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
  if [ "$(cat "$(job_dir)/rc" 2>/dev/null)" = 0 ] || [ "$(cat "$(job_dir)/rc" 2>/dev/null)" = 4 ]; then
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
    endpoint_problem "$name" >"$(job_dir)/problem"
    if [ -s "$(job_dir)/problem" ]; then clause "$words" FAILED "$(cat "$(job_dir)/problem")"; bad=$words; continue; fi
    clause "$words" passed "$name"
  done <<<"$ENDPOINTS"
  if [ -n "$bad" ]; then
    payload='' parts=() said=()
    verb_diagnose
    tell_parts >"$(job_dir)/diagnostics"
    printable <"$(job_dir)/diagnostics"
    clause diagnostics passed "above and in $(job_dir)/diagnostics"
    [ -e "$(job_dir)/restored" ] || echo "to go back: SWITCHPROOF_RUN=$RUN SWITCHPROOF_TO=$(ran_before) $0 rollback"
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
  row held "the clauses that are judged by hand; for the whole contract run: pytest --provider=… --audit"
}
# What only the checks of a session judge; docs/hosts.md has the whole table.
readonly NOT_BY_HAND='what boots next, units that changed and were not restarted, whether bodies are valid JSON, checks of your own'

# Without one of these a verb would say something untrue.
lacking() {
  local tool
  for tool in awk base64 curl flock git gzip journalctl nix nix-store nsenter pgrep ss systemctl systemd-run; do
    type -P "$tool" >/dev/null || printf '%s ' "$tool"
  done
}

main() {
  local verb=${1:-} lacks
  # Whatever a broken system lacks, the way back from it is tried.
  if [ "$verb" = guard ]; then verb_guard; exit; fi
  lacks=$(given_problem)
  if [ -n "$lacks" ]; then echo "${0##*/}: $lacks; nothing was touched" >&2; exit 64; fi
  case $verb:$ENDPOINTS in
    deploy: | observe: | diagnose:)
      echo "${0##*/}: nothing says what healthy means on this host; write a script that does, from its target file:" \
        'python -m switchproof.deploy.host.by_hand deploy/targets/NAME.toml > host-switch.sh; nothing was touched' >&2
      exit 64
      ;;
  esac
  lacks=$(lacking)
  if [ -n "$lacks" ]; then
    echo "${0##*/}: this host lacks the commands: $lacks" >&2
    say lacking "$lacks"
    if [ -n "${SWITCHPROOF_NONCE:-}" ]; then answer "$verb"; fi
    exit 69
  fi
  case $verb in
    deploy | job) "verb_$verb" "${@:2}" ;;
    resolve | converge | status | observe | diagnose | rollback | generations | confirm | plan)
      "verb_$verb"
      [ ! -e "$STATE/returned" ] || say returned "$(cat "$STATE/returned")"
      say clock "$BEGAN $EPOCHREALTIME"
      if [ -n "${SWITCHPROOF_NONCE:-}" ]; then answer "$verb"; else tell "$verb" || exit; fi
      ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
}

main "$@"
