# shellcheck shell=sh disable=SC2154
# What both stages need: reports to the host, values of property lists, and the disk to work on. From `values`: address,
# token, size. Everything is POSIX sh; Recovery's sh is bash 3.2.
PATH=$PATH:/usr/bin:/bin:/usr/sbin:/sbin:/usr/libexec
export PATH
umask 022
work=/tmp/pommel.$$
mkdir -p "$work"
log=$work/log
: >"$log"

# report WORD [TEXT]: tell the host, by HTTP where it has an address, and always by a file on the script disk.
report() {
    printf '%s %s\n' "$1" "${2-}" >>"$here/reports.txt" 2>/dev/null && sync
    [ -n "$address" ] || return 0
    printf '%s' "${2-}" | curl -s -m 10 --data-binary @- "http://$address/$token/$1" >/dev/null 2>&1
}

# must_report WORD [TEXT]: the same, again and again for a minute, for words that the host waits for.
must_report() {
    tries=0
    until report "$1" "${2-}"; do
        tries=$((tries + 1))
        [ "$tries" -lt 12 ] || return 1
        ipconfig set en0 DHCP >/dev/null 2>&1
        sleep 5
    done
}

fail() {
    echo "pommel: $1"
    must_report failed "$1: $(tail -n 15 "$log" 2>/dev/null)"
    exit 1
}

# value FILE KEY: one value of a property list; nothing where there is none.
value() {
    PlistBuddy -c "Print $2" "$1" 2>/dev/null
}

# info THING KEY: one value of what diskutil says of a disk or volume.
info() {
    diskutil info -plist "$1" >"$work/info.plist" 2>/dev/null && value "$work/info.plist" ":$2"
}

# find_disk: the whole disk that has exactly $size bytes, as $disk. It must be the only one.
find_disk() {
    disk=
    diskutil list -plist >"$work/list.plist" 2>>"$log" || fail "diskutil cannot list the disks"
    for each in $(value "$work/list.plist" :WholeDisks | sed -n 's/^ *\(disk[0-9][0-9]*\)$/\1/p'); do
        [ "$(info "$each" TotalSize)" = "$size" ] || continue
        [ -z "$disk" ] || fail "two disks have $size bytes, $disk and $each"
        disk=$each
    done
    [ -n "$disk" ] || fail "no disk has $size bytes"
}

# is_on DEVICE: whether a partition or volume, such as disk1s2, lies on $disk itself.
is_on() {
    case $1 in
    "$disk" | "$disk"s*) return 0 ;;
    *) return 1 ;;
    esac
}
