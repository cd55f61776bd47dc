#!/usr/bin/env bash
# Installs the Debian packages that the lab needs and this machine lacks; silent when it lacks none.
# Arguments name further packages: the tests need chromium, which is large, so that a first deploy does without.
set -euo pipefail

packages=(
  bash
  coreutils
  debian-archive-keyring
  git
  iproute2
  mmdebstrap
  mount
  openssh-client
  procps
  shellcheck
  systemd-container
  util-linux
  "$@"
)

missing=()
installed=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' 2>/dev/null) || {
  echo "$0: this machine has no dpkg; install the equivalents of: ${packages[*]}" >&2
  exit 1
}
for package in "${packages[@]}"; do
  grep --quiet --line-regexp --fixed-strings "$package installed" <<<"$installed" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $EUID -ne 0 ]]; then
  echo "$0: these packages are missing and installing them needs root: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi

echo "Installing with apt: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}"
