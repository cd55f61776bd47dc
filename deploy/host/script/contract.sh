# The contract: what is probed.

# One endpoint a line: name, units, listen, listener, question, code, backend, wants of the body, commands inside, machine
# (unit, tap, bridge, monitor), keys of the body and the system's files that hold their values, in turn. Wants are a text
# that the body must contain, then keys and values in turn, spelled as JSON in ASCII. A question is one of these:
#   http URL HEADERS-FILE · https URL HEADERS-FILE CONNECT-TO CA-FILE · unix URL HEADERS-FILE SOCKET · tcp ADDRESS PORT ·
#   exec USER PROGRAM ARGUMENT…
# The code is the HTTP status that is wanted, or the exit code, in three digits; 000 where there is none.
# Fields are separated by US, parts of a field by RS. The last field names the unit that is a container, where the
# endpoint answers in the network namespace of one; a unit inside it is called CONTAINER/UNIT.
# Only a target file knows them: a session sends them, and deploy/host/by_hand.py writes them into a script for people.
ENDPOINTS=${SWITCHPROOF_ENDPOINTS:-}

# Take the text $3 apart at each character $2, into the array $1. What is read from a here-string comes byte by byte, at
# several calls of the system each.
split_to() {
  local - IFS=$2
  set -f
  local -n parts_to=$1
  # shellcheck disable=SC2034,SC2206 # taking apart is what it is for, and it is the caller who uses that
  parts_to=($3)
}

# The endpoints' names, in order; and the fields of each, as `ENDPOINT[name field]`.
declare -a NAMES
declare -A ENDPOINT
readonly FIELDS=(name units listen listener question code backend wants looks machine keys container)
list_endpoints() {
  local row index; local -a rows row_fields
  NAMES=() ENDPOINT=()
  split_to rows $'\n' "$ENDPOINTS"
  for row in "${rows[@]}"; do
    split_to row_fields "$US" "$row"
    NAMES+=("${row_fields[0]}")
    for index in "${!FIELDS[@]}"; do ENDPOINT["${row_fields[0]} ${FIELDS[index]}"]=${row_fields[index]:-}; done
  done
}

# The contract's units, once each, in order: all, those of the host itself, and by container those inside.
declare -A CONTAINER_OF INSIDE LEADER
list_units() {
  local name unit container; local -a parts; local -A seen=()
  list_endpoints
  UNITS=() HOST_UNITS=() CONTAINER_OF=() INSIDE=() LEADER=()
  for name in "${NAMES[@]}"; do
    container=${ENDPOINT["$name container"]}
    [ -z "$container" ] || LEADER[$container]=''
    split_to parts "$RS" "${ENDPOINT["$name units"]}"
    for unit in "${parts[@]}"; do
      [ -z "${seen[$unit]:-}" ] || continue
      seen[$unit]=yes UNITS+=("$unit")
      if [[ $unit != */* ]]; then HOST_UNITS+=("$unit"); continue; fi
      CONTAINER_OF[${unit%%/*}]=$container
      INSIDE[${unit%%/*}]+="${unit#*/} "
    done
  done
}
list_units
contract_units() { printf '%s\n' "${UNITS[@]}"; }

# The store path bridge, one program a line: its name, its file in the store path, where a link to that is installed,
# the units that run it, and the flake that would build it here. Which store path it is says NAME_STORE_PATH.
bridged() { local IFS=$US; printf '%s\n' "$*"; }
readonly ALLOW_HOST_BUILD_FALLBACK=${ALLOW_HOST_BUILD_FALLBACK:-false}
BRIDGE=${SWITCHPROOF_BRIDGE:-}
store_path_of() {
  local variable=${1^^}
  variable=${variable//-/_}_STORE_PATH
  [[ ! $variable =~ ^[A-Z][A-Z0-9_]*$ ]] || printf '%s' "${!variable:-}"
}
