# Files on the host: read, kept whole, cut to their end.

# A file of lines "key value": one key's value, printed or put into the variable $1. A file of sections: one section's first
# line. No program is started for any: a deploy asks for some two hundred of them, and a substitution costs a process.
field() { local found; field_to found "$1" "$2"; [ -z "$found" ] || printf '%s\n' "$found"; }
field_to() {
  local line
  printf -v "$1" ''
  while IFS= read -r line || [ -n "$line" ]; do
    if [[ $line == "$3 "* ]]; then printf -v "$1" %s "${line#"$3 "}"; fi
  done 2>/dev/null <"$2" || true
}
section() {
  local line
  while IFS= read -r line; do
    if [ "${line%% *}" = "$2" ]; then IFS= read -r line || true; printf '%s\n' "$line"; return; fi
  done 2>/dev/null <"$1" || true
}

# Put a file's text without its last line feed into the variable $1; nothing where it cannot be read.
file_to() {
  printf -v "$1" ''
  { IFS= read -r -d '' "$1" <"$2"; } 2>/dev/null || true # bash drops NUL bytes
  printf -v "$1" %s "${!1%$'\n'}"
}

# A private folder that is gone when the script ends.
SCRATCH=
make_scratch() {
  [ -z "$SCRATCH" ] || return 0
  SCRATCH=$(exec mktemp -d -p /run switchproof.XXXXXXXXXX 2>/dev/null) || SCRATCH=$(mktemp -d)
  trap 'rm -rf -- "$SCRATCH"' EXIT
}

# Run a program whose files are for everybody, as systemd would.
openly() { (umask 0022 && exec "$@"); }

# Write a file of lines, so that it is there whole or as it was, also after a loss of power; `keep` returns once it is there.
put() { printf '%s\n' "${@:2}" >"$1.new" && sync "$1.new" && mv "$1.new" "$1"; }
keep() { put "$@" && sync "${1%/*}"; }

# The same for a text in a file that only one of several may write.
keep_first() {
  local rc=0
  { printf %s "$2" >"$1.$$" && sync "$1.$$" && ln -T "$1.$$" "$1" && sync "${1%/*}"; } 2>/dev/null || rc=$?
  rm -f "$1.$$"
  return "$rc"
}

# A text's last bytes; its first line says so if there were more. Nothing longer ever stands in a variable.
tail_of() {
  local limit text
  number_to limit "$1" 0
  { text=$(tail -c "$((limit + 1))"; printf x); } 2>/dev/null # of NUL bytes, which bash drops
  text=${text%x}
  if ((${#text} <= limit)); then printf '%s' "$text"; return; fi
  printf '[what came before these %d bytes is left out]\n%s' "$limit" "${text: -limit}"
}
