#!/usr/bin/env bash
# Runs the tests that need no hosts with the Python of a release of Debian, in a root folder of that release. The folder
# is made once; delete it to have it made again. What follows the version goes on to pytest:
#
#   setup/test-python.sh 3.13 tests/reports
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fail() { echo "test-python: $*" >&2; exit 1; }

case ${1:-} in
  3.11) suite=bookworm ;;
  3.13) suite=trixie ;;
  3.14) suite=forky ;;
  *) fail "'${1:-}' is not the Python of a release of Debian; write 3.11, 3.13 or 3.14" ;;
esac
shift
[[ $EUID -eq 0 ]] || fail "this mounts and enters a root folder, which needs root"

packages=(bash ca-certificates curl git iproute2 jq openssh-client openssl procps python3 python3-venv shellcheck util-linux)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/switchproof
root=$cache/python-$suite
if [[ ! -d $root ]]; then
  echo "Installing Debian $suite into $root, once…"
  mkdir --parents "$cache"
  unfinished=$root.$$
  trap 'rm --recursive --force --one-file-system "$unfinished"' EXIT
  # What is under development is not always signed anew in time.
  mmdebstrap --variant=minbase --mode=root --format=directory --quiet --include="$(IFS=,; echo "${packages[*]}")" \
    --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$unfinished" \
    "deb http://deb.debian.org/debian $suite main"
  mv --no-target-directory "$unfinished" "$root"
  trap - EXIT
fi

# Inside, the clone has the path that it has here; a worktree needs the repository that it belongs to as well.
# shellcheck disable=SC2016 # the inner shells fill in what stands in these texts
SWITCHPROOF_TEST_ROOT=$root unshare --mount --pid --fork --kill-child --mount-proc bash -euo pipefail -c '
  root=$SWITCHPROOF_TEST_ROOT
  mount --types proc proc "$root/proc"
  for folder in /dev /sys /etc/resolv.conf /etc/ssl "$PWD" "$(realpath "$(git rev-parse --git-common-dir)")"; do
    if [[ -d $folder ]]; then mkdir --parents "$root$folder"; else touch "$root$folder"; fi
    mount --rbind "$folder" "$root$folder"
  done
  exec chroot "$root" bash -euo pipefail -c "$1" tests "$PWD" "${@:2}"
' enter '
  cd "$1"; shift
  export HOME=/root TMPDIR=/tmp LANG=C.UTF-8 PATH=/root/venv/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin
  unset XDG_CACHE_HOME VIRTUAL_ENV
  [[ -x /root/venv/bin/python ]] || python3 -m venv /root/venv
  PIP_CONSTRAINT=requirements.lock pip install --quiet --disable-pip-version-check --editable ".[dev]"
  git config --global --replace-all safe.directory "*"
  exec pytest -m "not lab" --ignore=tests/browser -p no:cacheprovider "$@"
' "$@"
