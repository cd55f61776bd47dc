#!/usr/bin/env bash
# The host's side of every deploy: the same text over SSH, through an agent, in CI and by hand.
#
#   RELEASE_SHA=… REPO_URL=… host-switch.sh deploy     all five clauses in order; exits non-zero when one fails
#   host-switch.sh observe|diagnose|status             look, change nothing
#
# Verbs: resolve converge status observe diagnose rollback confirm plan deploy. Each but `deploy` gathers all that
# its checks need and prints one frame (deploy/frame.py) when SWITCHPROOF_NONCE is set, readable text otherwise.
set -euo pipefail
export LC_ALL=C
export PATH="/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export HOME="${HOME:-/root}" GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0 SYSTEMD_PAGER='' SYSTEMD_COLORS=0
export GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -oBatchMode=yes -oConnectTimeout=15}"

readonly STATE=/var/lib/switchproof LOCK=/run/switchproof/lock PROFILE=/nix/var/nix/profiles/system
readonly NIX=(nix --extra-experimental-features 'nix-command flakes')
readonly US=$'\x1f' RS=$'\x1e'

RELEASE_SHA=${RELEASE_SHA:-} WORKDIR=${WORKDIR:-/opt/choiros/workspace} REPO_URL=${REPO_URL:-}
FLAKE_ATTR=${FLAKE_ATTR:-$(cat /proc/sys/kernel/hostname)}
RUN=${SWITCHPROOF_RUN:-hand-$(date -u +%Y%m%dT%H%M%SZ)-$$} OWNER=${SWITCHPROOF_OWNER:-${USER:-root} by hand}
LEASE_S=${SWITCHPROOF_LEASE_S:-900} TIMEOUT_S=${SWITCHPROOF_TIMEOUT_S:-3600} JOB=${SWITCHPROOF_JOB:-converge}
READY_S=${READY_S:-120} ANSWERS=${ANSWERS:-5} INTERVAL_S=${INTERVAL_S:-1} SOAK_S=${SOAK_S:-15}
ANSWER_TIMEOUT_S=${ANSWER_TIMEOUT_S:-5} MAX_BYTES=${MAX_BYTES:-65536}

# One endpoint a line: name, units, listen, listener, url, status, backend, patterns of the body, commands inside,
# machine (unit, tap, bridge, monitor), keys of the body and the system's files that say their values, in turn.
# Fields are separated by US, parts of a field by RS.
endpoint() { local IFS=$US; printf '%s\n' "$*"; }
ENDPOINTS=${SWITCHPROOF_ENDPOINTS:-$(
  endpoint hypervisor hypervisor.service 127.0.0.1:9090 hypervisor.service http://127.0.0.1:9090/login 200 '' '' '' '' ''
  for unit in live:8080:100 dev:8081:101; do
    IFS=: read -r name port last <<<"$unit"
    endpoint "$name" "cloud-hypervisor@$name.service${RS}socat-sandbox@$name.service" "127.0.0.1:$port" \
      "socat-sandbox@$name.service" "http://127.0.0.1:$port/health" 200 "http://10.0.0.$last:8080/health" \
      "\"status\"[[:space:]]*:[[:space:]]*\"healthy\"${RS}\"instance_role\"[[:space:]]*:[[:space:]]*\"$name\"" '' \
      "cloud-hypervisor@$name.service${RS}tap-$name${RS}br-choiros$RS" ''
  done
)}

# ---- answering ------------------------------------------------------------------------------------------------

payload=
declare -A said
say() { said[$1]=$2; printf -v payload '%s%s %d\n%s\n' "$payload" "$1" "${#2}" "$2"; }

answer() {
  if [ -z "${SWITCHPROOF_NONCE:-}" ]; then printf '%s' "$payload"; return; fi
  local digest; digest=$(printf '%s' "$payload" | sha256sum)
  printf '\nSWITCHPROOF/1 %s %s %d %s\n' "$SWITCHPROOF_NONCE" "$1" "${#payload}" "${digest%% *}"
  printf '%s' "$payload" | gzip -c | base64
  printf 'SWITCHPROOF/1 %s end\n' "$SWITCHPROOF_NONCE"
}

