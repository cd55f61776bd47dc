# What time it is, and how long something takes.

now() { TZ=UTC0 printf '%(%Y-%m-%dT%H:%M:%SZ)T\n' -1; }

# Seconds since the boot, into a variable.
uptime_to() { read -r "$1" _ </proc/uptime; }

# Whether at least $1 seconds have gone by since an uptime. Nothing waits for a time that cannot be read.
gone_by() {
  local up now least since
  uptime_to up
  milliseconds_to now "$up" && milliseconds_to least "$1" && milliseconds_to since "$2" || return 0
  ((now - since >= least))
}

# Open a file into `idle` on which nothing ever comes, so that a read with a time limit waits without a process: a socket
# that takes datagrams from a port of loopback alone, which only root could send from.
open_idle() { { exec {idle}<>/dev/udp/127.0.0.1/9; } 2>/dev/null || exec {idle}<> <(:); }

# Put what a program says into `answered`, without its last line feeds, and return its exit status; 124 where it takes
# longer than $1 seconds. This is one process, where `timeout` in a substitution is two: with a trap for its end, the shell
# takes another one for each program in a substitution, unless that says `exec`.
answered=''
ask_within() {
  local fd pid rc=0 file=/dev/stdout lost=$((${lost:-0} + 1))
  # With a time limit, bash reads at two calls of the system a byte. Where there is a private folder, only the end comes
  # through the pipe.
  [ -z "${SCRATCH:-}" ] || file=$SCRATCH/answered.$BASHPID
  exec {fd}< <(exec "${@:2}" 3>&1 >"$file" 2>/dev/null)
  pid=$!
  IFS= read -r -N 4194304 -t "$1" -u "$fd" answered || rc=$?
  exec {fd}<&-
  [ "$file" = /dev/stdout ] || IFS= read -r -N 4194304 answered <"$file" || true
  while [[ $answered == *$'\n' ]]; do answered=${answered%$'\n'}; done
  if ((rc > 128)); then
    kill "$pid" 2>/dev/null || true
    return 124
  fi
  rc=0
  wait "$pid" || rc=$?
  # bash can lose the status of a process that ends at the moment at which it is waited for, and has -1 in its place.
  if ((rc >= 0)); then return "$rc"; fi
  ((lost < 10)) && ask_within "$@"
}
