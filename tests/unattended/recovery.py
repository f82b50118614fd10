"""A root folder like that of Apple's Recovery, by bubblewrap: its few programs, a script disk, and the trial machine's
stand-ins of the rest. Only `disks` is another: here are no disks."""

from __future__ import annotations

import json
import plistlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

from isolation import patient
from pommel import trial

# What reports say that Recovery has, of what is the same on Linux. Neither dirname, basename, touch, head nor python.
PROGRAMS = (
    "sh", "awk", "cat", "chmod", "cp", "curl", "grep", "kill", "ln", "ls", "mkdir", "mv", "rm", "sed", "sleep", "sync", "tail",
)  # fmt: skip
STAND_INS = ("diskutil", "defaults", "PlistBuddy", "chown", "mount", "shutdown", "ipconfig")
APP = "Install macOS Stand-in.app"
BASE_SYSTEM = Path(trial.__file__).parent / "data/base_system"
LIB = "/usr/local/lib/recovery"
HERE = Path(__file__).parent
SIZE = 137_438_954_496  # bytes, of the disk to install on


class Recovery:
    """One Recovery with two disks: disk0 is Recovery's own, disk1 the one to install on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volumes, self.state, bin_ = (folder / name for name in ("Volumes", "state", "bin"))
        for each in (self.volumes, self.state, bin_, folder / "app/Contents/Resources"):
            each.mkdir(parents=True)
        self.script_disk = self.volumes / "POMMEL"
        self.script_disk.mkdir()
        for place in (*(bin_ / name for name in STAND_INS), folder / "app/Contents/Resources/startosinstall"):
            shutil.copy(HERE / "recorder.py", place)
            place.chmod(0o755)
        shutil.copytree(BASE_SYSTEM / LIB[1:], folder / "lib")
        shutil.copy(HERE / "disks.py", folder / "lib/disks")
        shutil.copytree(BASE_SYSTEM / APP / "Contents/Resources", folder / "stand-in")
        for place in (*(folder / "lib").rglob("*"), *(folder / "stand-in").iterdir()):  # a package keeps no modes
            place.chmod(0o755)
        (self.state / "faults").write_text("delay=0.2")
        self.disks({"disk0": disk(3 << 30), "disk1": disk(SIZE)})
        self.exits(0)

    def disks(self, disks: dict[str, Any]) -> None:
        (self.state / "disks").write_text(json.dumps(disks))

    def exits(self, *statuses: int) -> None:
        """What startosinstall will end with, call by call."""
        (self.state / "exits").write_text(json.dumps(statuses))

    def put(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            (self.script_disk / name).write_bytes(data)

    def argv(self, line: str) -> list[str]:
        words = [
            "bwrap",
            "--unshare-user",
            "--uid",
            "0",
            "--gid",
            "0",
            "--die-with-parent",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ]
        for each in ("/bin", "/lib", "/lib64"):
            if Path(each).is_symlink():
                words += ["--symlink", str(Path(each).readlink()), each]
        for each in ("/usr/lib", "/usr/lib64", "/etc"):
            if Path(each).exists():
                words += ["--ro-bind", each, each]
        for name in (*PROGRAMS, "python3", "bash"):  # for the stand-ins; the scripts have neither
            found = str(shutil.which(name, path="/usr/bin:/bin"))
            words += ["--ro-bind", str(Path(found).resolve()), f"/usr/bin/{name}"]
        words += [
            "--tmpfs",
            "/tmp",
            "--bind",
            str(self.volumes),
            "/Volumes",
            "--bind",
            str(self.state),
            "/run/recovery",
        ]
        words += ["--ro-bind", str(self.folder / "bin"), "/tools", "--ro-bind", str(self.folder / "app"), f"/{APP}"]
        words += ["--ro-bind", str(self.folder / "lib"), LIB, "--ro-bind", str(self.folder / "stand-in"), "/stand-in"]
        words += [
            "--clearenv",
            "--setenv",
            "PATH",
            "/tools:/usr/bin",
            "--setenv",
            "retry_s",
            "0.1",
            "--setenv",
            "beat_s",
            "0.2",
        ]
        return [*words, "/usr/bin/sh", "-c", line]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line as Terminal would."""
        return subprocess.run(self.argv(line), capture_output=True, text=True, timeout=patient(60), check=False)

    def calls(self, program: str) -> list[str]:
        """How a stand-in has been called."""
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.split()[0] == program]

    def reports(self) -> list[str]:
        """The words in the file of reports on the script disk."""
        file = self.script_disk / "reports.txt"
        known = ("started", "alive", "failed", "prepared", "not-finished", "done")
        return [
            line.split()[0] for line in file.read_text().splitlines() if line.split()[:1] and line.split()[0] in known
        ]

    def installed(self) -> Path:
        """Put an installed macOS on disk1, as far as it is known: return its Data volume."""
        system, data = self.volumes / "Mac", self.volumes / "Data"
        about = system / "System/Library/CoreServices/SystemVersion.plist"
        about.parent.mkdir(parents=True)
        about.write_bytes(plistlib.dumps({"ProductVersion": "14.7.1", "ProductBuildVersion": "23H222"}))
        node = data / "private/var/db/dslocal/nodes/Default"
        for each in ("users", "groups"):
            (node / each).mkdir(parents=True)
        (node / "users/_spotlight.plist").write_bytes(plistlib.dumps({"name": ["_spotlight"], "uid": ["89"]}))
        (node / "groups/admin.plist").write_bytes(plistlib.dumps({"name": ["admin"], "users": ["root"], "gid": ["80"]}))
        (data / "private/etc").mkdir()
        self.disks(
            {
                "disk0": disk(3 << 30),
                "disk1": disk(
                    SIZE,
                    volume("disk1s2v1", "Mac", "System", "/Volumes/Mac"),
                    volume("disk1s2v2", "Data", "Data", "/Volumes/Data"),
                ),
            }
        )
        return data


def disk(size: int, *volumes: dict[str, Any]) -> dict[str, Any]:
    return {"size": size, "volumes": list(volumes)}


def volume(
    device: str, name: str, role: str | None, mount: str | None, store: str | None = "disk1s2"
) -> dict[str, Any]:
    return {"device": device, "name": name, "role": role, "mount": mount, "store": store}
