# Numbers from outside.
#
# Arithmetic in bash runs what stands in `a[$(…)]`. So no value of a host, a container, a file or a caller gets there
# before one of these three has seen that it is a number; a test of the project finds whatever does.

# Set the variable $1 to the whole number $2, or to $3 where $2 is not one.
number_to() {
  if [[ $2 =~ ^[0-9]{1,15}$ ]]; then printf -v "$1" %s "$((10#$2))"; else printf -v "$1" %s "${3:-}"; fi
}

# Set the variable $1 to the milliseconds in $2 seconds; fails where $2 is not a number of seconds.
milliseconds_to() {
  printf -v "$1" 0
  [[ $2 =~ ^([0-9]{1,12})(\.([0-9]*))?$ ]] || return
  set -- "$1" "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]}000"
  printf -v "$1" %s "$((10#$2 * 1000 + 10#${3:0:3}))"
}

# Put into `lacks` which of the caller's numbers is not one.
find_given_problem() {
  local name
  for name in LEASE_S TIMEOUT_S DEADMAN_S RECONNECT_S PATIENCE_S ANSWERS SAME_FAILURES SAME_ANSWERS MAX_BYTES OFFSET; do
    [[ ${!name} =~ ^(0|[1-9][0-9]{0,14})$ ]] || lacks="$name is '${!name}', which is not a whole number"
  done
  for name in READY_S INTERVAL_S SOAK_S ANSWER_TIMEOUT_S WAIT_S; do
    [[ ${!name} =~ ^[0-9]{1,12}(\.[0-9]*)?$ ]] || lacks="$name is '${!name}', which is not a number of seconds"
  done
}
