"""A host that boots: the real systemd as PID 1, in namespaces of its own, on a root folder that stays. No tests here.

It has this host's programs (/usr, the Python and the tree that run the tests) to read, and all else for itself: accounts,
units, processes, network, cgroups. What would reach this host's kernel is masked: sysctl, modules, udev. It ends as a
host does, by `systemctl poweroff`: in a process namespace that ends its PID 1 alone (reboot(2)).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from isolation import patient
from waits import wait_until

TREE = Path(__file__).parents[1]
ADA = 1000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = [
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-timesyncd.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "getty.target",
    "console-getty.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
]
_ACCOUNTS = f"""\
root:x:0:0:root:/root:/bin/sh
messagebus:x:101:101::/nonexistent:/usr/sbin/nologin
systemd-network:x:102:102::/nonexistent:/usr/sbin/nologin
ada:x:{ADA}:{ADA}:Ada:/home/ada:/bin/sh
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
_GROUPS = (
    f"root:x:0:\nmessagebus:x:101:\nsystemd-network:x:102:\nsystemd-journal:x:103:\nada:x:{ADA}:\nnogroup:x:65534:\n"
)
# The outer shell joins a cgroup of its own, whose hierarchy is mounted for that, and takes it away at the end.
_OUTER = r"""
set -eu
root=$1 inner=$2; shift 2
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$root/mnt"
own=$root/mnt$(sed -n 's/^0:://p' /proc/self/cgroup)/pommel-test-$$
mkdir "$own"
status=0
sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' - "$own" \
    unshare --pid --fork --kill-child --uts --ipc --net --cgroup --mount sh -c "$inner" - "$root" "$@" || status=$?
tries=0
until find "$own" -depth -type d -exec rmdir {} + 2>/dev/null; do
    tries=$((tries + 1)); [ $tries -lt 50 ] || break; sleep 0.1
done
exit $status
"""
_INNER = r"""
set -eu
root=$1; shift
umount "$root/mnt"
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for each in null zero full random urandom tty; do
    : >"$root/dev/$each"
    mount --bind "/dev/$each" "$root/dev/$each"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
# After these, for what is shown may lie in one of them.
for each; do
    mkdir -p "$root$each"
    mount --rbind "$each" "$root$each"
    mount -o remount,bind,ro "$root$each"
done
hostname booted
cd "$root"
pivot_root . mnt
umount -l /mnt
exec /usr/bin/env -i container=pommel-test PATH=/usr/sbin:/usr/bin setpriv \
    --bounding-set=-sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin /lib/systemd/systemd --system --show-status=0
"""


class Host:
    """The root folder of a host, and what runs of it. `places` are folders of its own to make, each with its owner."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root.with_name(root.name + ".log")
        for name in ("etc/systemd/system", "var/log", "var/tmp", "home/ada", "root", "srv", "mnt", "proc", "sys", "dev",
                     "run", "tmp", "usr"):  # fmt: skip
            (root / name).mkdir(parents=True)
        os.chown(root / "home/ada", ADA, ADA)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        shutil.copy("/etc/ld.so.cache", root / "etc")
        for name, text in {"passwd": _ACCOUNTS, "group": _GROUPS, "machine-id": "0123456789abcdef0123456789abcdef\n",
                           "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n", "hostname": "booted\n",
                           "hosts": "127.0.0.1 localhost booted\n", "os-release": "ID=debian\nNAME=Debian\n"}.items():  # fmt: skip
            (root / "etc" / name).write_text(text)
        for name in _MASKED:
            (root / "etc/systemd/system" / name).symlink_to("/dev/null")
        self.unit("default.target", "[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\nAllowIsolate=yes\n")
        # What runs the tests, where it is here: as it says itself.
        self._shown = dict.fromkeys(["/usr", sys.base_prefix, sys.prefix, str(TREE)])
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def unit(self, name: str, text: str, *, wanted_by: str | None = None) -> None:
        """Write a unit, and have another want it."""
        folder = self.root / "etc/systemd/system"
        (folder / name).write_text(text)
        if wanted_by is not None:
            (folder / f"{wanted_by}.wants").mkdir(exist_ok=True)
            (folder / f"{wanted_by}.wants" / name).symlink_to(f"../{name}")

    def boot(self) -> None:
        """Have systemd come up, and wait until all that it starts by itself has started."""
        shown = [each for each in self._shown if each == "/usr" or not each.startswith("/usr/")]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _OUTER, "-", str(self.root), _INNER, *shown],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = int(wait_until(self._init, 30))
        told = self.run("systemctl", "is-system-running", "--wait", status=None)
        assert told.stdout.strip() in ("running", "degraded"), self.account(told.stdout + told.stderr)

    def _init(self) -> int:
        """The pid, as this host sees it, of its PID 1, once that is systemd and listens."""
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        pid = self.process.pid
        with contextlib.suppress(OSError, IndexError):
            while Path(f"/proc/{pid}/comm").read_text().strip() != "systemd":
                pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
            return pid if Path("/proc", str(pid), "root", "run/systemd/private").exists() else 0
        return 0

    def run(
        self, *words: str, ada: bool = False, status: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root or as ada, in an empty environment, and check its exit status."""
        who = ["setpriv", f"--reuid={ADA}", f"--regid={ADA}", "--clear-groups", "--"] if ada else []
        usual = {"PATH": PATH, "HOME": "/home/ada" if ada else "/root", "LC_ALL": "C.UTF-8"} | env
        line = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]
        line += ["env", "-i", "-C", usual["HOME"], *(f"{key}={value}" for key, value in usual.items()), *who, *words]
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patient(120), check=False
        )
        if status is not None and done.returncode != status:
            raise AssertionError(
                self.account(f"{shlex.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
            )
        return done

    def pommel(
        self, *words: str, ada: bool = True, status: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `pommel WORDS` there."""
        return self.run(sys.executable, "-P", "-m", "pommel", *words, ada=ada, status=status, **env)

    def when(self, unit: str, what: str = "ActiveEnter") -> int:
        """When that happened to a unit, in microseconds since some moment."""
        told = self.run("systemctl", "show", "--value", f"--property={what}TimestampMonotonic", unit).stdout
        return int(told)

    def pids(self, words: str) -> list[int]:
        """Its processes that have these words, with NULs between, in their command lines, by their numbers here."""
        here, found = os.readlink(f"/proc/{self.pid}/ns/pid"), []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(each / "ns/pid") == here and words.encode() in (each / "cmdline").read_bytes():
                    found.append(int(each.name))
        return found

    def power_off(self) -> None:
        """Have it shut down, and wait until all of it has ended."""
        assert self.process is not None
        self.run("systemctl", "poweroff", "--no-wall", status=None)
        self.process.wait(patient(180))
        self.process = None

    def account(self, more: str = "") -> str:
        """What it has to say when something went wrong."""
        words = ["journalctl", "--no-pager", "-b", "-n", "200"]
        with contextlib.suppress(AssertionError, OSError, subprocess.SubprocessError):
            more += self.run(*words, status=None).stdout if self.process else ""
        return f"{more}\n{self.log.read_text(errors='replace')}"

    def close(self) -> None:
        """Pull the plug, where it still runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                if self.pid:
                    os.kill(self.pid, 9)
                else:
                    self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patient(30))
            self.process.kill()
