#!/usr/bin/env bash
# Builds wheel and sdist into dist/, installs each into an environment of its own, and asks it for its version.
# Everything that is installed for this comes from requirements-deploy.lock, by digest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
fail() { echo "build-package: $*" >&2; exit 1; }

version=$(sed -n '/^\[project\]$/,/^\[/s/^version = "\(.*\)"$/\1/p' pyproject.toml)
[[ -n $version ]] || fail "pyproject.toml names no version"
environments=$(mktemp -d)
trap 'rm -rf "$environments"' EXIT

environment() {
  python3 -m venv "$environments/$1"
  "$environments/$1/bin/pip" install --quiet --require-hashes -r requirements-deploy.lock
}

environment build
rm -rf dist
"$environments/build/bin/hatchling" build --directory dist
packages=(dist/*)
[[ ${#packages[@]} -eq 2 ]] || fail "expected a wheel and an sdist in dist/, found: ${packages[*]}"

for package in "${packages[@]}"; do
  name=${package##*.}
  environment "$name"
  "$environments/$name/bin/pip" install --quiet --no-deps --no-build-isolation "$PWD/$package"
  "$environments/$name/bin/pip" check --quiet
  # From another folder, so that nothing of the working copy is imported.
  said=$(cd "$environments" && "$name/bin/switchproof" --version)
  [[ $said == "switchproof $version" ]] || fail "$package says that it is '$said', not $version"
  echo "$package: $said"
done
