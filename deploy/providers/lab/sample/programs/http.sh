# shellcheck shell=bash
# HTTP/1.0 over stdin and stdout, one request a connection; descriptor 3 is the journal.
CR=$(printf '\r')

# Sets $method and $path. A client that says nothing is dropped after five seconds.
read_request() {
  read -r -t 5 method path _ || exit 0
  path=${path%"$CR"}
  while read -r -t 5 line && [ -n "${line%"$CR"}" ]; do :; done
}

# answer STATUS CONTENT-TYPE BODY [HEADER…]
answer() {
  status=$1 type=$2 body=$3
  shift 3
  printf '%s %s %s\n' "$method" "$path" "${status%% *}" >&3
  printf 'HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %s\r\n' "$status" "$type" "${#body}"
  for header in "$@"; do printf '%s\r\n' "$header"; done
  printf '\r\n'
  [ "$method" = HEAD ] || printf '%s' "$body"
}
