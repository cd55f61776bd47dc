# Answering: parts with names, and one frame around them.

payload=
declare -A said
declare -a parts=()
say() { [ -n "${said[$1]+known}" ] || parts+=("$1"); said[$1]=$2 payload+="$1 ${#2}"$'\n'"$2"$'\n'; }

say_file() { local text; file_to text "$2" && say "$1" "$text"; }

# Say how a verb ended, and why.
refuse() { say outcome "$1"; say detail "$2"; }

answer() {
  # A text that bash hands over ends in a line feed, as each part does. What is too long for a pipe waits in the memory of
  # /run, where a full disk does not matter.
  local digest text=${payload%$'\n'} TMPDIR=/run
  digest=$(exec sha256sum <<<"$text")
  printf '\nSWITCHPROOF/1 %s %s %d %s\n' "$SWITCHPROOF_NONCE" "$1" "${#payload}" "${digest%% *}"
  gzip -c <<<"$text" | base64
  printf 'SWITCHPROOF/1 %s end\n' "$SWITCHPROOF_NONCE"
}
