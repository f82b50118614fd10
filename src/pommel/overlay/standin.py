"""The stand-ins for QEMU and for programs that change the host, for a boot script. Band: shell.

The stand-in for QEMU records its call. A question (`--version`, `-cpu help`) is not a start: the real QEMU answers it.
`sudo`, `taskset` and similar programs run their command, and record their own words. A program that would change the
host (`modprobe`, `ip link add`) only records its call.

A record is NUL-separated: the number of arguments, the stand-in's own path, its working directory, the arguments. No
argument can contain NUL, and the number distinguishes a complete record from one whose writer was killed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pommel.overlay.facts import ProgramCall

QEMU = "qemu-system-x86_64"
# Names of QEMU without a processor; the others are `qemu-system-…` with any ending.
_PLAIN = ("qemu-kvm", "kvm", "qemu")
_SYSTEM = re.compile(r"\bqemu-system-[\w.+-]*\w")
# QEMU's targets that are not PCs (docs/about/build-platforms.rst, configs/targets). They have a stand-in too, so that
# the error can name what the script starts.
_OTHERS = frozenset({
    "aarch64", "alpha", "arm", "avr", "cris", "hppa", "loongarch64", "m68k", "microblaze", "microblazeel", "mips",
    "mipsel", "mips64", "mips64el", "nios2", "or1k", "ppc", "ppc64", "riscv32", "riscv64", "rx", "s390x", "sh4",
    "sh4eb", "sparc", "sparc64", "tricore", "xtensa", "xtensaeb",
})  # fmt: skip
MAX_CALLS = 2
_HEAD = 3  # fields of a record before the arguments

# Programs that run a command after their options, each with the options whose value is a separate word.
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
# Those with words before the command that are not options: a CPU list, a priority.
_TAKES_WORD = {"taskset": 1, "chrt": 1}
_PRIVILEGED = ("sudo", "doas", "pkexec", "run0")

# Programs that change the host, each with the words that show that it only reads.
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

# The first and the second call are distinguished without a lock: ln does not replace a file. A later call comes from
# a script that starts QEMU again and again; it is held, and ended with the others.
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

# Each note is one write at the end of one file: so notes stay complete and in order.
_NOTE = """note() {{ printf '%s\\0' "$#" "$0" "$PWD" "$@" >> {folder}/{kind} 2>/dev/null; }}
"""

_WRAPPER = """#!/bin/sh
{note}
all="$*" count=0
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    -*) case ' {valued} ' in *" $1 "*) [ $# -gt 1 ] && shift ;; esac
        shift ;;
    *=*) export "$1"; shift ;;
    *) [ $count -ge {words} ] && break
       count=$((count + 1)); shift ;;
  esac
