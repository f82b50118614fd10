"""The stand-ins that a boot script meets in place of QEMU and of what changes the host. Band: shell.

The stand-in for QEMU writes down what it is called with. A question (`--version`, `-cpu help`) is not a start: it is
answered by the real QEMU. `sudo`, `taskset` and their like run what they are given, and write down their own words.
What would change the host (`modprobe`, `ip link add`) is written down and not done.

A record is NUL-separated: how many arguments, the stand-in's own path, its working directory, the arguments. NUL is the
one byte that no argument can hold, and the count tells a whole record from one whose writer was killed.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from pommel.overlay.facts import Call

QEMU = "qemu-system-x86_64"
# What a script may call QEMU. Other architectures are met too, so that the script can be told what it calls.
NAMES = (
    QEMU,
    "qemu-kvm",
    "kvm",
    "qemu",
    "qemu-system-i386",
    "qemu-system-amd64",
    "qemu-system-x86_64-spice",
    "qemu-system-x86_64.exe",
    "qemu-system-aarch64",
    "qemu-system-arm",
    "qemu-system-ppc",
    "qemu-system-ppc64",
    "qemu-system-riscv64",
)
FOREIGN = frozenset(name for name in NAMES if name.startswith(("qemu-system-a", "qemu-system-p", "qemu-system-r")))
FOREIGN -= {"qemu-system-amd64"}
MAX_CALLS = 2

# Run what follows their options. For each, the options whose value is a word of its own.
_WRAPPERS = {
    "sudo": "-u -g -U -C -p -h -r -t -T -D -R --user --group --prompt --host --close-from --chdir",
    "doas": "-u -C",
    "pkexec": "--user",
    "run0": "-u -g -D --user --group --chdir --property --setenv --unit",
    "systemd-run": "-p -u -M -H -E --property --unit --slice --machine --setenv --description --uid --gid --nice",
    "systemd-inhibit": "",
    "nice": "-n",
    "ionice": "-c -n -p -P -u",
    "chrt": "-T -P -D",
    "taskset": "",
    "numactl": "-m -N -C -p -i --membind --cpunodebind --physcpubind --preferred --interleave",
    "cgexec": "-g",
    "prlimit": "",
    "gamemoderun": "",
    "mangohud": "",
    "primusrun": "",
    "optirun": "",
}
# Those that take words before the command which are no options: a CPU list, a priority.
_TAKES_WORD = {"taskset": 1, "chrt": 1}
_PRIVILEGED = ("sudo", "doas", "pkexec", "run0")

# What changes the host. For each, the words which show that it only asks; "*" asks whatever it is given.
_HOST = {
    "modprobe": "-n --dry-run -c --showconfig --show-depends -D",
    "rmmod": "", "insmod": "", "depmod": "",
    "sysctl": "",
    "ip": "show list get ls s l monitor",
    "ifconfig": "", "brctl": "show", "bridge": "show", "tunctl": "", "ovs-vsctl": "show list-br", "nmcli": "show",
    "iptables": "-L -S --list", "ip6tables": "-L -S --list", "nft": "list", "ebtables": "-L",
    "firewall-cmd": "--list-all",
    "ufw": "status",
    "virsh": "list dominfo nodedev-list nodedev-dumpxml capabilities net-list version uri",
    "systemctl": "status is-active is-enabled show list-units", "service": "status", "loginctl": "list-sessions",
    "driverctl": "list-devices", "vfio-bind": "", "setpci": "", "cpupower": "frequency-info idle-info", "hugeadm": "",
    "mount": "", "umount": "", "losetup": "-a -l --list", "qemu-nbd": "-l --list", "dnsmasq": "",
    "xrandr": "", "pkill": "", "killall": "", "fuser": "", "udevadm": "info", "chvt": "", "rfkill": "list",
    "reboot": "", "shutdown": "", "poweroff": "", "swapoff": "", "apt": "list show", "apt-get": "", "dnf": "list info",
    "pacman": "-Q -Qi", "usermod": "", "groupadd": "", "swtpm": "--version", "virtiofsd": "--version",
}  # fmt: skip

# The first call and the second tell themselves apart without a lock: ln does not replace. What comes after is a script
# that starts QEMU again and again; it is held, and ended with the others.
_QEMU = """#!/bin/sh
real={real}
for word; do
  case $word in
    -version|--version|-h|-help|--help|help|'?'|*,help|*,'?')
      [ -n "$real" ] && exec "$real" "$@"
      echo "${{0##*/}}: QEMU is not installed" >&2; exit 127 ;;
  esac
