# shellcheck shell=sh disable=SC2154
# Second stage, in Recovery, after the installation: the account, SSH and settings are put on the Data volume. It may be
# run again. At the end it shuts the machine down.
must_report started || :
find_disk

# The volumes of $disk by their APFS role: sets $data and $system to device names.
data='' system=''
diskutil apfs list -plist >"$work/apfs.plist" 2>>"$log" || fail "diskutil cannot list the APFS volumes"
c=0
while [ -n "$(value "$work/apfs.plist" ":Containers:$c:ContainerReference")" ]; do
    if is_on "$(value "$work/apfs.plist" ":Containers:$c:PhysicalStores:0:DeviceIdentifier")"; then
        v=0
        while device=$(value "$work/apfs.plist" ":Containers:$c:Volumes:$v:DeviceIdentifier"); do
            [ -n "$device" ] || break
            case $(value "$work/apfs.plist" ":Containers:$c:Volumes:$v:Roles:0") in
            Data) data=$device ;;
            System) system=$device ;;
            esac
            v=$((v + 1))
        done
    fi
    c=$((c + 1))
done

not_finished() {
    must_report not-finished "$1"
    shutdown -h now
    exit 0
}
if [ -z "$data" ] || [ -z "$system" ]; then
    not_finished "there is no Data volume or no System volume yet"
fi

# mounted DEVICE: mount it, and print where.
mounted() {
    diskutil mount "$1" >>"$log" 2>&1
    info "$1" MountPoint
}
D=$(mounted "$data")
S=$(mounted "$system")
[ -d "${D:-/nowhere}" ] || fail "the Data volume $data cannot be mounted; FileVault must be off"
mount -uw "$D" >>"$log" 2>&1
nodes=$D/private/var/db/dslocal/nodes/Default
about=$S/System/Library/CoreServices/SystemVersion.plist
[ -e "$about" ] || not_finished "there is no system on the System volume yet"
[ -d "$nodes/users" ] || not_finished "the Data volume has no accounts yet"
if [ -e "$S/macOS Install Data" ] || [ -e "$D/macOS Install Data" ]; then
    not_finished "the installer has work left"
fi
version=$(value "$about" :ProductVersion)
build=$(value "$about" :ProductBuildVersion)

# The account. One of the same name that is not ours is left alone.
record=$nodes/users/$user.plist
if [ -e "$record" ] && [ "$(value "$record" :generateduid:0)" != "$guid" ]; then
    fail "there is an account $user already"
fi
for each in "$nodes"/users/*.plist; do
    [ "$each" = "$record" ] && continue
    [ "$(value "$each" :uid:0)" != 501 ] || fail "the account in $each has the number 501 already"
done
cp "$here/user.plist" "$record" || fail "the account cannot be written"
chmod 600 "$record"
chown 0:0 "$record"

# joined GROUP: the user is a member of GROUP, by name and by identifier.
joined() {
    group=$nodes/groups/$1.plist
    value "$group" :users | grep -q "^ *$user\$" || {
        PlistBuddy -c "Add :users array" "$group" >>"$log" 2>&1
        PlistBuddy -c "Add :users:0 string $user" "$group" >>"$log" 2>&1
    }
    value "$group" :groupmembers | grep -q "^ *$guid\$" || {
        PlistBuddy -c "Add :groupmembers array" "$group" >>"$log" 2>&1
        PlistBuddy -c "Add :groupmembers:0 string $guid" "$group" >>"$log" 2>&1
    }
    value "$group" :users | grep -q "^ *$user\$" || fail "$user cannot be made a member of $1"
}
joined admin
[ ! -e "$nodes/groups/com.apple.access_ssh.plist" ] || joined com.apple.access_ssh

home=$D/Users/$user
mkdir -p "$home/.ssh" || fail "the home folder cannot be made"
cp "$here/authorized_keys" "$home/.ssh/authorized_keys" || fail "the keys cannot be written"

# No Setup Assistant, neither for the Mac nor for the user.
: >"$D/private/var/db/.AppleSetupDone"
chown 0:0 "$D/private/var/db/.AppleSetupDone"
mkdir -p "$home/Library/Preferences" "$D/Library/Preferences"
for each in "$D/Library/Preferences/com.apple.SetupAssistant" "$home/Library/Preferences/com.apple.SetupAssistant"; do
    for key in DidSeeAccessibility DidSeeAppearanceSetup DidSeeCloudSetup DidSeePrivacy DidSeeScreenTime DidSeeSiriSetup \
        DidSeeTouchIDSetup DidSeeTrueToneSetup DidSeeTrueTonePrivacy; do
        defaults write "$each" "$key" -bool true
    done
    defaults write "$each" GestureMovieSeen none
    defaults write "$each" LastSeenCloudProductVersion "$version"
    defaults write "$each" LastSeenBuddyBuildVersion "$build"
done
PlistBuddy -c "Delete :AccountInfo:FirstLogins" "$D/Library/Preferences/com.apple.loginwindow.plist" >>"$log" 2>&1

# sshd. The file is changed in place: launchd may ignore one that was replaced.
launchd=$D/private/var/db/com.apple.xpc.launchd
mkdir -p "$launchd"
defaults write "$launchd/disabled" com.openssh.sshd -bool false || fail "sshd cannot be switched on"
chmod 644 "$launchd/disabled.plist"
: >"$launchd/disabled.migrated"

# No sleep, no screen saver.
power=$D/Library/Preferences/com.apple.PowerManagement.plist
for key in "System Sleep Timer" "Disk Sleep Timer" "Display Sleep Timer"; do
    PlistBuddy -c "Set :'AC Power':'$key' 0" "$power" >>"$log" 2>&1 ||
        PlistBuddy -c "Add :'AC Power':'$key' integer 0" "$power" >>"$log" 2>&1
done
defaults write "$home/Library/Preferences/com.apple.screensaver" idleTime -int 0

if [ -n "$locale" ]; then
    for each in "$D/Library/Preferences/.GlobalPreferences" "$home/Library/Preferences/.GlobalPreferences"; do
        defaults write "$each" AppleLocale "$locale"
        defaults write "$each" AppleLanguages -array "$language"
    done
fi
if [ -n "$keyboard_name" ]; then
    layout="<dict><key>InputSourceKind</key><string>Keyboard Layout</string><key>KeyboardLayout ID</key><integer>$keyboard_number</integer><key>KeyboardLayout Name</key><string>$keyboard_name</string></dict>"
    for each in "$D/Library/Preferences/com.apple.HIToolbox" "$home/Library/Preferences/com.apple.HIToolbox"; do
        defaults write "$each" AppleEnabledInputSources -array "$layout"
        defaults write "$each" AppleSelectedInputSources -array "$layout"
    done
fi
[ -z "$timezone" ] || ln -sf "/var/db/timezone/zoneinfo/$timezone" "$D/private/etc/localtime"

chown -R 501:20 "$home"
chmod 700 "$home/.ssh"
chmod 600 "$home/.ssh/authorized_keys"
sync
must_report "done" "$version $build"
shutdown -h now
