# shellcheck shell=bash
# A small deploy path over SSH that keeps the contract. The examples beside this file take it over and spoil one thing
# each. The functions above `connect` are sent to the host as text, and run there.
set -euo pipefail

units=(hypervisor.service cloud-hypervisor@live.service socat-sandbox@live.service
  cloud-hypervisor@dev.service socat-sandbox@dev.service)

# ---- on the host ----------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }

lock() {
  exec 9>/run/deploy.lock
  flock --nonblock 9 || { say "another deploy is at work" && exit 75; }
}

resolve() {
  git -C "$WORKDIR" fetch --quiet origin
  git -C "$WORKDIR" cat-file -e "$RELEASE_SHA^{commit}" || { say "there is no commit $RELEASE_SHA" && exit 4; }
}

flake() { printf 'git+file://%s?rev=%s#%s' "$WORKDIR" "$RELEASE_SHA" "$FLAKE_ATTR"; }

switch() { nixos-rebuild switch --flake "$(flake)" 9>&-; }

# What runs, what is set, and the processes of the units, are of the commit.
converged() {
  local unit pid program
  # `set -e` does not count where a function is part of a condition.
  [ "$(cat /run/current-system/configuration-revision)" = "$RELEASE_SHA" ] || { say "another commit runs" && return 1; }
  [ "$(readlink -e /run/current-system)" = "$(readlink -e /nix/var/nix/profiles/system)" ] ||
    { say "what runs is not what is set" && return 1; }
  nix-store --query --requisites /run/current-system >/run/deploy.closure
  for unit in "${units[@]}"; do
    pid=$(systemctl show --property=MainPID --value "$unit")
    [ "$pid" != 0 ] || { say "$unit does not run" && return 1; }
    program=$(readlink "/proc/$pid/exe" | cut --delimiter=/ --fields=1-4)
    grep --quiet --fixed-strings --line-regexp "$program" /run/deploy.closure ||
      { say "$unit runs $program, which is not of the new system" && return 1; }
  done
}

get() { curl --silent --show-error --max-time 2 --output /run/deploy.answer --write-out '%{http_code}' "$1"; }

# try COMMAND…: within a few seconds, as programs take a moment to start.
try() {
  local tries
  for ((tries = 0; tries < 6; tries++)); do
    ! "$@" || return 0
    sleep 0.5
  done
  return 1
}

hypervisor_answers() { [ "$(get http://127.0.0.1:9090/login)" = 200 ]; }
hypervisor() { try hypervisor_answers || { say "the hypervisor is not well" && return 1; }; }

# answers NAME PORT
answers() {
  [ "$(get "http://127.0.0.1:$2/health")" = 200 ] && grep --quiet '"status":"healthy"' /run/deploy.answer &&
    grep --quiet "\"instance_role\":\"$1\"" /run/deploy.answer
}
runtime() {
  try answers live 8080 || { say "live is not well" && return 1; }
  try answers dev 8081 || { say "dev is not well" && return 1; }
}

diagnostics() {
  local unit
  for unit in "${units[@]}"; do
    systemctl status --no-pager --full --lines=0 "$unit" || true
    journalctl --quiet --no-pager --lines=30 --unit="$unit" || true
  done
  ss --listening --tcp --numeric --processes
}

deploy() {
  lock
  resolve
  if switch && converged && hypervisor && runtime; then
    say "$RELEASE_SHA is deployed"
  else
    diagnostics
    exit 1
  fi
}

# ---- on the runner --------------------------------------------------------------------------------------------

connect() { ssh -o BatchMode=yes "$SWITCHPROOF_HOST" "$@"; }

go() {
  { declare -p RELEASE_SHA WORKDIR FLAKE_ATTR units && declare -f && echo deploy; } | connect bash -euo pipefail -s
}
