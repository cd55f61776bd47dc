# Answering: parts with names, and one frame around them.

payload=
declare -A said
declare -a parts=()
say() { [ -n "${said[$1]+known}" ] || parts+=("$1"); said[$1]=$2; printf -v payload '%s%s %d\n%s\n' "$payload" "$1" "${#2}" "$2"; }

answer() {
  local digest; digest=$(printf '%s' "$payload" | sha256sum)
  printf '\nSWITCHPROOF/1 %s %s %d %s\n' "$SWITCHPROOF_NONCE" "$1" "${#payload}" "${digest%% *}"
  printf '%s' "$payload" | gzip -c | base64
  printf 'SWITCHPROOF/1 %s end\n' "$SWITCHPROOF_NONCE"
}

# A file of lines "key value": one key's value. A file of sections: one section's first line.
field() { sed -n "s/^$2 //p" "$1" 2>/dev/null || true; }
section() { awk -v name="$2" '$1 == name { getline; print; exit }' "$1" 2>/dev/null || true; }

# A private folder that is gone when the script ends.
SCRATCH=
make_scratch() {
  [ -z "$SCRATCH" ] || return 0
  SCRATCH=$(mktemp -d -p /run switchproof.XXXXXXXXXX 2>/dev/null) || SCRATCH=$(mktemp -d)
  trap 'rm -rf -- "$SCRATCH"' EXIT
}

# Run a program whose files are for everybody, as systemd would.
openly() { (umask 0022 && exec "$@"); }

# Write a file so that it is there whole or not at all, also after a loss of power.
keep() { cat >"$1.new" && sync "$1.new" && mv "$1.new" "$1" && sync "${1%/*}"; }

# The same for a file that only one of several may write.
keep_first() {
  local rc=0
  { cat >"$1.$$" && sync "$1.$$" && ln -T "$1.$$" "$1" && sync "${1%/*}"; } 2>/dev/null || rc=$?
  rm -f "$1.$$"
  return "$rc"
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# A text's last bytes; its first line says so if there were more. Nothing longer ever stands in a variable.
tail_of() {
  local limit text
  number_to limit "$1" 0
  text=$(tail -c "$((limit + 1))" | tr -d '\0'; printf x) text=${text%x}
  if ((${#text} <= limit)); then printf '%s' "$text"; return; fi
  printf '[what came before these %d bytes is left out]\n%s' "$limit" "${text: -limit}"
}

# A text for a terminal: what would command it is taken out, whoever said it.
printable() { sed -e 's/[\x00-\x08\x0b-\x1f\x7f]//g; s/\xc2[\x80-\x9f]//g; s/\xe2\x80[\x8e\x8f\xaa-\xae]//g; s/\xe2\x81[\xa6-\xa9]//g'; }

# Seconds since the boot, into a variable.
uptime_to() { read -r "$1" _ </proc/uptime; }

# Whether at least $1 seconds have gone by since an uptime. Nothing waits for a time that cannot be read.
gone_by() {
  local up now least since
  uptime_to up
  milliseconds_to now "$up" && milliseconds_to least "$1" && milliseconds_to since "$2" || return 0
  ((now - since >= least))
}
