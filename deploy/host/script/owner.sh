# Whose a process is.

# Whose process it is, into `unit`: the unit of the contract whose control group it is in, as systemd names that group,
# else the group itself. A unit of a user, or one inside another, may have the name of any unit.
find_unit() { local group; find_group "$1"; name_group "$group"; }

# The control group of a process, into `group`; empty where there is no such process.
find_group() {
  local line
  group=''
  while IFS= read -r line; do
    case $line in 0::* | 1:name=systemd:*) group=${line#*:*:} ;; esac
  done 2>/dev/null <"/proc/$1/cgroup" || true
  group=${group// /_}
}

name_group() {
  local name own longest=''
  unit=${1:-?}
  for name in "${UNITS[@]}"; do
    own=${value["$name ControlGroup"]:-}
    if [ -n "$own" ] && [[ $1/ == "$own/"* ]] && ((${#own} > ${#longest})); then longest=$own unit=$name; fi
  done
}
