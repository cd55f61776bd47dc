# Numbers from outside.
#
# Arithmetic in bash runs what stands in `a[$(…)]`. So no value of a host, a container, a file or a caller gets there
# before one of these three has seen that it is a number; a test of the project finds whatever does. They are asked
# often, and bash makes a regular expression anew each time, which takes ten times as long as a pattern.

# Set the variable $1 to the whole number $2, or to $3 where $2 is not one.
number_to() {
  if [[ $2 == [0-9]* && $2 != *[!0-9]* && ${#2} -le 15 ]]; then printf -v "$1" %s "$((10#$2))"; else printf -v "$1" %s "${3:-}"; fi
}

# Set the variable $1 to the milliseconds in $2 seconds; fails where $2 is not a number of seconds.
milliseconds_to() {
  printf -v "$1" 0
  set -- "$1" "${2%%.*}" "${2#"${2%%.*}"}"
  [[ $2 == [0-9]* && $2${3#.} != *[!0-9]* && ${#2} -le 12 ]] || return
  set -- "$1" "$2" "${3#.}000"
  printf -v "$1" %s "$((10#$2 * 1000 + 10#${3:0:3}))"
}

# Put into `lacks` which of the caller's numbers is not one.
find_given_problem() {
  local name _
  for name in LEASE_S TIMEOUT_S DEADMAN_S RECONNECT_S PATIENCE_S ANSWERS SAME_FAILURES SAME_ANSWERS MAX_BYTES OFFSET; do
    [[ ${!name} == 0 || (${!name} == [1-9]* && ${!name} != *[!0-9]* && ${!name} != ????????????????*) ]] || lacks="$name is '${!name}', which is not a whole number"
  done
  for name in READY_S INTERVAL_S SOAK_S ANSWER_TIMEOUT_S WAIT_S; do
    milliseconds_to _ "${!name}" || lacks="$name is '${!name}', which is not a number of seconds"
  done
}
