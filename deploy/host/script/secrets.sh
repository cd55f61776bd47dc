# Secrets that a system decrypts when it is activated: whether this host can.

# Print each encrypted file of the system $1 that this host cannot decrypt, and why, a line each. A line that begins with
# `? ` is about what cannot be told, such as a key of another kind. Nothing is written: what age decrypts is thrown away.
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
  local locked; locked=$RUN_DIR/$JOB/secrets
  locked_secrets "$1" | grep -v '^? ' >"$locked" || true
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
        words=$(timeout 10 "$program" --decrypt "${identities[@]}" "$text" 2>&1 >/dev/null </dev/null) && continue
        [[ $words == *[Nn]'o '*identit*match* || $words == *'No matching keys'* ]] || text="? $text"
        echo "$text: ${words%%$'\n'*}"
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
# file tells. Where a file or the host has keys of other kinds, it cannot be told.
locked_to_sops() {
  local manifest file text unknown; local -a own files
  while read -r _ manifest; do
    own=() unknown=''
    text=$(grep -oE '"(ageKeyFile|ageSshKeyPaths)":("[^"]*"|\[[^]]*\])' "$manifest") || unknown=1
    if [[ $text == *'"ageKeyFile":"'* ]]; then
      file=${text#*'"ageKeyFile":"'}
      mapfile -t own < <(grep -oE "$RECIPIENT" "${file%%\"*}" 2>/dev/null)
      ((${#own[@]} > 0)) || unknown=1
    fi
    case $text in
      *'"ageSshKeyPaths":["/etc/ssh/ssh_host_ed25519_key"]'*) if [ -n "$AGE_RECIPIENT" ]; then own+=("$AGE_RECIPIENT"); else unknown=1; fi ;;
      *'"ageSshKeyPaths":['[!]]*) unknown=1 ;;
    esac
    mapfile -t files < <(grep -oE '"sopsFile":"[^"]+"' "$manifest" | cut -d'"' -f4 | sort -u)
    for file in "${files[@]}"; do
      text=$(grep -oE "$RECIPIENT" "$file" 2>/dev/null) || text=
      if ((${#own[@]} == 0)); then
        echo "? $file: the run does not know this host's keys"
      elif ! grep -qwFf <(printf '%s\n' "${own[@]}") <<<"$text"; then
        if [ -n "$unknown" ] || [ -z "$text" ] || grep -qE '"?(fp|arn|resource_id|vault_url|vault_address|shamir_threshold)"?[ :=]' "$file"; then
          echo "? $file: it, or this host, has keys of other kinds"
        else
          echo "$file: this host's key is none of its recipients"
        fi
      fi
    done
  done < <(grep -aoE 'sops-install-secrets /[^ "]+\.json' "$1" | sort -u)
}
readonly RECIPIENT='age1[0-9a-z]{58}'
