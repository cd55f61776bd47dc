# One answer of an endpoint: http, https, tcp, unix, exec.

# An answer without a body: its code, curl's or the script's own, and words.
no_answer() { printf '%s' "000${US}0${US}0${US}$1${US}0$US$US$US$2"; }

# The answer of an endpoint in a container that has no process.
readonly NOT_UP="000${US}0${US}0${US}7${US}0$US$US${US}its container is not up"

# What curl says of an answer: its code, connect and total seconds, curl's exit code, bytes of body, address and port that
# answered, and curl's words.
readonly ANSWER_FORM="%{http_code}$US%{time_connect}$US%{time_total}$US%{exitcode}$US%{size_download}$US%{remote_ip}$US%{remote_port}$US%{errormsg}%{redirect_url}"

# Put into `asking` curl's arguments for the question $2 of the endpoint $1: the body goes into the file $3, its headers
# beside it. Fails for a question that is not one to a URL, or is not asked: `refusal` says why.
take_question() {
  local -a part
  split_to part "$RS" "$2"
  asking=() refusal=(2 "this host's script does not know a probe of kind '${part[0]:-}'")
  case ${part[0]:-} in
    http) ;;
    https)
      asking+=(--connect-to "${part[3]}")
      # The system's authorities, or the file's and no other.
      if [ -n "${part[4]:-}" ]; then
        if ! { [ -f "${part[4]}" ] && [ -r "${part[4]}" ] && [ -s "${part[4]}" ]; }; then
          refusal=(77 "${part[4]}, which ca_file names, is not a file with certificates that can be read")
          return 1
        fi
        [ -d "$SCRATCH/no-authorities" ] || mkdir "$SCRATCH/no-authorities"
        asking+=(--cacert "${part[4]}" --capath "$SCRATCH/no-authorities")
      fi
      ;;
    unix) asking+=(--unix-socket "${part[3]}") ;;
    *) return 1 ;;
  esac
  # curl reads the headers itself, so that their values stand in no list of arguments and in no answer.
  if [ -n "${part[2]:-}" ]; then
    if ! { [ -f "${part[2]}" ] && [ -r "${part[2]}" ]; }; then
      refusal=(26 "${part[2]}, which headers_file names, is not a file that can be read")
      return 1
    fi
    asking+=(-H "@${part[2]}")
  fi
  asking+=(-o "$3" -D "$3.head" -w "$1$US$ANSWER_FORM\n" --max-time "$ANSWER_TIMEOUT_S" --max-filesize "$MAX_BYTES")
  asking+=(--noproxy '*' --max-redirs 0 --globoff --url "${part[1]}")
}

# Have one curl ask what `take_question` made of questions, all at once, in the network of the container $1, if any: a line
# an endpoint, which begins with its name.
ask_urls() {
  local -a enter=()
  if [ -n "$1" ]; then
    [ -n "${LEADER[$1]:-}" ] || return 0
    # The host's own curl in the container's network alone: nothing need be there inside.
    enter=(nsenter -t "${LEADER[$1]}" -n --)
  fi
  # Whom the host's system trusts, not whom the caller's variables name.
  unset CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
  trap '' XFSZ # some versions of curl write on beyond --max-filesize
  ulimit -f "$((MAX_BYTES / 1024 + 1))"
  exec "${enter[@]}" curl -q -sS --parallel --parallel-immediate --parallel-max 300 "${@:2}" 2>/dev/null
}

# One answer to the question $1 of an endpoint that is not one to a URL, with its body in the file $4. $2 is the container
# in whose network it is asked, if any, and $3 a text for which a connection waits.
ask_endpoint() {
  local -a part
  split_to part "$RS" "$1"
  case ${part[0]:-} in
    tcp) ask_tcp "$2" "${part[1]}" "${part[2]}" "$3" "$4" ;;
    exec) ask_program "$2" "$4" "${part[@]:1}" ;;
    *) no_answer "${refusal[@]}" ;;
  esac
}