done
pidfile= next=
for word; do
  [ -n "$next" ] && pidfile=$word next=
  case $word in -pidfile|--pidfile) next=1 ;; esac
done
cd {folder} || exit 1
me={folder}/part.$$
{{ printf '%s\\0' "$#" "$0" "$OLDPWD" "$@" > "$me"; }} 2>/dev/null
LD_LIBRARY_PATH= LD_PRELOAD= {cat} /proc/$$/environ > "$me.env" 2>/dev/null
LD_LIBRARY_PATH= LD_PRELOAD= {cat} /proc/$$/limits > "$me.limits" 2>/dev/null
for n in 1 2; do
  if LD_LIBRARY_PATH= LD_PRELOAD= {ln} "$me" {folder}/call.$n 2>/dev/null; then
    for more in env limits; do LD_LIBRARY_PATH= LD_PRELOAD= {ln} "$me.$more" {folder}/call.$n.$more 2>/dev/null; done
    cd "$OLDPWD" && [ -n "$pidfile" ] && {{ echo $$ > "$pidfile"; }} 2>/dev/null
    exit 0
  fi
done
exec sleep 3600
"""

_NOTE = """note() {{ printf '%s\\0' "$#" "$0" "$PWD" "$@" > {folder}/{kind}.part.$$ 2>/dev/null &&
  for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    LD_LIBRARY_PATH= LD_PRELOAD= {ln} {folder}/{kind}.part.$$ {folder}/{kind}.$n 2>/dev/null && break; done
  LD_LIBRARY_PATH= LD_PRELOAD= {rm} -f {folder}/{kind}.part.$$; }}
"""

_WRAPPER = """#!/bin/sh
{note}
name=${{0##*/}} count=0 words=
valued=' {valued} '
all="$*"
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -*) case "$valued" in *" $1 "*) [ $# -gt 1 ] && shift ;; esac
        shift ;;
    *=*) export "$1"; shift ;;
    *) [ $count -ge {words} ] && break
       count=$((count + 1)); shift ;;
  esac
done
[ $# -gt 0 ] || exit 0
case ${{1##*/}} in
  {qemus}|sh|bash|dash|zsh|env|exec|{wrappers}) note {said}; exec "$@" ;;
esac
{plain}
"""
# What sudo runs beside QEMU is noted and tried on the copy of the folder; that root is missing there ends no script.
_AS_ROOT = """case " {hosts} " in *" ${1##*/} "*) "$@"; exit 0 ;; esac
[ -f "$1" ] && [ -x "$1" ] && exec "$@"
note "$@"; "$@" 2>/dev/null; exit 0"""
_AS_IS = 'exec "$@"'

_RECORDER = """#!/bin/sh
{note}
name=${{0##*/}}
asks=' {asks} '
for word; do
  case "$asks" in *" $word "*) asked=1 ;; esac
  case $word in --help|--version|-V) asked=1 ;; esac
done
if [ "$name" = sysctl ]; then
  asked=1
  for word; do case $word in -w|--write|-p|--system|*=*) asked= ;; esac; done
elif [ "$name" = ip ] && [ -z "$asked" ]; then
  verb=
  for word; do case $word in -*) ;; *) verb="$verb $word" ;; esac; done
  case $verb in ' '[a-z]*' '*) ;; *) asked=1 ;; esac
