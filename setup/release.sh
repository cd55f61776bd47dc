#!/usr/bin/env bash
# Prepares a release: sets the version, dates the changelog, builds the packages and checks them. Commits, pushes and
# publishes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fail() { echo "release: $*" >&2; exit 1; }

version=${1:-}
[[ $version =~ ^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}((a|b|rc)[1-9][0-9]*)?$ ]] ||
  fail "'$version' is not a version; write 1.2.3, or 1.2.3rc1 for a candidate"
branch=$(git branch --show-current)
[[ $branch == main ]] || fail "releases are made on main, and this is '$branch'"
[[ -z $(git status --porcelain) ]] || fail "the working copy has changes; commit or stash them first"
! git rev-parse --quiet --verify "refs/tags/v$version" >/dev/null || fail "tag v$version exists; choose another version"
awk '/^## / { inside = $0 == "## Unreleased" } inside && /^- / { entries++ } END { exit !entries }' CHANGELOG.md ||
  fail "CHANGELOG.md has no entry under 'Unreleased', so there is nothing to release"

edit() { sed "$2" "$1" >"$1.new" && cat "$1.new" >"$1" && rm "$1.new"; }
undo() { rm -f ./*.new && git checkout --quiet -- pyproject.toml CHANGELOG.md; }
trap undo EXIT
edit pyproject.toml "/^\[project\]$/,/^\[/s/^version = \".*\"$/version = \"$version\"/"
edit CHANGELOG.md "s/^## Unreleased$/## $version ($(date -u +%Y-%m-%d))/"
setup/build-package.sh
trap - EXIT

cat <<END

Version $version is built in dist/. Nothing is committed, pushed or published. Look at \`git diff\` and dist/, then:

  git commit --all --message="Release $version"
  git tag --annotate v$version --message="Switchproof $version"
  git push origin main v$version
END
