# What time it is, and how long something takes.

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# Seconds since the boot, into a variable.
uptime_to() { read -r "$1" _ </proc/uptime; }

# Whether at least $1 seconds have gone by since an uptime. Nothing waits for a time that cannot be read.
gone_by() {
  local up now least since
  uptime_to up
  milliseconds_to now "$up" && milliseconds_to least "$1" && milliseconds_to since "$2" || return 0
  ((now - since >= least))
}
