# Secrets that a system decrypts when it is activated: whether this host can.

# Print each encrypted file of the system $1 that this host cannot decrypt, and why, a line each. What cannot be told, such
# as a key of another kind, is no line. Nothing is written: what age decrypts is thrown away.
locked_secrets() {
  local script; local -a scripts=("$1/activate")
  for script in "$1"/etc/systemd/system/{agenix,sops}-install-secrets*.service; do
    [ ! -e "$script" ] || mapfile -t -O "${#scripts[@]}" scripts < <(exec sed -n 's/^ExecStart=[-@:+!]*\([^ ]*\).*/\1/p' "$script")
    scripts+=("$script")
  done
  for script in "${scripts[@]}"; do
    if [ -r "$script" ] && grep -qE 'IDENTITIES|sops-install-secrets' "$script"; then
      locked_to_age "$script"
      locked_to_sops "$script"
    fi
  done
}

# Whether a job may go on to the system $1, as far as its secrets are concerned.
check_secrets() {
  local locked; locked=$(job_dir)/secrets
  locked_secrets "$1" >"$locked" || true
  [ -s "$locked" ] || return 0
  if [ -n "$LOCKED_SECRETS" ]; then return; fi
  stage secrets
  sed 's/^/error: this host cannot decrypt /' "$locked"
  return 1
}

# Of agenix: its script names the program, the identities and each file, so that decrypting can be tried.
locked_to_age() {
  local kind text program='' words path; local -a identities=()
  while IFS=$US read -r kind text; do
    case $kind in
      identities)
        identities=()
        for path in $text; do [ ! -s "$path" ] || identities+=(-i "$path"); done
        ;;
      program) program=$text ;;
      file)
        if ((${#identities[@]} == 0)); then echo "$text: none of the keys that age.identityPaths names is on this host"; continue; fi
        words=$(timeout 10 "$program" --decrypt "${identities[@]}" "$text" 2>&1 >/dev/null </dev/null) || true
        [[ $words != *[Nn]'o '*identit*match* && $words != *'No matching keys'* ]] || echo "$text: ${words%%$'\n'*}"
        ;;
    esac
  done < <(exec awk -v OFS="$US" '
    /^ *for identity in .*; do$/ { sub(/^ *for identity in /, ""); sub(/; do$/, ""); print "identities", $0 }
    / --decrypt .*TMP_FILE" "[^"]+"$/ {
      for (at = 1; at < NF; at++) if ($(at + 1) == "--decrypt") print "program", $at
      sub(/"$/, ""); sub(/.*"/, ""); print "file", $0
    }' "$1")
}

# Of sops-nix: each file lists its recipients. The host's are that of its SSH key, as the run knows it, and those that its key
# file tells. Where a file or the host has keys of other kinds, nothing is said.
locked_to_sops() {
  local manifest file text; local -a own files
  while read -r _ manifest; do
    own=()
    text=$(grep -oE '"(ageKeyFile|ageSshKeyPaths)":("[^"]*"|\[[^]]*\])' "$manifest") || continue
    if [[ $text == *'"ageKeyFile":"'* ]]; then
      file=${text#*'"ageKeyFile":"'}
      mapfile -t own < <(grep -oE "$RECIPIENT" "${file%%\"*}" 2>/dev/null)
      ((${#own[@]} > 0)) || continue
    fi
    case $text in
      *'"ageSshKeyPaths":["/etc/ssh/ssh_host_ed25519_key"]'*) own+=("$AGE_RECIPIENT") ;;
      *'"ageSshKeyPaths":['[!]]*) continue ;;
    esac
    if ((${#own[@]} == 0)) || [ -z "${own[-1]}" ]; then continue; fi
    mapfile -t files < <(grep -oE '"sopsFile":"[^"]+"' "$manifest" | cut -d'"' -f4 | sort -u)
    for file in "${files[@]}"; do
      if [ ! -r "$file" ] || grep -qE '"?(fp|arn|resource_id|vault_url|vault_address|shamir_threshold)"?[ :=]' "$file"; then continue; fi
      text=$(grep -oE "$RECIPIENT" "$file") || continue
      grep -qwFf <(printf '%s\n' "${own[@]}") <<<"$text" || echo "$file: this host's key is none of its recipients"
    done
  done < <(grep -aoE 'sops-install-secrets /[^ "]+\.json' "$1" | sort -u)
}
readonly RECIPIENT='age1[0-9a-z]{58}'
