#!/usr/bin/env bash
# What is on a host beside what the contract looks at; looks and changes nothing.
#
#   look-around.sh [UNIT…]     the contract's units, as the target file spells them
#
# Prints one line for each section, its name and its text in base 64, and `end` when all of them are told. Values of
# variables and files never leave the host: of what only makes sense with AWS, the words that show it are told.
set -uo pipefail
export LC_ALL=C SYSTEMD_PAGER='' SYSTEMD_COLORS=0
export PATH="/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
readonly AWS='AWS_[A-Z_]+|169\.254\.169\.254|fd00:ec2::254|[a-z0-9.-]*amazonaws\.com|amazon-ssm-agent'
readonly SYSTEM=/run/current-system

# A section whose command fails is not told at all: silence is no answer.
section() {
  local text
  text=$("${@:2}") || return 0
  printf '%s %s\n' "$1" "$(printf '%s' "$text" | base64 -w0)"
}

units() {
  systemctl show -p Id,LoadState,ActiveState,FragmentPath,SourcePath,DropInPaths,Transient -- '*'
}

unit_files() {
  systemctl list-unit-files --no-legend --plain | cut -d ' ' -f 1
}

# Paths, one a line, each with what it leads to, also where that is not there.
led_to() {
  local paths
  paths=$(cat)
  if [ -n "$paths" ]; then paste <(printf '%s\n' "$paths") <(printf '%s\n' "$paths" | xargs -d '\n' realpath -m --); fi
}

# Where the files of units really are.
real_paths() {
  units | sed -n 's/^\(FragmentPath\|DropInPaths\)=//p' | tr ' ' '\n' | grep / | sort -u | led_to
}

# Units that lie where an administrator or a program puts them, loaded or not.
placed() {
  local path
  for path in /etc/systemd/system{,.control}/* /run/systemd/system{,.control}/* /usr/local/lib/systemd/system/*; do
    if [ -f "$path" ] || [ -L "$path" ]; then printf '%s\n' "$path"; fi
  done | led_to
}

# Each process: its number, its program, and what it calls itself. find ends with 1 where one of them ends while it looks,
# and otherwise where it did not come to the end.
processes() {
  local pid program word
  { find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/exe' -printf '%P\t%l\n' 2>/dev/null || [ $? = 1 ]; } |
    while IFS=$'\t' read -r pid program; do
      word=''
      { IFS= read -r -d '' word <"/proc/${pid%/exe}/cmdline"; } 2>/dev/null
      printf '%s\t%s\t%s\n' "${pid%/exe}" "$program" "${word//[[:cntrl:]]/ }"
    done
}

sockets() {
  ss -H -l -n -t -u -p
}

# The configuration of the sshd that serves, which its unit may have given it a place of its own.
sshd() {
  local unit said program='' config=/etc/ssh/sshd_config
  for unit in sshd.service ssh.service sshd@.service; do
    said=$(systemctl show -P ExecStart "$unit" | sed -n 's/.*argv\[\]=\([^;]*\);.*/\1/p' | head -n 1)
    if [[ $said == */sshd* ]]; then
      program=${said%% *}
      if [[ $said =~ \ -f\ *([^ ]+) ]]; then config=${BASH_REMATCH[1]}; fi
      break
    fi
  done
  "${program:-$(type -P sshd)}" -T -f "$config" -C user=root,host=localhost,addr=192.0.2.1
}

host_keys() {
  local file
  sshd | sed -n 's/^hostkey //Ip' | while read -r file; do
    cut -d ' ' -f 1,2 -- "$file.pub" 2>/dev/null || ssh-keygen -y -f "$file" | cut -d ' ' -f 1,2
  done
}

# Words of AWS in what a unit is given: its text, its environment, and the files that it reads.
of_aws() {
  local unit=$1 pid=$2 machine=("${@:3}") file
  systemctl "${machine[@]}" cat -- "$unit" | grep -oE "$AWS" | sed 's/^/its text: /'
  if [ "${pid:-0}" -gt 0 ]; then
    tr '\0' '\n' <"/proc/$pid/environ" | grep -oE "$AWS" | sed 's/^/its environment: /'
  fi
  systemctl "${machine[@]}" show -p EnvironmentFiles -- "$unit" | sed -n 's/^EnvironmentFiles=\([^ ]*\).*/\1/p' |
    while read -r file; do grep -oE "$AWS" -- "$file" | sed "s|^|$file: |"; done
}

# One line a unit: its name, the user of its main process, and the words of AWS in it.
contract_units() {
  local unit name machine pid user words
  for unit in "$@"; do
    machine=() name=$unit
    case $unit in */*) machine=(-M "${unit%%/*}") name=${unit#*/} ;; esac
    pid=$(systemctl "${machine[@]}" show -P MainPID -- "$name") || return 1
    if [ "${#machine[@]}" -gt 0 ]; then pid=0; fi
    user=''
    if [ "${pid:-0}" -gt 0 ]; then user=$(stat -c %U "/proc/$pid"); fi
    words=$(of_aws "$name" "$pid" "${machine[@]}" | sort -u | tr '\n' '\t')
    printf '%s\t%s\t%s\n' "$unit" "$user" "$words"
  done
}

credentials() {
  local home
  cut -d : -f 6 /etc/passwd | sort -u | while read -r home; do
    if [ -e "$home/.aws" ]; then printf '%s\n' "$home/.aws"; fi
  done
}

section units units
section unit-files unit_files
section real-paths real_paths
section placed placed
section closure nix-store --query --requisites "$SYSTEM"
section processes processes
section sockets sockets
section sshd sshd
section host-keys host_keys
section contract-units contract_units "$@"
section credentials credentials
echo end