# The answer of a URL: its body, then a line of what curl says of it.
ask() {
  exec curl -q -sS --noproxy '*' --max-time "$ANSWER_TIMEOUT_S" --max-redirs 0 --max-filesize "$MAX_BYTES" \
    -w "\n$ANSWER_FORM" -- "$1" 2>/dev/null
}

# Microseconds since $1, in the form of EPOCHREALTIME, into the variable $2; and the same as seconds, into `took`.
took=''
took_to() {
  local since=$((${EPOCHREALTIME/./} - ${1/./}))
  printf -v "$2" %s "$since"
  printf -v took '%d.%06d' "$((since / 1000000))" "$((since % 1000000))"
}

# A connection to the port $3 of $2, in the network of the container $1, if any: what it received into the file $5, until
# that has the text $4. The words of a good answer are the processes that accepted it, each with its control group.
ask_tcp() {
  local text='' limit=0; local -a enter=()
  if [ -n "$1" ]; then
    [ -n "${LEADER[$1]:-}" ] || { printf %s "$NOT_UP"; return; }
    enter=(nsenter -t "${LEADER[$1]}" -n --)
  fi
  milliseconds_to limit "$ANSWER_TIMEOUT_S"
  # Another shell, as a connection has no time limit of its own in bash.
  text=$(timeout -k 1 "$((limit / 1000 + 2))" "${enter[@]}" "$BASH" -c "
    set -u; export LC_ALL=C; US=$'\x1f'; took=''
    $(declare -f no_answer took_to find_group find_accepting connect)
    connect \"\$@\"" - "${@:2}" "$((limit * 1000))" "$MAX_BYTES" 2>/dev/null) || true
  if [ -n "$text" ]; then printf '%s' "$text"; else no_answer 28 'no connection in time'; fi
}

