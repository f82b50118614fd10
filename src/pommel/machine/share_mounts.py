"""The scripts with which a guest mounts its shared folders, and the parser of its answers. Band: core, no I/O.

The guest's own sh runs them, over SSH, and they bring the guest to the present shares: new ones are mounted and
return after the guest's restart, removed ones are unmounted. Nothing is installed: the guest's kernel mounts them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pommel.machine.shares import NINE_P, Share

QUESTION = """\
echo "kernel=$(uname -s)"; echo "user=$(id -un)"
if [ "$(id -u)" = 0 ]; then echo root=self; elif sudo -n true 2>/dev/null; then echo root=sudo; fi
exit 0
"""
LINUX, MACOS = "Linux", "Darwin"
LABEL = "org.pommel.shares"
# macOS's 9p client reports a full disk to the Finder, needs root to mount, and can hang at shutdown.
_NOT_BY_MACS = "a Mac mounts nothing by 9p of itself, and the Finder copies nothing into it; by hand: sudo mount_9p"
_ANSWER = re.compile(r"pommel-share (?P<name>[A-Za-z0-9_.-]+) (?P<word>mounted|refused|gone)(?: (?P<why>.*))?")

# A folder is mounted at its first access, so that a boot need not wait for the network, and a server that was away
# works again by itself. Each mount has its own connection (nosharesock), so that later shares are seen. A connection
# that a loaded snapshot or a sleep has cut is noticed within 20 seconds (echo_interval), and made again.
# By 9p the kernel checks the host's numeric owners: a user with another number could not write. An unused mount is
# unmounted after a minute, because QEMU cannot save memory while it is mounted.
_FOR_LINUX = """\
set -u
units=/etc/systemd/system wants=/etc/systemd/system/multi-user.target.wants
say() { echo "pommel-share $*"; }
why() { head -n 1 | cut -c 1-200; }
mine() { grep -qs '^X-Pommel=share$' "$1"; }
end_mount() { # UNIT WHERE
    systemctl -q stop "$1.automount" "$1.mount" 2>/dev/null
    umount -l "$2" 2>/dev/null
    rm -f "$units/$1.automount" "$units/$1.mount" "$wants/$1.automount"
    changed=1
}
changed= started= left=
for file in "$units"/mnt-*.automount; do
    mine "$file" || continue
    where=$(sed -n 's/^Where=//p' "$file")
    case " $wanted " in *" ${where##*/} "*) continue ;; esac
    unit=${file##*/}
    end_mount "${unit%.automount}" "$where"
    left="$left $where"
    say "${where##*/} gone"
done
uid=$(id -u "$owner") gid=$(id -g "$owner")
options="username=guest,password=,ip=$server,uid=$uid,gid=$gid,forceuid,forcegid,file_mode=0755,dir_mode=0755"
options="$options,iocharset=utf8,nosharesock,mfsymlinks,soft,actimeo=1,echo_interval=10"
knows() {
    grep -qw "$1" /proc/filesystems || modprobe "$1" 2>/dev/null
    grep -qw "$1" /proc/filesystems
}
smb() { # NAME MORE
    place "$1" cifs "//$server/$1" "$options$2" ""
}
nine() { # NAME MORE
    if [ "$2" = ,rw ] && [ "$uid" != 0 ] && [ "$uid" != "$host_uid" ]; then
        told="its files are the user $host_uid's, and $owner is the user $uid in the guest and could not write"
        say "$1 refused $told: share it by SMB, or set ssh_user to a user of that number, or to root"; return
    fi
    modprobe 9pnet_virtio 2>/dev/null
    place "$1" 9p "$1" "trans=virtio,version=9p2000.L,msize=524288$2" "TimeoutIdleSec=60\\n"
}
place() { # NAME KIND WHAT OPTIONS MORE
    where=/mnt/$1 kind=$2 what=$3 said=$4
    if ! knows "$kind"; then say "$1 refused the guest's kernel has no $kind"; return; fi
    unit=$(systemd-escape -p "$where" 2>/dev/null) || unit=none
    if ! mine "$units/$unit.automount" && { mountpoint -q "$where" || [ -n "$(ls -A "$where" 2>/dev/null)" ]; }; then
        say "$1 refused $where is in use in the guest"; return
    fi
    if [ ! -d /run/systemd/system ]; then
        mkdir -p "$where"
        if told=$(mount -t "$kind" -o "$said" "$what" "$where" 2>&1); then say "$1 mounted"; else
            say "$1 refused $(echo "$told" | why)"; fi
        return
    fi
    about="[Unit]\\nDescription=$1, a folder of the host\\nX-Pommel=share\\n"
    new="What=$what\\nWhere=$where\\nType=$kind\\nOptions=$said\\nTimeoutSec=60\\n"
    new=$(printf "$about\\n[Mount]\\n$new")
    if [ "$new" != "$(cat "$units/$unit.mount" 2>/dev/null)" ] || ! mine "$units/$unit.automount"; then
        [ ! -e "$units/$unit.mount" ] || end_mount "$unit" "$where"
        mkdir -p "$where" "$wants"
        printf '%s\\n' "$new" > "$units/$unit.mount" &&
            printf "$about\\n[Automount]\\nWhere=$where\\n$5\\n[Install]\\nWantedBy=multi-user.target\\n" \
                > "$units/.$unit.new" && mv "$units/.$unit.new" "$units/$unit.automount" &&
            ln -sf "$units/$unit.automount" "$wants/$unit.automount" ||
            { say "$1 refused the guest's disk takes no file in $units"; return; }
        changed=1
    fi
    started="$started $1:$unit"
}
bring() {
    [ -z "$changed" ] || systemctl daemon-reload
    for each in $left; do rmdir "$each" 2>/dev/null; done
    for each in $started; do
        where=/mnt/${each%%:*} unit=${each#*:}
        grep -q " $where autofs " /proc/mounts || systemctl start "$unit.automount" 2>/dev/null
        if told=$(ls "$where" 2>&1 >/dev/null) && grep -qE " $where (cifs|9p) " /proc/mounts; then
            say "${each%%:*} mounted"
        else
            told="$(systemctl status --no-pager "$unit.mount" 2>&1 | grep -o 'mount: .*' | why) $told"
            say "${each%%:*} refused $told"
        fi
    done
    [ -z "$changed" ] || sync -f "$units" 2>/dev/null || sync # a machine may lose its power
}
"""

# As the user with the desktop: the Finder's method mounts under /Volumes, where only root could make a folder. It is
# refused if nobody is logged in at the screen; then the LaunchAgent does it at the next login.
_FOR_MACOS = f"""\
set -u
say() {{ echo "pommel-share $*"; }}
folder="$HOME/Library/Application Support/Pommel"
agent="$HOME/Library/LaunchAgents/{LABEL}.plist"
is_mounted() {{ mount | grep -q "@$server/$1 on /Volumes/.*smbfs"; }}
for name in $(cat "$folder/shares" 2>/dev/null); do
    case " $wanted " in *" $name "*) continue ;; esac
    where=$(mount | sed -n "s|^//[^ ]*@$server/$name on \\\\(/Volumes/.*\\\\) (smbfs.*|\\\\1|p" | head -n 1)
    [ -z "$where" ] || diskutil unmount "$where" >/dev/null 2>&1 || diskutil unmount force "$where" >/dev/null 2>&1
    say "$name gone"
done
if [ -z "$wanted" ]; then
    launchctl bootout "gui/$(id -u)/{LABEL}" 2>/dev/null
    rm -f "$agent" "$folder/shares" "$folder/mount-shares"
    rmdir "$folder" 2>/dev/null
    exit 0
fi
mkdir -p "$folder" "$HOME/Library/LaunchAgents"
echo "$wanted" > "$folder/shares"
cat > "$folder/mount-shares" <<'END'
#!/bin/sh
# Pommel's: mounts what this Mac's host shares with it. pommel unshare takes it away.
server=$1
for name in $(cat "$(dirname "$0")/shares"); do
    mount | grep -q "@$server/$name on /Volumes/.*smbfs" && continue
    nc -z -G 3 "$server" 445 2>/dev/null || exit 0
    osascript -e "mount volume \\"smb://guest:@$server/$name\\"" >/dev/null
done
END
chmod 755 "$folder/mount-shares"
cat > "$agent" <<END
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>{LABEL}</string>
<key>ProgramArguments</key><array><string>/bin/sh</string><string>$folder/mount-shares</string><string>$server</string></array>
<key>RunAtLoad</key><true/>
<key>StartInterval</key><integer>60</integer>
<key>LimitLoadToSessionType</key><string>Aqua</string>
</dict></plist>
END
launchctl bootout "gui/$(id -u)/{LABEL}" 2>/dev/null
told=$(launchctl bootstrap "gui/$(id -u)" "$agent" 2>&1) || told="nobody is logged in at its screen ($told)"
place() {{
    tries=0
    until is_mounted "$1" || [ -n "$told" ] || [ $tries -ge 20 ]; do sleep 1; tries=$((tries + 1)); done
    if is_mounted "$1"; then say "$1 mounted"; else say "$1 refused ${{told:-it is not mounted after 20 s}}"; fi
}}
"""


@dataclass(frozen=True, slots=True)
class MountGuest:
    """The guest that answered: its kernel, our user there, and how it becomes root ("self", "sudo", "" if neither)."""

    kernel: str
    user: str
    root: str


@dataclass(frozen=True, slots=True)
class Mounted:
    """The result for one share in the guest: mounted, refused (`why`: the guest's text) or gone."""

    name: str
    word: str
    why: str = ""


def read_guest(answer: str) -> MountGuest | None:
    """Parse a guest's answer to QUESTION; None: it is not an answer. The guest's values are not trusted."""
    told = dict(line.partition("=")[::2] for line in answer.splitlines())
    if not re.fullmatch(r"\w+", told.get("kernel", "")) or not re.fullmatch(r"[\w.@+-]{1,64}", told.get("user", "")):
        return None
    return MountGuest(
        told["kernel"], told["user"], told.get("root", "") if told.get("root") in ("self", "sudo") else ""
    )


def script(guest: MountGuest, server: str, shares: Sequence[Share], host_uid: int) -> str:
    """The script that gives this guest exactly these shares. All words in it have been checked.

    `host_uid` is the owner of the folders on the host, as the guest sees it by 9p.
    """
    if guest.kernel == MACOS:
        nine, shares = ([each for each in shares if (each.by == NINE_P) is is_nine] for is_nine in (True, False))
        told = "".join(f"echo 'pommel-share {each.name} refused {_NOT_BY_MACS} {each.name}'\n" for each in nine)
        return f"{told}{_head(guest, server, shares)}{_FOR_MACOS}" + "".join(f"place {each.name}\n" for each in shares)
    places = "".join(
        f"{'nine' if each.by == NINE_P else 'smb'} {each.name} {',ro' if each.read_only else ',rw'}\n"
        for each in shares
    )
    return f"{_head(guest, server, shares)}host_uid={host_uid}\n{_FOR_LINUX}{places}bring\n"


def _head(guest: MountGuest, server: str, shares: Sequence[Share]) -> str:
    return f"server={server}\nowner={guest.user}\nwanted='{' '.join(each.name for each in shares)}'\n"


def read_answer(output: str) -> tuple[Mounted, ...]:
    """The result for each share. The text is the guest's: at most a line each, without control characters."""
    found = []
    for line in output.splitlines():
        if (match := _ANSWER.fullmatch(line)) is not None:
            why = "".join(char for char in match["why"] or "" if char.isprintable())[:300].strip()
            found.append(Mounted(match["name"], match["word"], why))
    return tuple(found)
