# What boots next.
#
# Facts only: of each file that a boot loader reads, the lines that bear on the choice. deploy/observe/boot/ computes the choice,
# in audits of many hosts at a time, so nothing here starts a program.

readonly EFIVARS=/sys/firmware/efi/efivars OF_LOADER=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f OF_EFI=8be4df61-93ca-11d2-aa0d-00e098032b8c
readonly BOOT_ENTRIES=500 BOOT_LINES=20000

say_boot() {
  local root firmware=none boot_files='' cut='' line mounts='' variables=''; local -a mounted=()
  for root in /boot /efi /boot/efi; do
    if [ -d "$root/loader" ] || [ -d "$root/EFI/Linux" ]; then take_systemd_boot "$root"; fi
  done
  for root in /boot/grub /boot/grub2; do
    take_file "$root/grubenv" '' ' menuentry submenu '
    take_file "$root/grub.cfg" /boot ' menuentry submenu function } if elif else fi set linux linux16 linuxefi initrd initrd16 initrdefi blscfg configfile '
  done
  for root in /boot/extlinux/extlinux.conf /boot/limine/limine.conf /boot/limine.conf /boot/config.txt /boot/refind_linux.conf; do
    [ ! -e "$root" ] || boot_files+=$US$root$'\n'
  done
  [ ! -d /sys/firmware/efi ] || firmware=efi
  [ ! -e /run/systemd/container ] || firmware=container
  # After all that: a look at an automount point mounts it.
  file_to line /proc/self/mountinfo
  # A host has hundreds of mounts.
  [[ $line != *' /boot'* && $line != *' /efi '* && $line != *" $EFIVARS "* ]] || split_to mounted $'\n' "$line"
  for line in "${mounted[@]}"; do
    root=${line#* * * * } root=${root%% *} line=${line#* - }
    case $root in /boot | /efi | /boot/efi | "$EFIVARS") mounts+="$root ${line%% *}"$'\n' ;; esac
  done
  take_variables
  say boot.firmware "$firmware"
  say boot.mounts "$mounts"
  say boot.variables "$variables"
  say boot.files "$boot_files"
  say boot.cut "$cut"
}

take_systemd_boot() {
  local file number=0
  take_file "$1/loader/loader.conf" '' ' default preferred '
  for file in "$1"/loader/entries/*.[cC][oO][nN][fF] "$1"/EFI/Linux/*.[eE][fF][iI]; do
    [ -e "$file" ] || continue
    if ((++number > BOOT_ENTRIES)); then cut=yes; return; fi
    if [[ $file == *.[cC][oO][nN][fF] ]]; then
      take_file "$file" "$1" ' sort-key machine-id version linux efi uki initrd options '
    else
      boot_files+=$US$file$'\n'
    fi
  done
}

# Take the lines of a file that begin with one of the words $3, into `boot_files`; without a word, those that set a
# variable. $2 is the file system in which its kernels are.
take_file() {
  local line key rest; local -a lines=()
  [ -f "$1" ] || return 0
  { mapfile -n "$((BOOT_LINES + 1))" -t lines <"$1"; } 2>/dev/null || true # bash drops NUL bytes, and says so
  ((${#lines[@]} <= BOOT_LINES)) || cut=yes
  boot_files+=$US$1$'\n'
  for line in "${lines[@]}"; do
    line=${line//[$US$'\t'$'\r']/ } line=${line#"${line%%[! ]*}"} key=${line%% *} rest=${line#"$key"}
    if [[ ${1##*/} == grubenv ]]; then
      [[ $line != [A-Za-z_]*=* ]] || boot_files+=${line:0:200}$'\n'
      continue
    fi
    [[ $3 == *" $key "* ]] || continue
    rest=${rest#"${rest%%[! ]*}"}
    case $key in
      options | linux* | initrd* | efi | uki) take_kernel_line "$key" "$rest" "$2" ;;
      *) boot_files+="$key ${rest:0:300}"$'\n' ;;
    esac
  done
}

# Of a line with a kernel or its options only what bears on the choice, and whether the file is there.
take_kernel_line() {
  local path=${2%% *} init='' found=''
  # The last init= counts, as for the kernel.
  [[ ! " $2" =~ .*\ (init=[^\ ]+) ]] || init=${BASH_REMATCH[1]}
  if [ "$1" = options ]; then boot_files+="options $init"$'\n'; return; fi
  boot_files+="$1 ${path:0:300}${init:+ $init}"$'\n'
  path=${path#(*)} path=${path//\\//}
  for found in "$3$path" "/boot/kernels/${path##*/kernels/}" "/nix/store/${path##*/store/}" "$path"; do
    [ ! -s "$found" ] || return 0
  done
  if [ -e "$3$path" ]; then boot_files+="missing $path empty"$'\n'; else boot_files+="missing $path gone"$'\n'; fi
}

# A variable of EFI is four bytes of attributes, then its value; text in UTF-16, whose NUL bytes part its letters here.
take_variables() {
  local name of value IFS=''; local -a bytes
  for name in Loader{Info,EntryOneShot,EntryDefault,EntryPreferred,EntryLastBooted} Boot{Next,Current}; do
    of=$OF_LOADER bytes=()
    [[ $name != Boot* ]] || of=$OF_EFI
    [ -e "$EFIVARS/$name-$of" ] || continue
    { mapfile -d '' -t bytes <"$EFIVARS/$name-$of"; } 2>/dev/null || continue
    value=${bytes[*]:3}
    [[ $name != Boot* ]] || printf -v value %04X "'$value"
    variables+="$name ${value:0:300}"$'\n'
  done
}