done
[ $# -gt 0 ] || exit 0
{then}
"""
_AS_IS = 'note "$all"; exec "$@"'
# A command that root would run on the host is recorded with the program that makes it root. Except QEMU, and programs
# that lead to it, a command is tried in the copy of the folder where that is safe; missing permissions end no script.
_AS_ROOT = """POMMEL_AS=${{0##*/}}; export POMMEL_AS
case ${{1##*/}} in
  qemu-system-*|{through}) note "$all"; exec "$@" ;;
  {hosts}) exec "$@" ;;
esac
[ -f "$1" ] && [ -x "$1" ] && exec "$@"
printf '%s\\0' "$#" "$0" "$PWD" "$@" >> {folder}/effect
{tried}
exit 0"""

_RECORDER = """#!/bin/sh
{note}
name=${{0##*/}} asked=
for word; do
  case ' {asks} --help --version -V ' in *" $word "*) asked=1 ;; esac
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
elif [ -n "$POMMEL_AS" ]; then
  printf '%s\\0' "$(($# + 1))" "$POMMEL_AS" "$PWD" "$name" "$@" >> {folder}/effect
else
  note "$@"
fi
exit 0
"""


def plant(folder: Path, text: str, *, real: Path | None = None, isolated: bool = True) -> Path:
    """Make the stand-ins in `folder`/bin, with their records in `folder`; return that bin folder.

    `text` is the script's, which may call QEMU by another name. `real` is the QEMU that answers questions. Commands for
    root are only tried if the script is `isolated`.
    """
    binaries = folder / "bin"
    binaries.mkdir()
    quoted = {"folder": shlex.quote(str(folder)), "cat": _program("cat"), "ln": _program("ln")}
    _write(binaries / QEMU, _QEMU.format(real=shlex.quote(str(real) if real else ""), **quoted))
    systems = (f"qemu-system-{each}" for each in ("i386", *_OTHERS))
    for name in sorted({*_PLAIN, *systems, *_SYSTEM.findall(text)} - {QEMU}):
        (binaries / name).hardlink_to(binaries / QEMU)
    for name, valued in _WRAPPERS.items():
        _write(binaries / name, _wrapper(name, valued, isolated=isolated, **quoted))
    for name, asks in _HOST.items():
        note = _NOTE.format(kind="effect", **quoted)
        _write(binaries / name, _RECORDER.format(note=note, asks=asks, **quoted))
    return binaries


def is_foreign(program: str) -> bool:
    """Whether this is the name of a QEMU that does not emulate a PC."""
    target = re.match(r"qemu-system-(\w+)", program)
    return target is not None and target[1] in _OTHERS


def is_qemu(name: str) -> bool:
    """Whether this is a QEMU's name. A bare `kvm` or `qemu` in a text may mean anything."""
    return name == "qemu-kvm" or _SYSTEM.fullmatch(name) is not None


def names_of(binaries: Path) -> list[str]:
    """The names of the stand-in for QEMU."""
    one = (binaries / QEMU).stat().st_ino
    return sorted(path.name for path in binaries.iterdir() if path.stat().st_ino == one)


def _wrapper(name: str, valued: str, *, isolated: bool, folder: str, **_: str) -> str:
    then = _AS_IS
    if name in _PRIVILEGED:
        tried = '"$@" 2>/dev/null' if isolated else ""
        through = "|".join([*_PLAIN, "sh", "bash", "dash", "zsh", "env", "exec", *_WRAPPERS])
        then = _AS_ROOT.format(through=through, hosts="|".join(_HOST), folder=folder, tried=tried)
    note = _NOTE.format(kind="wrapper", folder=folder)
    return _WRAPPER.format(note=note, valued=valued, words=_TAKES_WORD.get(name, 0), then=then)


def _program(name: str) -> str:
    return next((f"{place}/{name}" for place in ("/bin", "/usr/bin") if Path(place, name).exists()), name)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def calls(folder: Path) -> list[ProgramCall]:
    """The completely recorded starts of QEMU, at most two."""
    found = []
    for number in range(1, MAX_CALLS + 1):
        call = _read(folder / f"call.{number}", folder / "bin")
        if call is not None:
            found.append(call)
    return found


def notes(folder: Path, kind: str) -> list[ProgramCall]:
    """The records of the other stand-ins, in order: of `kind` "effect" (on the host) or "wrapper" (around QEMU)."""
    try:
        fields = [os.fsdecode(field) for field in (folder / kind).read_bytes().split(b"\0")[:-1]]
    except OSError:
        return []
    found = []
    while len(fields) >= _HEAD and fields[0].isdecimal() and len(fields) >= (size := _HEAD + int(fields[0])):
        found.append(_call(fields[:size], folder / "bin"))
        fields = fields[size:]
    return found


def _read(path: Path, binaries: Path) -> ProgramCall | None:
    try:
        fields = [os.fsdecode(field) for field in path.read_bytes().split(b"\0")[:-1]]
    except OSError:
        return None
    if len(fields) < _HEAD or not fields[0].isdecimal() or len(fields) != _HEAD + int(fields[0]):
        return None
    return replace(_call(fields, binaries), environment=_environment(path), limits=_limits(path))


def _call(fields: Sequence[str], binaries: Path) -> ProgramCall:
    program = Path(fields[1])
    # Found on PATH: the script means the first program with that name there.
    name = program.name if program.parent == binaries else fields[1]
    return ProgramCall(name, Path(fields[2]), tuple(fields[_HEAD:]))


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
