# shellcheck shell=bash
# HTTP/1.0 over stdin and stdout, one request a connection; descriptor 3 is the journal. A $word that the host was
# given ends every line there, so that a reader of the journal can prove that it was read.
word=
CR=$(printf '\r')
LF='
'

# Sets $method and $path. A client that says nothing is dropped after five seconds.
read_request() {
  read -r -t 5 method path _ || exit 0
  path=${path%"$CR"}
  while read -r -t 5 line && [ -n "${line%"$CR"}" ]; do :; done
}

# answer STATUS CONTENT-TYPE BODY [HEADER…]: in one piece; once it is logged it is on its way.
answer() {
  status=$1 type=$2 body=$3 length=${#3} headers=
  shift 3
  for header in "$@"; do headers=$headers$header$CR$LF; done
  [ "$method" != HEAD ] || body=
  printf 'HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %s\r\n%s\r\n%s' \
    "$status" "$type" "$length" "$headers" "$body"
  printf '%s %s %s%s\n' "$method" "$path" "${status%% *}" "${word:+ $word}" >&3
}
