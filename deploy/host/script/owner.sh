# Whose a process is.

# Whose process it is, into `unit`: the unit of the contract whose control group it is in, as systemd names that group,
# else the group itself. A unit of a user, or one inside another, may have the name of any unit.
find_unit() { local group; find_group "$1"; name_group "$group"; }

# The control group of a process, into `group`; empty where there is no such process.
find_group() {
  local text=''
  group=''
  { IFS= read -r -N 65536 text <"/proc/$1/cgroup"; } 2>/dev/null || true
  text=$'\n'$text
  # The kernel lists the newer hierarchy last.
  case $text in
    *$'\n'0::*) group=${text##*$'\n'0::} ;;
    *$'\n'1:name=systemd:*) group=${text##*$'\n'1:name=systemd:} ;;
  esac
  group=${group%%$'\n'*} group=${group// /_}
}

name_group() {
  local name own longest=''
  unit=${1:-?}
  for name in "${UNITS[@]}"; do
    own=${value["$name ControlGroup"]:-}
    if [ -n "$own" ] && [[ $1/ == "$own/"* ]] && ((${#own} > ${#longest})); then longest=$own unit=$name; fi
  done
}
