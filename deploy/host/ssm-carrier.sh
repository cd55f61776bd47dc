# shellcheck shell=sh disable=SC2154 # the assignments stand before this text
# Carries one program to a host and its output back, for SSM Run Command, which passes on no more than 24,000
# characters, may run a command twice or lose its answer, and gives some exit codes a meaning of its own. The agent
# hands this text to `sh`. Before it stand assignments: question (names what is carried), action (ask, look, withdraw),
# digest, interpreter and argument of the program, packed (the program, unless the host should have it), values
# (exports, packed), offset and limit (bytes of the output to answer with), patience (seconds).
set -u
umask 077
PATH="/run/wrappers/bin:/run/current-system/sw/bin:${PATH:-}:/usr/local/bin:/usr/bin:/bin"
HOME="${HOME:-/root}"
export PATH HOME
cd / || exit 1
shelf=/run/switchproof/ssm
mine=$shelf/$question
file=$shelf/files/$digest

# Whoever asks checks all of it: sizes, the digest of the whole output, and that the last line is there.
answer() {
  size=0 sum=-
  if [ "$1" = answered ]; then
    size=$(($(wc -c <"$mine/out.gz")))
    sum=$(sha256sum <"$mine/out.gz")
  fi
  printf '\nSWITCHPROOF-SSM/1 %s %s %s %s %s %s\n' "$question" "$1" "$2" "$size" "${sum%% *}" "$offset"
  if [ "$1" = answered ]; then
    tail -c 1500 "$mine/err" | base64 | tr -d '\n'
    echo
    tail -c "+$((offset + 1))" "$mine/out.gz" | head -c "$limit" | base64 | tr -d '\n'
  fi
  printf '\nSWITCHPROOF-SSM/1 %s end\n' "$question"
  exit 0
}

unpack() { printf '%s' "$1" | base64 -d | gzip -dc; }
is_whole() { [ "$(sha256sum <"$file")" = "$digest  -" ]; }

# The program is on the host, whole, from now on; a later question need not carry it.
take_program() {
  mkdir -p "$shelf/files"
  [ -d "$shelf/files" ] || exit 1
  if [ -n "$packed" ]; then
    unpack "$packed" >"$file.$$" && mv "$file.$$" "$file"
    is_whole || answer corrupt "$(wc -c <"$file")"
  elif [ ! -e "$file" ] || ! is_whole; then
    answer needs -
  else
    touch "$file" # so that a host that is asked often keeps it
  fi
}

# The user's rule allows this one command, to which the program comes as its input. The file itself is root's. The same shell
# writes the variables and reads them, as shells quote differently.
as_user() {
  { /bin/sh -c 'export -p'; echo "exec $interpreter $file $argument </dev/null"; } |
    runuser -u "$SWITCHPROOF_USER" -- env LC_ALL=C sudo -n -H -u root -- /bin/sh -c 'echo switchproof-is-root; exec /bin/sh -s'
}

# A signal's end looks like an exit status above 128; only then does the shell itself say a word, and every shell does
# so only of what it waits for.
run_program() {
  [ -z "$values" ] || eval "$(unpack "$values")"
  {
    if [ -z "${SWITCHPROOF_USER:-}" ]; then
      "$interpreter" "$file" ${argument:+"$argument"} </dev/null >"$mine/out" 2>"$mine/err" &
    else
      as_user >"$mine/out" 2>"$mine/err" &
    fi
    wait $!
    status=$?
  } 2>"$mine/told"
  if [ -s "$mine/told" ] && [ "$status" -gt 128 ]; then status=signal; fi
  cat "$mine/told" >>"$mine/err"
  gzip -c <"$mine/out" >"$mine/out.gz" || gzip -t "$mine/out.gz" || exit 1
  rm "$mine/out"
  printf '%s\n' "$status" >"$mine/status.new" && mv "$mine/status.new" "$mine/status"
}

# Whoever gives the question's folder its name has it; the process stands in it that answers for the question. What is there
# counts, as a busy bash can lose how a program ended.
take_name() {
  mkdir "$mine.$$"
  echo "$1" >"$mine.$$/process" || exit 1
  mv -T "$mine.$$" "$mine" 2>/dev/null
  [ -d "$mine.$$" ] || return 0
  rm -r "$mine.$$"
  return 1
}

tell_if_ended() { [ ! -s "$mine/status" ] || answer answered "$(cat "$mine/status")"; }
tell_if_lost() { [ -d "/proc/$(cat "$mine/process" 2>/dev/null || echo none)" ] || { tell_if_ended; answer lost -; }; }

case $action in
  ask)
    find "$shelf" -mindepth 2 -type f -mmin +600 -delete 2>/dev/null
    find "$shelf" -mindepth 1 -type d -mmin +600 -empty -delete 2>/dev/null
    take_program
    # If this is carried twice, the other waits for the answer; if it comes after it was withdrawn, nothing is run.
    if take_name $$; then run_program; fi
    while [ "$patience" -gt 0 ]; do
      tell_if_ended
      tell_if_lost
      sleep 1
      patience=$((patience - 1))
    done
    answer running "$(cat "$mine/process")"
    ;;
  withdraw)
    mkdir -p "$shelf"
    if take_name none; then answer unknown -; fi
    tell_if_ended
    tell_if_lost
    answer running "$(cat "$mine/process")"
    ;;
  *)
    [ -d "$mine" ] || answer unknown -
    tell_if_ended
    tell_if_lost
    answer running "$(cat "$mine/process")"
    ;;
esac