elif [ $# -eq 0 ]; then asked=1
fi
if [ -n "$asked" ]; then
  IFS=:
  for folder in $PATH; do
    [ "$folder/$name" = "$0" ] || [ ! -x "$folder/$name" ] || exec "$folder/$name" "$@"
  done
  exit 0
fi
note "$@"
exit 0
"""


def plant(folder: Path, real: Path | None = None) -> Path:
    """Make the stand-ins in `folder`/bin, writing their records to `folder`; return that bin folder.

    `real` is the QEMU that answers questions.
    """
    binaries = folder / "bin"
    binaries.mkdir()
    quoted = {"folder": shlex.quote(str(folder)), "cat": _program("cat"), "ln": _program("ln"), "rm": _program("rm")}
    qemu = _QEMU.format(real=shlex.quote(str(real) if real else ""), **quoted)
    _write(binaries / QEMU, qemu)
    for name in NAMES:
        if name != QEMU:
            (binaries / name).hardlink_to(binaries / QEMU)
    _plant_wrappers(binaries, quoted)
    for name, asks in _HOST.items():
        note = _NOTE.format(kind="effect", **quoted)
        _write(binaries / name, _RECORDER.format(note=note, asks=asks))
    return binaries


def _plant_wrappers(binaries: Path, quoted: dict[str, str]) -> None:
    for name, valued in _WRAPPERS.items():
        privileged = name in _PRIVILEGED
        note = _NOTE.format(kind="effect" if privileged else "wrapper", **quoted)
        if privileged:
            note += _NOTE.replace("note()", "wrap()").format(kind="wrapper", **quoted)
        text = _WRAPPER.format(
            note=note,
            valued=valued,
            words=_TAKES_WORD.get(name, 0),
            qemus="|".join(NAMES),
            wrappers="|".join(_WRAPPERS),
            said='"$all"',
            plain=_AS_ROOT.replace("{hosts}", " ".join(_HOST)) if privileged else _AS_IS,
        )
        if privileged:
            text = text.replace('note "$all"; exec', 'wrap "$all"; exec')
        _write(binaries / name, text)


def _program(name: str) -> str:
    return next((f"{place}/{name}" for place in ("/bin", "/usr/bin") if Path(place, name).exists()), name)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def calls(folder: Path) -> list[Call]:
    """The starts of QEMU that were recorded whole, at most two."""
    found = []
    for number in range(1, MAX_CALLS + 1):
        call = _read(folder / f"call.{number}", folder / "bin")
        if call is not None:
            found.append(call)
    return found


def notes(folder: Path, kind: str) -> list[Call]:
    """What the other stand-ins wrote down, in order: of `kind` "effect" (on the host) or "wrapper" (around QEMU)."""
    found = []
    number = 1
    while (call := _read(folder / f"{kind}.{number}", folder / "bin")) is not None:
        found.append(call)
        number += 1
    return found


def _read(path: Path, binaries: Path) -> Call | None:
    try:
        record = path.read_bytes()
    except OSError:
        return None
    fields = [os.fsdecode(field) for field in record.split(b"\0")[:-1]]
    if len(fields) < 3 or not fields[0].isdecimal() or len(fields) != 3 + int(fields[0]):
        return None
    program = Path(fields[1])
    # Found on PATH: the script means whatever QEMU comes first there.
    name = program.name if program.parent == binaries else fields[1]
    return Call(name, Path(fields[2]), tuple(fields[3:]), _environment(path), _limits(path))


def _environment(record: Path) -> tuple[tuple[str, str], ...]:
    try:
        words = record.with_name(f"{record.name}.env").read_bytes().split(b"\0")
    except OSError:
        return ()
    pairs = (os.fsdecode(word).partition("=") for word in words if b"=" in word)
    return tuple((name, value) for name, _, value in pairs)


def _limits(record: Path) -> tuple[tuple[str, str], ...]:
    """The soft limits of /proc/PID/limits (proc(5)): a name of up to 25 columns, then the soft and the hard limit."""
    try:
        lines = record.with_name(f"{record.name}.limits").read_text().splitlines()
    except OSError:
        return ()
    return tuple((line[:25].strip(), line[25:].split()[0]) for line in lines[1:] if len(line) > 45)
