# shellcheck shell=sh disable=SC2154
# First stage, in Recovery: erase the one disk that has the wanted size, and have Apple's own startosinstall install
# macOS on it, which it fetches, or which a disk has whose label is $package_label. It ends with the restart that
# startosinstall makes.
must_report started || :
[ "$licence" = accepted ] || fail "Apple's licence has not been accepted"
find_disk

# Looked for before anything is erased.
if [ -n "$package_label" ]; then
    pieces=0
    for each in "/Volumes/$package_label"/*; do
        [ ! -f "$each" ] || pieces=$((pieces + 1))
    done
    [ "$pieces" -eq "$package_pieces" ] ||
        fail "the disk $package_label with the full installer has $pieces of $package_pieces pieces"
fi

# A disk with a system on it is never erased: so the line may be typed twice.
for each in /Volumes/*; do
    if [ ! -e "$each/System/Library/CoreServices/SystemVersion.plist" ]; then
        [ -e "$each/macOS Install Data" ] || continue
        # An installation that the host has seen break off before the first restart begins anew.
        [ "$again" != yes ] || [ "$each" != "/Volumes/$volume" ] || continue
    fi
    where=$(info "$each" ParentWholeDisk)
    store=$(value "$work/info.plist" :APFSPhysicalStores:0:APFSPhysicalStore)
    if is_on "${store:-$where}"; then
        fail "the disk $disk holds a system, on $each, and is not erased"
    fi
done

app=
for each in /Install\ macOS*.app /Volumes/*/Install\ macOS*.app; do
    [ -x "$each/Contents/Resources/startosinstall" ] || continue
    app=$each
    break
done
[ -n "$app" ] || fail "this Recovery has no startosinstall"

report alive "erasing $disk"
diskutil eraseDisk APFS "$volume" GPT "$disk" >>"$log" 2>&1 || fail "diskutil cannot erase $disk"
mount=$(info "$volume" MountPoint)
[ -d "${mount:-/nowhere}" ] || fail "the new volume $volume is not mounted"

# Every 20 s the host hears the last line of output, so that it can tell slow from stuck.
beat() {
    while kill -0 "$1" 2>/dev/null; do
        report alive "$(tail -n 1 "$log")"
        sleep "${beat_s:-20}"
    done
}
beat $$ &
beating=$!
trap 'must_report prepared' USR1

# With the whole package in its place, the copy of the app fetches nothing. The package is one file to the installer:
# its pieces are joined again.
if [ -n "$package_label" ]; then
    copy=$mount/private/tmp/${app##*/}
    echo "copying the full installer, $package_bytes bytes" >>"$log"
    mkdir -p "$mount/private/tmp"
    cp -R "$app" "$copy" 2>>"$log" || fail "the installer cannot be copied to $volume"
    mkdir -p "$copy/Contents/SharedSupport"
    shared=$copy/Contents/SharedSupport/SharedSupport.dmg
    cat "/Volumes/$package_label"/* 2>>"$log" >"$shared" || fail "the package cannot be copied to $volume"
    # shellcheck disable=SC2012 # the name is ours, and stat is another program on each system
    came=$(ls -ln "$shared" | awk '{ print $5 }')
    [ "$came" = "$package_bytes" ] || fail "the package has $came bytes, not $package_bytes"
    app=$copy
fi
installer=$app/Contents/Resources/startosinstall

status=1
for try in 1 2 3 4 5; do
    # startosinstall signals SIGUSR1 when all is prepared, and restarts after the delay.
    "$installer" --agreetolicense --volume "$mount" --nointeraction --pidtosignal $$ --rebootdelay 30 >>"$log" 2>&1 &
    child=$!
    # A signal ends `wait` early; then it is waited for again.
    while :; do
        wait "$child"
        status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    [ "$status" -ne 0 ] || break
    report alive "startosinstall ended with $status, try $try of 5"
    sleep "${retry_s:-20}"
done
kill "$beating" 2>/dev/null
[ "$status" -eq 0 ] || fail "startosinstall ended with $status; $(tail -n 15 /var/log/install.log 2>/dev/null)"
report alive "startosinstall is done; the machine restarts"
