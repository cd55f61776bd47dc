#!/usr/bin/env bash
# Runs a command five times in a row, and five times with every core kept busy. It must succeed each time: the first
# failure ends this and is named.
#
#   setup/test-steady.sh just test
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fail() { echo "test-steady: $*" >&2; exit 1; }
[ $# -gt 0 ] || fail "name the command to run, such as: setup/test-steady.sh just test"
readonly TIMES=5

run() {
  local surroundings=$1 number=$2
  shift 2
  echo "+ $* (run $number of $TIMES $surroundings)"
  "$@" || fail "run $number of $TIMES $surroundings ended with exit code $?: $*"
}

for ((number = 1; number <= TIMES; number++)); do run 'without load' "$number" "$@"; done
coproc LOAD { exec python3 -m bench.load; }
readonly load=$LOAD_PID
read -r -u "${LOAD[0]}" _ || fail 'bench/load.py did not begin'
trap 'kill "$load" 2>/dev/null || true' EXIT
for ((number = 1; number <= TIMES; number++)); do
  run 'with every core busy' "$number" "$@"
  kill -0 "$load" 2>/dev/null || fail "bench/load.py ended during run $number, so that run had no load"
done
echo "All $((2 * TIMES)) runs succeeded."
