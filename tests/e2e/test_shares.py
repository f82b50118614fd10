"""Folders of this host in the running trial machine, by the way that a Mac takes; over kill -9 and a start: `test_the_end`."""

from __future__ import annotations

import os
import subprocess
import unicodedata

import pytest

from .conftest import Trial

pytestmark = pytest.mark.e2e

_MANY = """
import hashlib, os, sys
with open("/mnt/work/big", "wb") as file:
    file.write(b"0123456789abcdef" * (1 << 18))
for number in range(30):
    with open(f"/mnt/work/sub/{number}", "w") as file:
        file.write(str(number))
os.rename("/mnt/work/sub/0", "/mnt/work/sub/zero"); os.remove("/mnt/work/sub/1")
print(hashlib.sha256(open("/mnt/work/big", "rb").read()).hexdigest(), len(os.listdir("/mnt/work/sub")))
"""


def test_shared_hot_written_by_both_and_gone_when_taken_back(trial: Trial) -> None:
    shell = trial.shell
    work, songs = shell.root / "user" / "work", shell.root / "user" / "songs"
    for folder in (work, songs):
        folder.mkdir()
    (songs / "song").write_text("la la")
    (songs / "out").symlink_to("/etc")
    (work / "from the host").write_text("hello")
    told = shell.json("share", "trial", str(work))
    assert [(row["share"], row["guest_folder"], row["live"]) for row in told["shares"]] == [("work", "/mnt/work", True)]
    shell.json("share", "trial", "~/songs", "--as", "music", "--read-only")
    assert shell.json("info", "trial")["shares"] == shell.json("share", "trial")["shares"]
    assert trial.guest("cat '/mnt/work/from the host' /mnt/music/song") == "hellola la"
    whose = trial.guest("stat -c '%U %F' /mnt/work; grep -c ' cifs ' /proc/mounts; ss -Htn dst 10.0.2.4 | wc -l")
    assert whose.split("\n")[:3] == ["trial directory", "2", "2"], "by SMB, mounted by the guest's kernel"
    composed, apart = (unicodedata.normalize(form, "Grüße") for form in ("NFC", "NFD"))
    trial.guest(f"mkdir /mnt/work/sub; echo one > /mnt/work/{composed}; echo two > /mnt/work/{apart}")
    assert (work / composed).read_text() == "one\n" and (work / apart).read_text() == "two\n"
    shell.run("ssh", "trial", "--", "cat > many.py", input=_MANY.encode())
    digest, count = trial.guest("python3 many.py").split()
    assert (
        subprocess.run(["sha256sum", work / "big"], capture_output=True, check=True).stdout.split()[0]
        == digest.encode()
    )
    assert int(count) == 29 and {each.stat().st_uid for each in work.rglob("*")} == {os.geteuid()}
    refused = trial.guest(
        "touch /mnt/music/x; echo x >> /mnt/music/song; cat /mnt/music/out/passwd; ln -s /etc/passwd /mnt/work/evil;"
        "cat /mnt/work/../../etc/hostname >/dev/null; mknod /mnt/work/disk b 8 0; touch /mnt/work/pommel.toml; true"
    )
    assert "root:" not in refused and (songs / "song").read_text() == "la la"
    assert sorted(each.name for each in songs.iterdir()) == ["out", "song"]
    assert (
        not (work / "evil").is_symlink()
        and not (work / "pommel.toml").exists()
        and not (work / "disk").is_block_device()
    )
    shell.run("unshare", "trial", "music")
    assert trial.guest("ls /mnt; ls /mnt/work | wc -l").split()[0] == "work"
    assert (songs / "song").read_text() == "la la"
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    assert "smbd" not in listening
    shell.run("unshare", "trial", "work")
    assert trial.guest("ls /mnt; ls /etc/systemd/system | grep -c mnt-; true") == "0\n"
    assert shell.json("share", "trial") == {"name": "trial", "state": "running", "shares": [], "connections": 0}
    assert (work / "from the host").read_text() == "hello"