# A text's last bytes; what was left out is said in its first line.
tail_of() {
  local limit=$1 text
  text=$(cat; printf x) text=${text%x}
  if ((${#text} <= limit)); then printf '%s' "$text"; return; fi
  printf '[%d bytes before this are left out]\n%s' "$((${#text} - limit))" "${text: -limit}"
}

# Seconds since the boot, into a variable.
uptime_to() { read -r "$1" _ </proc/uptime; }

# Seconds with a fraction as whole milliseconds, into a variable.
milliseconds_to() {
  local whole=${2%%.*} part=${2#*.}
  [[ $2 == *.* ]] || part=0
  part+=00
  printf -v "$1" %d "$((10#${whole:-0} * 1000 + 10#${part:0:3}))"
}

# Whether at least $1 seconds have gone by since an uptime.
gone_by() {
  local up now least since
  uptime_to up
  milliseconds_to now "$up" && milliseconds_to least "$1" && milliseconds_to since "$2"
  ((now - since >= least))
}

# The contract's units, once each, in order.
list_units() {
  local units unit; local -a parts; local -A seen=()
  UNITS=()
  while IFS=$US read -r _ units _; do
    IFS=$RS read -r -a parts <<<"$units"
    for unit in "${parts[@]}"; do
      [ -n "${seen[$unit]:-}" ] || UNITS+=("$unit")
      seen[$unit]=yes
    done
  done <<<"$ENDPOINTS"
}
list_units
contract_units() { printf '%s\n' "${UNITS[@]}"; }

# ---- what the host is -----------------------------------------------------------------------------------------

toplevel() { readlink -e /run/current-system || true; }
generation() { local link; link=$(readlink "$PROFILE") && [[ $link =~ ^system-([0-9]+)-link$ ]] && printf '%s' "${BASH_REMATCH[1]}"; }
# Units that failed, or wait to be started again after a failure; over some moments, one of them may just be starting.
failed_units() {
  local unit moment
  for ((moment = ${1:-1}; moment > 0; moment--)); do
    while read -r unit _; do [[ $unit == switchproof-* ]] || printf '%s\n' "$unit"; done < <(
      systemctl list-units --state=failed,auto-restart --plain --no-legend --no-pager --full)
    ((moment == 1)) || sleep 0.3
  done | sort -u
}

# Ask systemctl what the contract's units are: its words in `shown`, a value each in `value[unit property]`.
shown=
declare -A value
show_units() {
  local line property; local -A block=()
  shown=$(systemctl show -p Id,LoadState,ActiveState,SubState,Result,MainPID,InvocationID,NRestarts,ExecMainCode \
    -p ExecMainStatus,FragmentPath,DropInPaths,NeedDaemonReload,ControlGroup -- "${UNITS[@]}") || true
  value=()
  while IFS= read -r line; do
    if [ -n "$line" ]; then block[${line%%=*}]=${line#*=}; continue; fi
    for property in "${!block[@]}"; do value["${block[Id]:-} $property"]=${block[$property]}; done
    block=()
  done <<<"$shown"$'\n'
}

say_system() {
  local top; top=$(toplevel)
  say system.running "$top"
  say system.profile "$(readlink -e $PROFILE || true)"
  say system.booted "$(readlink -e /run/booted-system || true)"
  say system.generation "$(generation)"
  say system.revision "$(timeout 10 "$top/sw/bin/nixos-version" --configuration-revision 2>/dev/null || true)"
  say system.built_from "$(cat "$STATE/systems/${top##*/}" 2>/dev/null || true)"
  say system.boot_id "$(</proc/sys/kernel/random/boot_id)"
  say system.clock "$EPOCHREALTIME"
  say units.failed "$(failed_units "${1:-1}")"
  say_units
}

say_units() {
  local unit fd digest file definitions=''; local -A opened digests
  [ -n "$shown" ] || show_units # else the watch has just asked
  say units.show "$shown"
  for unit in "${UNITS[@]}"; do
    # shellcheck disable=SC2086 # systemd separates paths with blanks
    exec {fd}< <(exec cat -- "${value["$unit FragmentPath"]:-}" ${value["$unit DropInPaths"]:-} 2>/dev/null)
    opened[$unit]=$fd
  done
  while read -r digest file; do digests[${file##*/}]=$digest; done < <(sha256sum "${opened[@]/#//dev/fd/}")
  for unit in "${UNITS[@]}"; do
    fd=${opened[$unit]}
    definitions+="$unit ${digests[$fd]:-}"$'\n'
    exec {fd}<&-
  done
  say units.definition "${definitions%$'\n'}"
}

# The processes of the contract's units, with the store paths each runs from that are not in the closure $1.
processes() {
  local unit group file pid exe text path strays; local -a pids links=() words; local -A unit_of=()
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
      [[ $'\n'$1$'\n' == *$'\n'"$path"$'\n'* || " $strays " == *" $path "* ]] || strays+="${strays:+ }$path"
    done
    printf '%s %s %s %s\n' "${unit_of[$pid]}" "$pid" "${exe:-?}" "$strays"
  done
}

# Which store paths each process of the contract's units runs from that do not belong to the running system.
say_processes() {
  local top closure
  top=$(toplevel)
  if ! closure=$(nix-store -qR "$top" 2>&1) || [ -z "$top" ]; then
    say processes.problem "$closure"
    return
  fi
  say processes "$(processes "$closure")"
}

# The unit whose control group a process is in, into `unit`.
find_unit() {
  local line
  unit='?'
  while read -r line; do
    [[ $line =~ ^(0::|1:name=systemd:).*/([^/]*\.(service|scope|socket)) ]] || continue
    unit=${BASH_REMATCH[2]}
    return
  done 2>/dev/null <"/proc/$1/cgroup" || true
}

# Who listens: one line a socket and process, with the unit whose control group the process is in.
sockets=
say_listeners() {
  local address rest pid unit seen listeners=''
  sockets=$(ss -Hltnp) || sockets=''
  while read -r _ _ _ address _ rest; do
    seen=' '
    while [[ $rest =~ pid=([0-9]+) ]]; do
      pid=${BASH_REMATCH[1]} rest=${rest#*"${BASH_REMATCH[0]}"}
      [[ $seen != *" $pid "* ]] || continue
      seen+="$pid "
      find_unit "$pid"
      listeners+="$address $pid $unit"$'\n'
    done
    # Somebody whom ss cannot name is a stranger all the same.
    [ "$seen" != ' ' ] || [ -z "$address" ] || listeners+="$address 0 ?"$'\n'
  done <<<"$sockets"
  say listeners "${listeners%$'\n'}"
}

# ---- the revision ---------------------------------------------------------------------------------------------

refuse() { say outcome "$1"; say detail "$2"; }

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
  [ -n "$REPO_URL" ] || REPO_URL=$(git -C "$WORKDIR" remote get-url origin 2>/dev/null || true)
  if [ -z "$REPO_URL" ]; then refuse checkout "no REPO_URL, and $WORKDIR has no remote 'origin'"; return 1; fi
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
  local rev=$1 name sha
  if [[ ! $rev =~ ^[0-9a-f]{40}$ ]]; then
    for name in "heads/${rev#refs/heads/}" "tags/${rev#refs/tags/}" "$rev" "${rev#refs/}"; do
      case $name in heads/* | tags/*) ;; *) continue ;; esac
      sha=$(git -C "$WORKDIR" rev-parse --quiet --verify "refs/switchproof/$name^{commit}" 2>/dev/null) || continue
      printf '%s %s\n' "$sha" "$name"
    done
  fi
  [[ $rev =~ ^[0-9a-f]{4,40}$ ]] || return 0
  git -C "$WORKDIR" rev-parse --disambiguate="$rev" | while read -r sha; do
    [ "$(git -C "$WORKDIR" cat-file -t "$sha" 2>/dev/null)" = commit ] || continue
    [ -n "$(git -C "$WORKDIR" for-each-ref --count=1 --contains="$sha" refs/switchproof/heads refs/switchproof/tags)" ] || continue
    printf '%s commit\n' "$sha"
  done
}

verb_resolve() {
  if ! git check-ref-format --allow-onelevel "$RELEASE_SHA" 2>/dev/null || [[ $RELEASE_SHA == -* ]]; then
    refuse malformed "'$RELEASE_SHA' is neither a commit, a branch nor a tag"
    return
  fi
  if [ -n "${SWITCHPROOF_CLAIM:-}" ]; then claim || return 0; fi
  local found name shas
  if [ -n "${SWITCHPROOF_READONLY:-}" ]; then
    name=${RELEASE_SHA#refs/}
    found=$(timeout 60 git ls-remote -- "$REPO_URL" "refs/heads/${name#heads/}" "refs/tags/${name#tags/}"{,'^{}'} 2>&1 </dev/null) ||
      { refuse unreachable "git ls-remote on the repository failed: $found"; return; }
    # The commit of an annotated tag stands in the line that ends in ^{}; other lines are warnings of git or ssh.
    found=$(awk 'length($1) == 40 && $2 ~ /^refs\// { name = $2; sub(/\^\{\}$/, "", name); commit[name] = $1 }
      END { for (name in commit) print commit[name], name }' <<<"$found")
  else
    fetch || return 0
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
      say checkout "$(git -C "$WORKDIR" rev-parse --quiet --verify HEAD || true) $(
        [ -z "$(git -C "$WORKDIR" status --porcelain 2>/dev/null | head -n1)" ] || printf 'with uncommitted changes')"
      ;;
    *) refuse ambiguous "'$RELEASE_SHA' is ambiguous, it may mean: ${found//$'\n'/, }; give the full commit, or heads/… or tags/…" ;;
  esac
}

flake() { printf 'git+file://%s?rev=%s#%s' "$WORKDIR" "$RELEASE_SHA" "$1"; }
toplevel_attr() { printf 'nixosConfigurations."%s".config.system.build.toplevel' "$FLAKE_ATTR"; }

# ---- one deploy at a time -------------------------------------------------------------------------------------

job_dir() { printf '%s/runs/%s/%s' "$STATE" "$RUN" "$JOB"; }
job_unit() { printf 'switchproof-%s-%s.service' "$RUN" "$JOB"; }
running() { case $(systemctl show -P ActiveState -- "$1") in activating | active | deactivating | reloading) return 0 ;; esac; return 1; }

# One at a time among those who look at the lock or change it; the lock itself outlasts every process.
guarded() {
  local guard rc=0
  mkdir -p "${LOCK%/*}"
  exec {guard}<"${LOCK%/*}"
  flock "$guard"
  "$@" || rc=$?
  exec {guard}<&-
  return "$rc"
}

held_by() { sed -n "s/^$1 //p" "$LOCK/holder" 2>/dev/null || true; }

hold() {
  printf 'run %s\nowner %s\nsince %s\nlease %s\n' "$RUN" "$OWNER" "$1" "$(($(date +%s) + LEASE_S))" >"$LOCK/holder.new"
  mv "$LOCK/holder.new" "$LOCK/holder"
}

renew() { [ "$(held_by run)" != "$RUN" ] || hold "$(held_by since)"; }
release() { [ "$(held_by run)" != "$RUN" ] || rm -rf "$LOCK"; }
refresh_lease() { [ ! -e "$LOCK/holder" ] || guarded renew; }

# The unit in which nixos-rebuild activates, if it does; some versions give its name a suffix.
activation() {
  systemctl list-units --plain --no-legend --full --state=activating,active,deactivating \
    'nixos-rebuild-switch-to-configuration*.service' | awk 'NR == 1 { print $1 }'
}

# Who else changes the host at this moment, if anyone. A wrapped program has a dot before its name.
foreign_switch() {
  local unit lock=/run/nixos/switch-to-configuration.lock pid
  unit=$(activation)
  if [ -n "$unit" ]; then
    printf '%s, since %s' "$unit" "$(systemctl show -P ActiveEnterTimestamp -- "$unit")"
  elif [ -e "$lock" ] && ! flock -n "$lock" true; then
    printf 'whoever holds %s' "$lock"
  elif pid=$(pgrep -of '(^|/)\.?nixos-rebuild(-ng)?(-wrapped)? (.* )?(switch|boot|test)( |$)'); then
    printf 'nixos-rebuild by hand (process %s, since %s)' "$pid" "$(ps -o lstart= -p "$pid")"
  fi
}

take_lock() {
  local other lease
  if [ -e "$LOCK" ]; then
    other=$(held_by run) lease=$(held_by lease)
    [ "$other" != "$RUN" ] || return 0
    if systemctl list-units --plain --no-legend --state=activating "switchproof-$other-*" | grep -q . ||
      (($(date +%s) < ${lease:-$(($(stat -c %Y "$LOCK") + 60))})); then
      refuse locked "$(held_by owner), run ${other:-unknown}, since $(held_by since)"
      return 1
    fi
    say lock.stale "$other"
    rm -rf "$LOCK"
  fi
  other=$(foreign_switch)
  [ -z "$other" ] || { refuse locked "$other"; return 1; }
  mkdir "$LOCK"
  hold "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
}

# Take the host for this run, and note what it is before anything changes.
claim() {
  local before="$STATE/runs/$RUN/before"
  if [[ ! $RUN =~ ^[A-Za-z0-9][A-Za-z0-9.-]*$ ]]; then refuse malformed "'$RUN' is no run id"; return 1; fi
  guarded take_lock || return 1
  if [ ! -e "$before" ]; then
    mkdir -p "${before%/*}"
    (payload='' && say began "$(date +%s)" && say_system 3 && printf '%s' "$payload") >"$before.new"
    mv "$before.new" "$before"
  fi
  say before "$(cat "$before")"$'\n'
}

# ---- jobs: what changes the host, in a transient unit that needs nobody to watch it ---------------------------

own_text() { if [ -n "${BASH_EXECUTION_STRING:-}" ]; then printf '%s\n' "$BASH_EXECUTION_STRING"; else cat "$0"; fi; }

launch() {
  local dir; dir=$(job_dir)
  if mkdir -p "${dir%/*}" && ! mkdir "$dir" 2>/dev/null; then say outcome started; return; fi
  own_text >"$dir/host-switch.sh"
  : >"$dir/log"
  systemd-run --quiet --no-block --no-ask-password --unit="$(job_unit)" --service-type=oneshot --remain-after-exit \
    --expand-environment=no -p StandardOutput="append:$dir/log" -p StandardError=inherit -p TimeoutStartSec="$TIMEOUT_S" \
    -E HOME="$HOME" -E RELEASE_SHA="$RELEASE_SHA" -E WORKDIR="$WORKDIR" -E FLAKE_ATTR="$FLAKE_ATTR" \
    -E SWITCHPROOF_RUN="$RUN" -E SWITCHPROOF_JOB="$JOB" -E SWITCHPROOF_TO="${SWITCHPROOF_TO:-}" \
    "$BASH" "$dir/host-switch.sh" job </dev/null >&2
  say outcome started
}

stage() { printf '%s\n' "$1" >"$(job_dir)/stage"; printf -- '--- %s\n' "$1"; }

job_converge() {
  local dir top; dir=$(job_dir)
  stage build
  "${NIX[@]}" build --print-build-logs --out-link "$dir/system" "$(flake "$(toplevel_attr)")" || return
  top=$(readlink -e "$dir/system")
  mkdir -p "$STATE/systems"
  printf '%s\n' "$RELEASE_SHA" >"$STATE/systems/${top##*/}"
  printf '%s\n' "$top" >"$dir/expected"
  stage switch
  # What an earlier switch left failed would keep this one's unit from being made; one that runs is not touched.
  systemctl reset-failed -- nixos-rebuild-switch-to-configuration.service 2>/dev/null || true
  nixos-rebuild switch --flake "$(flake "$FLAKE_ATTR")"
}

job_rollback() {
  local number converge="switchproof-$RUN-converge.service" dir="$STATE/runs/$RUN/converge"
  stage rollback
  # A build may be stopped at any time; an activation under way is let finish.
  while running "$converge" && [ ! -e "$dir/rc" ]; do
    [ "$(cat "$dir/stage")" != build ] || systemctl stop -- "$converge"
    sleep 0.5
  done
  while [ -n "$(activation)" ]; do sleep 0.5; done
  [ -x "$SWITCHPROOF_TO/bin/switch-to-configuration" ] || { echo "$SWITCHPROOF_TO is not a system on this host"; return 1; }
  number=$(for link in "$PROFILE"-*-link; do
    [ "$(readlink -e "$link")" != "$SWITCHPROOF_TO" ] || printf '%s\n' "$link"
  done | sed -n 's/.*-\([0-9]*\)-link$/\1/p' | sort -n | tail -n1)
  if [ -n "$number" ]; then
    nix-env -p "$PROFILE" --switch-generation "$number" || return
  else
    nix-env -p "$PROFILE" --set "$SWITCHPROOF_TO" || return
  fi
  "$SWITCHPROOF_TO/bin/switch-to-configuration" switch
}

verb_job() {
  local dir began rc=0; dir=$(job_dir) began=$(date +%s)
  "job_$JOB" </dev/null || rc=$?
  journalctl -q --no-pager -o cat -t nixos --since "@$began" >"$dir/journal" 2>/dev/null || true
  # Some versions of nixos-rebuild send what the switch says to the journal instead of here.
  [ "$rc" = 0 ] || journalctl -q --no-pager -o cat -u 'nixos-rebuild-switch-to-configuration*' --since "@$began" 2>/dev/null || true
  printf '%s\n' "$rc" >"$dir/rc.new"
  sync "$dir/rc.new"
  mv "$dir/rc.new" "$dir/rc"
  exit "$rc"
}

# ---- verbs ----------------------------------------------------------------------------------------------------

verb_converge() {
  if [[ ! $RELEASE_SHA =~ ^[0-9a-f]{40}$ ]]; then refuse malformed "converge needs a full commit"; return; fi
  claim || return 0
  JOB=converge launch
}

# Asked by a person, it follows to the end and gives the host back.
verb_rollback() {
  guarded take_lock || return 0
  refresh_lease
  JOB=rollback
  launch
  [ -z "${SWITCHPROOF_NONCE:-}" ] || return 0
  follow || true
  verb_confirm
  [ "$(cat "$(job_dir)/rc" 2>/dev/null)" = 0 ]
}

verb_status() {
  local dir unit began state size offset=${SWITCHPROOF_OFFSET:-0}
  dir=$(job_dir) unit=$(job_unit)
  uptime_to began
  refresh_lease
  while :; do
    size=$(stat -c %s "$dir/log" 2>/dev/null || echo 0)
    state=running
    running "$unit" && [ "$(systemctl show -P SubState -- "$unit")" != exited ] || state=lost
    [ ! -e "$dir/rc" ] || state=finished
    if [ "$state" != running ] || ((size > offset)) || gone_by "${SWITCHPROOF_WAIT_S:-0}" "$began"; then break; fi
    sleep 0.2
  done
  say state "$state"
  say stage "$(cat "$dir/stage" 2>/dev/null || true)"
  say rc "$(cat "$dir/rc" 2>/dev/null || true)"
  say expected "$(cat "$dir/expected" 2>/dev/null || true)"
  say journal "$(cat "$dir/journal" 2>/dev/null || true)"
  say unit "$(systemctl show -p LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus -- "$unit")"
  say holder "$(cat "$LOCK/holder" 2>/dev/null || true)"
  say log.size "$(stat -c %s "$dir/log" 2>/dev/null || echo 0)"
  say log "$(tail -c "+$((offset + 1))" "$dir/log" 2>/dev/null | head -c 262144 | base64 -w0)"
}

# One answer of an endpoint: body, then a line of code, connect and total seconds, curl's exit code and its words.
ask() {
  exec curl -q -sS --noproxy '*' --max-time "$ANSWER_TIMEOUT_S" --max-redirs 0 --max-filesize "$MAX_BYTES" \
    -w '\n%{http_code} %{time_connect} %{time_total} %{exitcode} %{errormsg} %{redirect_url}' -- "$1" 2>/dev/null
}

# Each unit's state, and what changes whenever its process does.
sample_units() {
  local unit
  identity=''
  show_units
  for unit in "${UNITS[@]}"; do
    unit_state[$unit]="${value["$unit ActiveState"]:-} ${value["$unit SubState"]:-}"
    unit_identity[$unit]="${value["$unit MainPID"]:-} ${value["$unit InvocationID"]:--} ${value["$unit NRestarts"]:-}"
    identity+="$unit ${unit_state[$unit]} ${unit_identity[$unit]}"$'\n'
  done
}

# What the running system says that an answer must hold, a pattern and a word in turn, into `due[name]`.
read_due() {
  local name keys key file word told
  while IFS=$US read -r name _ _ _ _ _ _ _ _ _ keys; do
    due[$name]='' told=''
    while IFS= read -r -d "$RS" key && IFS= read -r -d "$RS" file; do
      word=''
      { IFS= read -r word <"/run/current-system/$file"; } 2>/dev/null || true
      # Another word would have to be spelled as JSON; what the system does not say, nobody can wait for.
      [[ $word =~ ^[A-Za-z0-9@._+:/=-]{1,200}$ ]] || continue
      due[$name]+="$key$RS$word$RS" told+="$file $word"$'\n'
    done <<<"$keys$RS"
    [ -z "$told" ] || say "due.$name" "$told"
  done <<<"$ENDPOINTS"
}

# Ask every endpoint at the same time; `good[name]` says whether its answer is the wanted one.
sample_answers() {
  local name url want patterns fd code connect total rc words pattern word
  local -A asked
  while IFS=$US read -r name _ _ _ url _; do exec {fd}< <(ask "$url"); asked[$name]=$fd; done <<<"$ENDPOINTS"
  while IFS=$US read -r name _ _ _ _ want _ patterns _; do
    fd=${asked[$name]}
    { reply[$name]=$(head -c "$((MAX_BYTES + 1024))" <&"$fd"); } 2>/dev/null # bash drops NUL bytes, and says so
    exec {fd}<&-
    words=${reply[$name]##*$'\n'}
    [[ $words =~ ^[0-9]{3}\ [0-9.]+\ [0-9.]+\ [0-9]+\  ]] || words='000 0 0 63 more than the limit'
    read -r code connect total rc words <<<"$words"
    reply[$name]=${reply[$name]%$'\n'*}
    good[$name]=yes
    [ "$code $rc" = "$want 0" ] || good[$name]=''
    while IFS= read -r -d "$RS" pattern; do
      [ -z "$pattern" ] || [[ ${reply[$name]} =~ $pattern ]] || good[$name]=''
    done <<<"$patterns$RS"
    while IFS= read -r -d "$RS" pattern && IFS= read -r -d "$RS" word; do
      [[ ${reply[$name]} =~ $pattern\""$word"\" ]] || good[$name]=''
    done <<<"${due[$name]}"
    series+="$now $name ${good[$name]:-no} $code $connect $total $rc $words"$'\n'
  done <<<"$ENDPOINTS"
}

# What is wrong with an endpoint at this moment, if anything; `key` gets the identity of its units, `life` that
# which no moment between two processes changes.
judge_endpoint() {
  local name=$1 unit
  shift
  key='' life='' problem[$name]=''
  [ -n "${good[$name]}" ] || problem[$name]="its answer is not the wanted one: ${reply[$name]:0:200}"
  for unit in "$@"; do
    key+="$unit ${unit_identity[$unit]:-} "
    life+="${value["$unit InvocationID"]:-} "
    [[ ${unit_state[$unit]:-} == active\ * ]] || problem[$name]="$unit is ${unit_state[$unit]:-not there}"
    [[ ${unit_state[$unit]:-} != failed\ * ]] || key+='failed '
  done
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
  local began now bad name units unit key life identity='' last_identity='' series='' changes=''
  local -a list; local -A due unit_state unit_identity reply good first since row failing settled again latest lives
  declare -gA problem=()
  local moment=$EPOCHSECONDS
  uptime_to began
  read_due
  while :; do
    bad=''
    uptime_to now
    sample_answers
    sample_units
    [ "$identity" = "$last_identity" ] || changes+="at $now"$'\n'"$identity"
    last_identity=$identity
    while IFS=$US read -r name units _; do
      IFS=$RS read -r -a list <<<"$units"
      judge_endpoint "$name" "${list[@]}"
      if [[ $key == *' failed '* ]]; then failing[$name]=$((${failing[$name]:-0} + 1)); else failing[$name]=0; fi
      [ -z "${good[$name]}" ] || : "${first[$name]:=$key}" "${latest[$name]:=$life}"
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
    sleep "$INTERVAL_S"
  done
  uptime_to now
  say watch.settled "$(for name in "${!settled[@]}"; do printf '%s %s\n' "$name" "${settled[$name]}"; done)"
  say watch.began "$began"
  say watch.ended "$now"
  say watch.series "$series"
  say watch.units "$changes"
  for name in "${!reply[@]}"; do say "answer.$name" "${reply[$name]}"; done
  look_behind
}

# What is behind the endpoints that are not healthy: the workloads' own answers, all asked at once, and their machines.
look_behind() {
  local name backend machine fd; local -A asked=()
  while IFS=$US read -r name _ _ _ _ _ backend _; do
    if [ -z "$backend" ] || [ -n "${good[$name]}" ]; then continue; fi
    exec {fd}< <(ask "$backend" | head -c "$((MAX_BYTES + 1024))")
    asked[$name]=$fd
  done <<<"$ENDPOINTS"
  for name in "${!asked[@]}"; do
    fd=${asked[$name]}
    say "backend.$name" "$(cat <&"$fd")"
    exec {fd}<&-
  done
  while IFS=$US read -r name _ _ _ _ _ backend _ _ machine _; do
    [ -z "$machine" ] || [ "${settled[$name]}" = healthy ] || say_machine "$name" "$machine" "$backend" "$((moment - 60))"
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
  pid=${value["$unit MainPID"]:-0}
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

# Show that unit states, logs and sockets could be emitted if something failed.
say_diagnosable() {
  local unit line fd text told='' name backend machine; local -A journals size=()
  for unit in "${UNITS[@]}"; do
    # The dot says that journalctl ended well.
    exec {fd}< <(journalctl -q --no-pager -n 5 -u "$unit" 2>/dev/null && printf .)
    journals[$unit]=$fd
  done
  # The part of a unit begins with the dot of its state and its name; the lines that follow are indented.
  unit='?'
  while IFS= read -r line; do
    if [[ $line =~ ^[^[:blank:]]+\ ([^[:blank:]]+)(\ -\ |$) || $line =~ ^Unit\ (.+)\ could\ not\ be\ found ]]; then unit=${BASH_REMATCH[1]}; fi
    size[$unit]=$((${size[$unit]:-0} + ${#line} + 1))
  done < <(systemctl status --no-pager -n 0 -- "${UNITS[@]}" 2>&1)
  for unit in "${UNITS[@]}"; do
    told+="systemctl $unit ${size[$unit]:-0}"$'\n'
    fd=${journals[$unit]} text=''
    IFS= read -r -d '' text <&"$fd" || true
    exec {fd}<&-
    [[ $text != *. ]] || told+="journalctl $unit $((${#text} - 1))"$'\n'
  done
  while IFS=$US read -r name _ _ _ _ _ backend _ _ machine _; do
    [ -n "$machine" ] || continue
    text=$(machine_facts "$machine" "$backend")
    told+="machine $name ${#text}"$'\n'
  done <<<"$ENDPOINTS"
  [ -z "$sockets" ] || told+="ss sockets ${#sockets}"
  say diagnosable "${told%$'\n'}"
}

verb_observe() {
  refresh_lease
  watch_endpoints
  say_system
  say_processes
  say_listeners
  say_diagnosable
}

# A unit's journal since a time; where it said nothing since, its last words before.
journal_since() {
  local text
  text=$(journalctl -q --no-pager -o short-iso-precise --since "@$1" -u "$2" | tail_of 262144) || return 0
  if [ -z "$text" ]; then
    text="[nothing since the deploy began; before that:]
$(journalctl -q --no-pager -o short-iso-precise -n 20 -u "$2" | tail_of 65536)" || return 0
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
  local unit began name inside command backend machine number=0
  refresh_lease
  began=$(sed -n '/^began /{n;p;q}' "$STATE/runs/$RUN/before" 2>/dev/null || true)
  began=${began:-$(($(date +%s) - 3600))}
  while read -r unit; do
    say "status/$unit" "$(systemctl status --no-pager --full -n 20 -- "$unit" 2>&1 | tail_of 65536)"
    say "show/$unit" "$(systemctl show -- "$unit" 2>&1 | tail_of 65536)"
    say "journal/$unit" "$(journal_since "$began" "$unit")"
  done < <({ contract_units; failed_units; } | awk '!seen[$0]++')
  say sockets "$(ss -tunap 2>&1 | tail_of 131072)"
  say failed-units "$(systemctl list-units --failed --no-pager --full 2>&1 | tail_of 65536)"
  say switch-journal "$(journalctl -q --no-pager -o short-iso-precise --since "@$began" -t nixos 2>&1 | tail_of 65536)"
  say generations "$(find "${PROFILE%/*}" /run/current-system /run/booted-system -maxdepth 1 -printf '%p -> %l, %t\n' 2>&1 | sort | tail_of 65536)"
  say disk "$(df -h 2>&1; df -i / /nix 2>&1)"
  say memory "$(cat /proc/meminfo /proc/loadavg 2>&1)"
  say kernel "$(dmesg --color=never -T 2>&1 | tail -n 100 | tail_of 65536)"
  show_units
  while IFS=$US read -r name _ _ _ _ _ backend _ inside machine _; do
    [ -z "$machine" ] || diagnose_machine "$name" "$machine" "$backend"
    while IFS= read -r -d "$RS" command; do
      [ -n "$command" ] || continue
      number=$((number + 1))
      say "inside/$name.$number" "\$ $command"$'\n'"$(timeout 10 bash -c "$command" 2>&1 </dev/null | tail_of 65536)"
    done <<<"$inside$RS"
  done <<<"$ENDPOINTS"
}

# The run is over: whoever comes next may have the host. What the run kept is kept, for the newest twenty runs.
verb_confirm() {
  local job old
  for job in converge rollback; do
    if [ -e "$STATE/runs/$RUN/$job" ] && [ ! -e "$STATE/runs/$RUN/$job/rc" ] && running "switchproof-$RUN-$job.service"; then
      refuse busy "the $job is still running; the lock stays"
      return
    fi
  done
  for job in converge rollback; do
    systemctl stop -- "switchproof-$RUN-$job.service" 2>/dev/null || true
    systemctl reset-failed -- "switchproof-$RUN-$job.service" 2>/dev/null || true
  done
  printf '%s\n' "${SWITCHPROOF_OUTCOME:-}" >"$STATE/runs/$RUN/outcome"
  guarded release
  while read -r old; do rm -rf -- "${STATE:?}/runs/$old"; done < <(
    find "$STATE/runs" -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' | sort -rn | tail -n +21 | cut -d' ' -f2-)
  say outcome ok
}

job_plan() {
  local dir top; dir=$(job_dir)
  stage build
  "${NIX[@]}" build --print-build-logs --out-link "$dir/system" "$(flake "$(toplevel_attr)")" || return
  top=$(readlink -e "$dir/system")
  printf '%s\n' "$top" >"$dir/expected"
  stage compare
  "${NIX[@]}" store diff-closures "$(toplevel)" "$top" >"$dir/closure" || return
  "$top/bin/switch-to-configuration" dry-activate >"$dir/units" 2>&1
}

# Twice: once to begin, once more when `status` says that it has finished.
verb_plan() {
  JOB=plan
  local dir; dir=$(job_dir)
  if [ ! -e "$dir/rc" ]; then launch; return; fi
  say outcome finished
  say running "$(toplevel)"
  say expected "$(cat "$dir/expected" 2>/dev/null || true)"
  say closure "$(cat "$dir/closure" 2>/dev/null || true)"
  say units "$(cat "$dir/units" 2>/dev/null || true)"
  systemctl stop -- "$(job_unit)" 2>/dev/null || true
  systemctl reset-failed -- "$(job_unit)" 2>/dev/null || true
  rm -rf -- "${STATE:?}/runs/$RUN"
}

# ---- all in order, for a person on the host -------------------------------------------------------------------

clause() { printf '%-12s %-7s %s\n' "$1" "$2" "$3"; }

follow() {
  local dir seen=0 size; dir=$(job_dir)
  while :; do
    size=$(stat -c %s "$dir/log")
    tail -c "+$((seen + 1))" "$dir/log" | head -c "$((size - seen))"
    seen=$size
    [ ! -e "$dir/rc" ] || return 0
    running "$(job_unit)" || { sleep 1; [ -e "$dir/rc" ] || return 1; }
    sleep 0.5
  done
}

converged() {
  local expected; expected=$(cat "$(job_dir)/expected" 2>/dev/null || true)
  local rc; rc=$(cat "$(job_dir)/rc" 2>/dev/null || echo unknown)
  if [ "$rc" != 0 ] && [ "$rc" != 4 ]; then echo "the $(cat "$(job_dir)/stage" 2>/dev/null || echo start) ended with $rc; see $(job_dir)/log"; return 1; fi
  if [ -z "$expected" ] || [ "${said[system.running]}" != "$expected" ] || [ "${said[system.profile]}" != "$expected" ]; then
    echo "expected ${expected:-a system}, running ${said[system.running]}, profile ${said[system.profile]}"; return 1
  fi
  local new; new=$(comm -13 <({ echo "$failed_before"; contract_units; } | sort -u) <(sort <<<"${said[units.failed]}") | tr '\n' ' ')
  if [ -n "${new// /}" ]; then echo "failed since the deploy began: $new"; return 1; fi
  if [ -n "${said[processes.problem]:-}" ]; then echo "the closure cannot be read: ${said[processes.problem]}"; return 1; fi
  new=$(awk 'NF > 3 {print $1 " (process " $2 ") runs from " $4; next}
    $3 ~ "^/" && $3 !~ "^/nix/store/" {print $1 " (process " $2 ") runs " $3}' <<<"${said[processes]}")
  if [ -n "$new" ]; then echo "not of the running system: $new"; return 1; fi
  echo "$expected"
}

listens() {
  local listen=$1 listener=$2
  awk -v exact="$listen" -v port="${listen##*:}" -v unit="$listener" \
    '($1 == exact || $1 == "0.0.0.0:" port || $1 == "*:" port) { if ($3 == unit) mine = 1; else other = 1 }
     END { exit !(mine && !other) }' <<<"${said[listeners]}"
}

endpoint_problem() {
  local want=$1 name listen listener _
  while IFS=$US read -r name _ listen listener _; do
    [ "$name" = "$want" ] || continue
    if [ -n "${problem[$name]}" ]; then echo "$name: ${problem[$name]}"; return; fi
    listens "$listen" "$listener" || echo "$name: $listener does not listen on $listen"
  done <<<"$ENDPOINTS"
}

verb_deploy() {
  local bad='' words name failed_before
  SWITCHPROOF_CLAIM=1 verb_resolve
  if [ "${said[outcome]}" = locked ]; then clause revision REFUSED "the host is taken by ${said[detail]}"; exit 75; fi
  if [ "${said[outcome]}" != ok ]; then
    clause revision FAILED "${said[detail]}"
    [ -z "${said[before]:-}" ] || verb_confirm
    exit 4
  fi
  RELEASE_SHA=${said[sha]}
  clause revision passed "$RELEASE_SHA ${said[subject]}"
  failed_before=$(failed_units 3)
  verb_converge
  follow || true
  if [ "$(cat "$(job_dir)/rc" 2>/dev/null)" = 0 ] || [ "$(cat "$(job_dir)/rc" 2>/dev/null)" = 4 ]; then
    payload=''
    verb_observe
  else
    say_system
  fi
  if words=$(converged); then clause converge passed "$words"; else clause converge FAILED "$words"; bad=converge; fi
  while IFS=$US read -r name _; do
    words=runtime
    [ "$name" != hypervisor ] || words=hypervisor
    if [ -n "$bad" ] && [ "$bad" != "$words" ]; then clause "$words" blocked "by $bad ($name)"; continue; fi
    endpoint_problem "$name" >"$(job_dir)/problem"
    if [ -s "$(job_dir)/problem" ]; then clause "$words" FAILED "$(cat "$(job_dir)/problem")"; bad=$words; continue; fi
    clause "$words" passed "$name"
  done <<<"$ENDPOINTS"
  if [ -n "$bad" ]; then
    payload=''
    verb_diagnose
    printf '%s' "$payload" >"$(job_dir)/diagnostics"
    printf '%s' "$payload"
    clause diagnostics passed "above and in $(job_dir)/diagnostics"
    echo "to go back: SWITCHPROOF_RUN=$RUN SWITCHPROOF_TO=$(awk '/^system.running /{getline; print}' "$STATE/runs/$RUN/before") $0 rollback"
  else
    words=$(awk '$3 > 0 || $1 == "journalctl"' <<<"${said[diagnosable]}" | wc -l)
    # State and journal of every unit, the machines, and the sockets.
    if ((words == 2 * ${#UNITS[@]} + $(cut -d"$US" -f10 <<<"$ENDPOINTS" | grep -c .) + 1)); then
      clause diagnostics passed "$words sources answer"
    else
      clause diagnostics FAILED "only these sources answer: ${said[diagnosable]//$'\n'/, }"
      bad=diagnostics
    fi
  fi
  verb_confirm
  [ -z "$bad" ] || exit 1
}

# Without one of these a verb would say something untrue.
lacking() {
  local tool
  for tool in awk base64 curl flock git gzip journalctl nix nix-store pgrep ss systemctl systemd-run; do
    type -P "$tool" >/dev/null || printf '%s ' "$tool"
  done
}

main() {
  local verb=${1:-} lacks
  lacks=$(lacking)
  if [ -n "$lacks" ]; then
    echo "${0##*/}: this host lacks the commands: $lacks" >&2
    say lacking "$lacks"
    if [ "$verb" != deploy ]; then answer "$verb"; fi
    exit 69
  fi
  case $verb in
    deploy | job) "verb_$verb" ;;
    resolve | converge | status | observe | diagnose | rollback | confirm | plan) "verb_$verb"; answer "$verb" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
}

main "$@"
