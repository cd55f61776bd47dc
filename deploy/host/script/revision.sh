# The revision: which commit is meant.

name_repository() {
  [ -n "$REPO_URL" ] || REPO_URL=$(git -C "$WORKDIR" remote get-url origin 2>/dev/null || true)
  [ -n "$REPO_URL" ] || { refuse checkout "no repository is given (REPO_URL), and $WORKDIR has no remote 'origin'"; return 1; }
}

fetch() {
  local words top depth=()
  if [ ! -e "$WORKDIR" ] || { [ -d "$WORKDIR" ] && [ -z "$(ls -A "$WORKDIR")" ]; }; then
    words=$(git init --quiet "$WORKDIR" 2>&1) || { refuse checkout "$WORKDIR cannot be created: $words"; return 1; }
  elif ! words=$(git -C "$WORKDIR" rev-parse --git-dir 2>&1); then
    refuse checkout "$WORKDIR is not a git repository that $(id -un) may use: $words"
    return 1
  elif top=$(git -C "$WORKDIR" rev-parse --show-toplevel 2>/dev/null) && [ ! "$top" -ef "$WORKDIR" ]; then
    refuse checkout "$WORKDIR is a folder inside the git repository $top, not a repository itself"
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

# Say how much room there is for a deploy: bytes, then inodes of how many, in each of the places that it writes to. And
# with which nix it would build, and the key that secrets are encrypted for.
say_room() {
  say room "$(
    df -B1 --output=file,target,avail,iavail,itotal /nix/store /var/lib /boot /boot/efi /efi 2>/dev/null || true # some are not there
    grep -E '^(MemAvailable|SwapFree):' /proc/meminfo || true
    timeout 10 nix --version 2>/dev/null || true
  )"
  say_file ssh_key /etc/ssh/ssh_host_ed25519_key.pub
}

# Fetch while the host is noted, one after the other: who asked before, and lost the connection, may still be at it.
fetch_in_turn() {
  local turn
  if [ -n "${SWITCHPROOF_CLAIM:-}" ]; then be_at_work; fi
  if ! { mkdir -p "$STATE" && exec {turn}>>"$STATE/fetch.lock" && flock -w 650 "$turn"; } 2>/dev/null; then
    [ -z "${turn:-}" ] || exec {turn}>&-
    refuse unready "cannot lock $STATE/fetch.lock; held by $(holders_of "$STATE/fetch.lock")"
    return
  fi
  umask 0022
  ! fetch || fetched=yes
  umask 0077
  exec {turn}>&-
}

# What nix leaves out of a commit's source, unless its flake.nix asks for it.
left_out_of() {
  [ -z "$(git -C "$WORKDIR" ls-tree --name-only "$1" -- .gitmodules)" ] || echo submodules
  # A folder's own attributes count as well.
  ! git -C "$WORKDIR" grep -qE '^[^#].*filter=lfs' "$1" -- ':(glob)**/.gitattributes' || echo lfs
}

verb_resolve() {
  if [ -z "$RELEASE_SHA" ]; then refuse malformed "'' is not a revision: set RELEASE_SHA to a commit, a branch or a tag"; return; fi
  if ! git check-ref-format --allow-onelevel "$RELEASE_SHA" 2>/dev/null || [[ $RELEASE_SHA == -* ]]; then
    refuse malformed "'$RELEASE_SHA' is neither a commit, a branch nor a tag"
    return
  fi
  if [ -n "${SWITCHPROOF_CLAIM:-}" ]; then claim find_commit || true; else find_commit; fi
}

# Say which commit the revision is, and what there is to say of it; done while the host is noted.
find_commit() {
  local found name sha fetched=''; local -a shas=() of_commit=()
  if [ -z "${SWITCHPROOF_READONLY:-}" ]; then
    fetch_in_turn
    say_room
  fi
  if [ -n "${SWITCHPROOF_READONLY:-}" ]; then
    name_repository || return 0
    name=${RELEASE_SHA#refs/}
    found=$(timeout 60 git ls-remote -- "$REPO_URL" "refs/heads/${name#heads/}" "refs/tags/${name#tags/}"{,'^{}'} 2>&1 </dev/null) ||
      { refuse unreachable "git ls-remote on the repository failed: $found"; return; }
    # The commit of an annotated tag stands in the line that ends in ^{}; other lines are warnings of git or ssh.
    found=$(awk 'length($1) == 40 && $2 ~ /^refs\// { name = $2; sub(/\^\{\}$/, "", name); commit[name] = $1 }
      END { for (name in commit) print commit[name], name }' <<<"$found")
  else
    [ -n "$fetched" ] || return 0
    found=$(candidates "$RELEASE_SHA" | sort -u) || { refuse checkout "git cannot read $WORKDIR"; return; }
  fi
  while read -r sha _; do [[ " ${shas[*]} " == *" $sha "* ]] || shas+=("$sha"); done <<<"$found"
  case ${#shas[@]} in
    0) refuse missing "the repository has no commit, branch or tag '$RELEASE_SHA'; a commit must be in a branch or tag" ;;
    1)
      say outcome ok
      say sha "${shas[0]}"
      [ -z "${SWITCHPROOF_READONLY:-}" ] || return 0
      mapfile -t of_commit < <(exec git -C "$WORKDIR" log -1 --format=%s%n%an%n%aI "${shas[0]}")
      say subject "${of_commit[0]:-}"
      say author "${of_commit[1]:-}"
      say authored "${of_commit[2]:-}"
      say left_out "$(left_out_of "${shas[0]}")"
      say checkout "$(git -C "$WORKDIR" rev-parse --quiet --verify HEAD || true) $(
        [ -z "$(git -C "$WORKDIR" status --porcelain 2>/dev/null | head -n1)" ] || printf 'with uncommitted changes')"
      ;;
    *) refuse ambiguous "'$RELEASE_SHA' is ambiguous, it may mean: ${found//$'\n'/, }; give the full commit, or heads/… or tags/…" ;;
  esac
}

flake() { printf 'git+file://%s?rev=%s#%s' "$WORKDIR" "$RELEASE_SHA" "$1"; }
toplevel_attr() { printf 'nixosConfigurations."%s".config.system.build.toplevel' "$FLAKE_ATTR"; }