# The same in a shell of its own: address, port, text, file, microseconds, bytes. A process that has the connection open has
# accepted it, and so has one that sent something or closed it in order. The kernel alone makes a connection all the same:
# that of a process which is stopped.
connect() {
  local began=$EPOCHREALTIME connected='' us=0 char='' rc window='' size=0 heard='' over='' owners='' failed=''
  if ! { exec 3<>"/dev/tcp/$1/$2"; } 2>"$4.error"; then
    no_answer 7 "$(sed -n '1s/.*: //p' "$4.error")"
    return
  fi
  took_to "$began" us
  connected=$took
  exec 4>"$4"
  while took_to "$began" us && ((us < $5)); do
    if [ -z "$3" ] || [ -n "$over" ]; then
      failed=''
      owners=$(find_accepting "$2") || failed=yes
      if [ -n "$owners$heard" ] || { [ -n "$over" ] && [ -z "$failed" ]; }; then break; fi
      if [ -n "$over" ]; then sleep 0.2; continue; fi
    fi
    rc=0
    IFS= read -r -d '' -n 1 -t 0.05 char <&3 || rc=$?
    # A byte may come together with the end of the time.
    if [ "$rc" = 0 ] || [ -n "$char" ]; then
      heard=yes size=$((size + 1))
      if [ -n "$char" ]; then printf %s "$char" >&4; else printf '\0' >&4; fi
      if [ -n "$char" ]; then window+=$char; else window=''; fi
      ((${#window} <= ${#3})) || window=${window: -${#3}}
      if [ "$window" = "$3" ] || [ -z "$3" ] || ((size >= $6)); then over=yes; fi
    elif ((rc < 128)); then
      over=yes
    fi
  done
  [ -n "$heard$owners$failed" ] || owners=$(find_accepting "$2") || failed=yes
  took_to "$began" us
  if [ -z "$heard$owners$failed$over" ]; then
    no_answer 101 ''
  elif [ -z "$heard$owners" ] && [ -n "$failed" ]; then
    no_answer 2 'ss did not say which process has the connection'
  elif [ -z "$heard" ] && [ "$owners" = reset ]; then
    no_answer 56 ''
  else
    printf %s "000$US$connected$US$took${US}0$US$size$US$1$US$2$US${owners#reset}"
  fi
}

# The processes that have the other end of this shell's connection to the port $1, each with its control group, as it may
# end with the connection; or `reset` where the connection is no more.
find_accepting() {
  local rows pid group
  rows=$(timeout 5 ss -Htnp "( sport = :$1 or dport = :$1 )" 2>/dev/null) || return
  awk -v me="pid=$$," '
    function bare(address) {
      sub(/%[^]:]+/, "", address)
      if (address ~ /^\[::ffff:[0-9.]+\]/) { sub(/^\[::ffff:/, "", address); sub(/\]/, "", address) }
      return address
    }
    {
      users = ""
      for (n = 6; n <= NF; n++) users = users " " $n
      owners[bare($4) " " bare($5)] = users
      if (index(users, me)) other = bare($5) " " bare($4)
    }
    END {
      if (other == "") print "reset"
      users = other == "" ? "" : owners[other]
      while (match(users, /pid=[0-9]+/)) { print substr(users, RSTART + 4, RLENGTH - 4); users = substr(users, RSTART + RLENGTH) }
    }' <<<"$rows" | while read -r pid; do
    if [ "$pid" = reset ]; then printf reset; return; fi
    find_group "$pid"
    [ -z "$group" ] || printf '%s:%s ' "$pid" "$group"
  done
}

# What came of running a program as the user $3, in the network of the container $1, if any: its output into the file $2.
# The rest are the program and its arguments. It gets none of this script's variables, which may hold secrets.
ask_program() {
  local began=$EPOCHREALTIME us=0 limit=0 uid gid size=0 rc; local -a enter=() ended
  if [ -n "$1" ]; then
    [ -n "${LEADER[$1]:-}" ] || { printf %s "$NOT_UP"; return; }
    enter=(nsenter -t "${LEADER[$1]}" -n --)
  fi
  { uid=$(id -u -- "$3") && gid=$(id -g -- "$3"); } 2>/dev/null || { no_answer 103 "this host has no user '$3'"; return; }
  if ! { [ -f "$4" ] && [ -x "$4" ]; }; then no_answer 103 "$4 is not a program on this host"; return; fi
  milliseconds_to limit "$ANSWER_TIMEOUT_S"
  set +e
  # What it exits with counts only if it was begun: others before it exit with 1 as well.
  (
    close_files '' && cd / && exec env -i PATH="$PATH" LANG=C.UTF-8 USER="$3" LOGNAME="$3" timeout -k 1 "$ANSWER_TIMEOUT_S" \
      "${enter[@]}" setpriv --reuid "$uid" --regid "$gid" --init-groups -- \
      "$BASH" -c 'echo begun >&3 && exec 3>&- && exec "$@"' - "${@:4}" </dev/null 2>&1 3>"$2.begun"
  ) | timeout -k 1 "$((limit / 1000 + 2))" head -c "$((MAX_BYTES + 1))" >"$2"
  ended=("${PIPESTATUS[@]}")
  set -e
  took_to "$began" us
  number_to rc "${ended[0]}" 127
  number_to size "$(stat -c %s -- "$2")" 0
  if [ ! -s "$2.begun" ] || ((rc == 126 || rc == 127)); then
    no_answer 103 "$(head -c 300 -- "$2" | tr -c '[:print:]' ' ')"
  elif ((size > MAX_BYTES)); then
    no_answer 63 ''
  elif [ "${ended[1]}" != 0 ]; then
    no_answer 28 'something that it began keeps its output open'
  elif ((us >= limit * 1000)); then
    no_answer 28 ''
  else
    printf '%03d%s' "$rc" "${US}0$US$took${US}0$US$size$US$US$US"
  fi
}
