#!/usr/bin/env bash
# The host's side of every deploy: the same text over SSH, through an agent, in CI and by hand.
#
#   RELEASE_SHA=… REPO_URL=… host-switch.sh deploy     all five clauses in order, as far as they are judged by hand;
#                                                      exits non-zero when one fails, and names what is not judged
#   host-switch.sh observe|diagnose|status             look, change nothing
#
# Verbs: resolve converge status observe diagnose rollback generations confirm plan preflight deploy. Each but `deploy` gathers
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

readonly STATE=/var/lib/switchproof LOCK=/run/switchproof/lock PROFILE=/nix/var/nix/profiles/system
readonly SINCE=/run/switchproof/since ENDED=/run/switchproof/ended CAME=/run/switchproof/came
readonly ROOTS=/nix/var/nix/gcroots/switchproof PENDING=$STATE/pending
# Which programs belong to which system: a folder a system, a link a program, so that they are kept as long.
readonly BELONGS=/nix/var/nix/gcroots/switchproof-installed
readonly GUARD=switchproof-guard.service CONTROL=/etc/systemd/system.control
readonly NIX=(nix --extra-experimental-features 'nix-command flakes')
readonly US=$'\x1f' RS=$'\x1e'

RELEASE_SHA=${RELEASE_SHA:-} WORKDIR=${WORKDIR:-/opt/choiros/workspace} REPO_URL=${REPO_URL:-}
# Without a file the repository is a flake; with one FLAKE_ATTR is an attribute of that, or empty for what it holds itself.
FLAKE_ATTR=${FLAKE_ATTR:-} NIX_FILE=${NIX_FILE:-}
[ -n "$FLAKE_ATTR$NIX_FILE" ] || read -r FLAKE_ATTR </proc/sys/kernel/hostname
RUN=${SWITCHPROOF_RUN:-hand-$(date -u +%Y%m%dT%H%M%SZ)-$$} OWNER=${SWITCHPROOF_OWNER:-${USER:-root} by hand}
readonly RUN_DIR=$STATE/runs/$RUN
LEASE_S=${SWITCHPROOF_LEASE_S:-900} TIMEOUT_S=${SWITCHPROOF_TIMEOUT_S:-3600} JOB=${SWITCHPROOF_JOB:-converge}
# Seconds after which a host that nobody confirmed goes back by itself (0: never), and for which a switch that hangs
# keeps a rollback waiting. A way back has at least the third number of seconds, however short a switch may take.
DEADMAN_S=${SWITCHPROOF_DEADMAN_S:-0} PATIENCE_S=${SWITCHPROOF_PATIENCE_S:-600} SWITCH_S=1200
readonly WAY_BACK_S=600
# Seconds after a switch within which a new connection must have come, or the host goes back (0: none is waited for), and the
# job after whose end the connection of this question began.
RECONNECT_S=${SWITCHPROOF_RECONNECT_S:-0} AFTER=${SWITCHPROOF_AFTER:-}
READY_S=${READY_S:-120} ANSWERS=${ANSWERS:-5} INTERVAL_S=${INTERVAL_S:-0.1} SOAK_S=${SOAK_S:-15}
ANSWER_TIMEOUT_S=${ANSWER_TIMEOUT_S:-5} MAX_BYTES=${MAX_BYTES:-65536}
# What waiting cannot mend: so many failures of a unit with one result, and so many equal answers of one process with a
# status that is none of the rest (0: never).
SAME_FAILURES=${SAME_FAILURES:-5} SAME_ANSWERS=${SAME_ANSWERS:-5} TRANSIENT_STATUS=${TRANSIENT_STATUS:-408 425 429 502 503 504}
# Bytes of all bodies that one look sends.
readonly BODY_BYTES=4194304
# What age calls a file's recipient, of this host's SSH key; and whether a system with secrets that cannot be decrypted is switched
# to all the same.
AGE_RECIPIENT=${SWITCHPROOF_AGE_RECIPIENT:-} LOCKED_SECRETS=${SWITCHPROOF_LOCKED_SECRETS:-}
# The specialisation of the system that is to run; empty for the system itself.
SPECIALISATION=${SPECIALISATION:-}
readonly SPECIALISED=(${SPECIALISATION:+--specialisation "$SPECIALISATION"})
OFFSET=${SWITCHPROOF_OFFSET:-0} WAIT_S=${SWITCHPROOF_WAIT_S:-0}

# One concern a fragment. Before the script travels, each line with HERE gives way to the text that it sources, or goes.
if [[ $0 == */* ]]; then readonly HERE=${0%/*}; else readonly HERE=.; fi
source "$HERE/script/numbers.sh"
source "$HERE/script/clock.sh"
source "$HERE/script/files.sh"
source "$HERE/script/answer.sh"
source "$HERE/script/systemd.sh"
source "$HERE/script/contract.sh"
source "$HERE/script/units.sh"
source "$HERE/script/inside.sh"
source "$HERE/script/system.sh"
source "$HERE/script/processes.sh"
source "$HERE/script/owner.sh"
source "$HERE/script/listeners.sh"
source "$HERE/script/boot.sh"
source "$HERE/script/revision.sh"
source "$HERE/script/lock.sh"
source "$HERE/script/jobs.sh"
source "$HERE/script/secrets.sh"
source "$HERE/script/converge.sh"
source "$HERE/script/restore.sh"
source "$HERE/script/bridge.sh"
source "$HERE/script/guard.sh"
source "$HERE/script/verbs.sh"
source "$HERE/script/probes.sh"
source "$HERE/script/json.sh"
source "$HERE/script/rounds.sh"
source "$HERE/script/watch.sh"
source "$HERE/script/behind.sh"
source "$HERE/script/observe.sh"
source "$HERE/script/confirm.sh"
source "$HERE/script/plan.sh"
source "$HERE/script/by_hand.sh"

# Add to `lacks` the tools that are missing without which a verb would say something untrue.
find_lacking() {
  local tool
  for tool in awk base64 curl flock git gzip journalctl nix nix-store nsenter pgrep ss systemctl systemd-run; do
    type -P "$tool" >/dev/null || lacks+="$tool "
  done
}

main() {
  local verb=${1:-} lacks=''
  # Whatever a broken system lacks, the way back from it is tried.
  if [ "$verb" = guard ]; then verb_guard; exit; fi
  find_given_problem
  if [ -n "$lacks" ]; then echo "${0##*/}: $lacks; nothing was touched" >&2; exit 64; fi
  # Only a person asks so.
  case $verb:$ENDPOINTS in deploy: | observe: | diagnose:) tell_no_contract ;; esac
  [ -z "$AFTER" ] || note_connection
  find_lacking
  if [ -n "$lacks" ] && [ "$verb" != preflight ]; then
    echo "${0##*/}: this host lacks the commands: $lacks" >&2
    say lacking "$lacks"
    if [ -n "${SWITCHPROOF_NONCE:-}" ]; then answer "$verb"; fi
    exit 69
  fi
  case $verb in
    deploy | job) "verb_$verb" "${@:2}" ;;
    resolve | converge | status | observe | diagnose | rollback | generations | confirm | plan | preflight)
      "verb_$verb"
      [ ! -e "$STATE/returned" ] || say returned "$(cat "$STATE/returned")"
      say clock "$BEGAN $EPOCHREALTIME"
      if [ -n "${SWITCHPROOF_NONCE:-}" ]; then answer "$verb"; else tell "$verb" || exit; fi
      ;;
    *) tell_usage "$verb" ;;
  esac
}

main "$@"
