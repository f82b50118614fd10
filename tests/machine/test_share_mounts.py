"""What a Mac is asked to do, run by sh against programs that behave as Apple documents theirs. No Mac was at hand."""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from pommel.machine import share_mounts
from pommel.machine.share_mounts import Mounted, MountGuest
from pommel.machine.shares import Share

# mount(8) without words lists, `mount volume` mounts under /Volumes, launchd starts an agent as it is loaded.
_PROGRAM = """\
import os, plistlib, re, subprocess, sys
from pathlib import Path
state, (program, *words) = Path(os.environ["STATE"]), [Path(sys.argv[0]).name, *sys.argv[1:]]
mounts = state / "mounts"
lines = mounts.read_text().splitlines() if mounts.exists() else []
with open(state / "called", "a") as called:
    print(program, *words, file=called)
if program == "mount":
    print("/dev/disk3s1 on / (apfs, local, read-only)", *lines, sep="\\n")
elif program == "osascript":
    name = re.fullmatch(r'mount volume "smb://guest:@10\\.0\\.2\\.4/([\\w.-]+)"', words[1])[1]
    mounts.write_text("\\n".join([*lines, f"//guest@10.0.2.4/{name} on /Volumes/{name} (smbfs, nodev, nosuid)"]))
elif program == "diskutil":
    mounts.write_text("\\n".join(line for line in lines if f" on {words[-1]} (" not in line))
elif program == "launchctl" and words[0] == "bootstrap":
    if not (state / "logged in").exists():
        sys.exit("Bootstrap failed: 125: Domain does not support specified action")
    subprocess.run(plistlib.loads(Path(words[2]).read_bytes())["ProgramArguments"], check=True)
elif program == "launchctl" and words[0] == "bootout" and not (state / "logged in").exists():
    sys.exit(3)
elif program == "sleep":
    pass
"""


class Mac:
    """A home of a Mac's user, and the programs."""

    def __init__(self, folder: Path) -> None:
        self.state, self.home, self.bin = folder / "state", folder / "Ada's home", folder / "bin"
        for each in (self.state, self.home, self.bin):
            each.mkdir()
        (self.bin / "program").write_text(f"#!{sys.executable} -I\n{_PROGRAM}")
        (self.bin / "program").chmod(0o755)
        for name in ("mount", "osascript", "diskutil", "launchctl", "nc", "sleep"):
            (self.bin / name).symlink_to("program")
        self.agent = self.home / "Library" / "LaunchAgents" / f"{share_mounts.LABEL}.plist"

    def bring(self, *names: str) -> tuple[Mounted, ...]:
        return self.run([Share("/x", name) for name in names])

    def run(self, shares: list[Share]) -> tuple[Mounted, ...]:
        text = share_mounts.script(MountGuest(share_mounts.MACOS, "ada", ""), "10.0.2.4", shares, 1000)
        env = {"HOME": str(self.home), "STATE": str(self.state), "PATH": f"{self.bin}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-s"], input=text, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return share_mounts.read_answer(done.stdout)

    def called(self, program: str) -> int:
        return sum(line.split()[0] == program for line in (self.state / "called").read_text().splitlines())


@pytest.fixture
def mac(tmp_path: Path) -> Mac:
    return Mac(tmp_path)


def test_a_mac_comes_to_what_is_shared_and_no_more(mac: Mac) -> None:
    (mac.state / "logged in").touch()
    assert mac.bring("work", "my.songs") == (Mounted("work", "mounted"), Mounted("my.songs", "mounted"))
    assert mac.called("osascript") == 2
    told = plistlib.loads(mac.agent.read_bytes())
    assert told["RunAtLoad"] and told["Label"] == share_mounts.LABEL
    assert Path(told["ProgramArguments"][1]).stat().st_mode & 0o111
    assert [each.word for each in mac.bring("work", "my.songs")] == ["mounted"] * 2
    assert mac.called("osascript") == 2, "what is mounted is left alone"
    assert mac.bring("work") == (Mounted("my.songs", "gone"), Mounted("work", "mounted"))
    assert "my.songs" not in (mac.state / "mounts").read_text()
    assert mac.bring() == (Mounted("work", "gone"),)
    assert not mac.agent.exists() and not list((mac.home / "Library" / "Application Support").iterdir())


def test_a_mac_at_whose_screen_nobody_is_mounts_when_somebody_logs_in(mac: Mac) -> None:
    (found,) = mac.bring("work")
    assert found.word == "refused" and "nobody is logged in at its screen" in found.why
    program = plistlib.loads(mac.agent.read_bytes())["ProgramArguments"]
    env = {**os.environ, "STATE": str(mac.state), "PATH": f"{mac.bin}:/usr/bin:/bin"}
    subprocess.run(program, env=env, check=True)  # which launchd does then, and each minute
    assert "/Volumes/work" in (mac.state / "mounts").read_text()
    subprocess.run(program, env=env, check=True)
    assert mac.called("osascript") == 1


def test_a_mac_mounts_nothing_by_9p_and_what_it_has_by_smb_stays(mac: Mac) -> None:
    (mac.state / "logged in").touch()
    told = mac.run([Share("/x", "fast", by="9p"), Share("/y", "work")])
    assert [(each.name, each.word) for each in told] == [("fast", "refused"), ("work", "mounted")]
    assert "sudo mount_9p fast" in told[0].why and "fast" not in (mac.state / "mounts").read_text()
    assert mac.run([Share("/x", "fast", by="9p")])[-1] == Mounted("work", "gone")
