"""`pommel clip` as a person types it: a real X server here, a real sshd and another X server there."""

from __future__ import annotations

import os
import pwd
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipboard.conftest import Clip, Sshd, x_server
from driver import Shell
from waits import wait_until


@pytest.fixture
def box(shell: Shell, posix_guest: Sshd, display: str, host_clip: Clip, tmp_path: Path) -> Iterator[Shell]:
    """A shell on a desktop, whose ssh knows the guest as `box`."""
    _configure(shell, posix_guest, tmp_path)
    shell.env["DISPLAY"] = display
    yield shell
    shell.run("clip", "stop", "--all", status=None)


def _configure(shell: Shell, guest: Sshd, folder: Path) -> None:
    # OpenSSH looks for ~/.ssh where the user database says, not where HOME does.
    config = folder / "ssh_config"
    config.write_text(
        f"Host box\n HostName 127.0.0.1\n Port {guest.port}\n User {guest.target.user}\n HostKeyAlias box\n"
        f"Host *\n IdentityFile {guest.root}/id\n IdentitiesOnly yes\n UserKnownHostsFile {guest.root}/known\n"
    )
    program = shell.root / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{config}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    shell.env["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    shell.env.pop("SSH_AUTH_SOCK", None)


def clip(shell: Shell, verb: str, *words: str, status: int = 0) -> Any:
    return shell.json("clip", verb, "--host", "box", *words, status=status)


def test_sync_and_all_that_is_done_with_it(box: Shell, host_clip: Clip, guest_clip: Clip) -> None:
    host_clip.copy(b"first\n\n")
    told = clip(box, "sync", "--history", "2")
    assert (told["state"], told["running"], told["direction"]) == ("syncing", True, "both")
    wait_until(lambda: guest_clip.paste() == b"first\n\n", 20)
    guest_clip.copy("from the guest ü\r\n".encode())
    wait_until(lambda: host_clip.paste() == "from the guest ü\r\n".encode(), 20)
    seen = wait_until(lambda: (s := clip(box, "status"))["to_host"] == 1 and s, 20)
    assert seen["sync_pid"] == told["sync_pid"] and seen["to_guest"] == 1 and seen["latency_ms"] < 5000
    assert not [path for path in box.home.rglob("*") if path.is_file() and b"from the" in path.read_bytes()]
    # Without a name it is the one that is synced.
    assert box.json("clip", "push")["how"] == "both sides already have it"
    again = box.run("clip", "sync", "--host", "box", status=3)
    assert f"is already synced (pid {told['sync_pid']})" in again.stderr
    assert "pommel clip stop --host box" in again.stderr
    assert box.json("clip", "history")["history"][0]["beginning"] == "at the beginning"
    assert box.run("clip", "history", "--print", "1").stdout == "at the beginning"
    table = box.run("clip", "status").stdout.splitlines()
    assert table[0].startswith("GUEST") and " syncing " in table[1] and str(told["sync_pid"]) in table[1]
    assert "syncing" in box.run("clip", "status", "--host", "box").stdout
    assert clip(box, "stop")["stopped"] is True
    assert clip(box, "stop")["stopped"] is False
    wait_until(lambda: not box.processes(), 10)
    assert box.json("clip", "status") == {"syncs": []}


def test_a_killed_one_leaves_nothing_that_breaks_the_next(box: Shell, host_clip: Clip, guest_clip: Clip) -> None:
    first = clip(box, "sync")["sync_pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not box.processes(), 20)
    seen = clip(box, "status")
    assert (seen["state"], seen["why"]) == (
        "stopped",
        f"its process (pid {first}) was killed, or the host went down",
    )
    host_clip.copy(b"after the kill")
    assert clip(box, "sync")["sync_pid"] != first
    wait_until(lambda: guest_clip.paste() == b"after the kill", 20)


def test_once_without_a_sync(box: Shell, posix_guest: Sshd, host_clip: Clip, guest_clip: Clip) -> None:
    host_clip.copy(b"pushed\n")
    assert clip(box, "push")["how"] == "text, 7 bytes"
    assert guest_clip.paste() == b"pushed\n"
    guest_clip.copy(b"pulled\n\n")
    label = f"{_user()}@127.0.0.1:{posix_guest.port}"
    assert clip(box, "pull") == {"guest": label, "done": "pulled", "how": "text, 8 bytes"}
    assert host_clip.paste() == b"pulled\n\n"
    (keeper,) = box.processes()
    host_clip.copy(b"something else")
    wait_until(lambda: keeper not in box.processes(), 10)
    assert box.json("clip", "status") == {"syncs": []}


def test_what_cannot_be_moved_is_said(box: Shell, host_clip: Clip, posix_guest: Sshd) -> None:
    host_clip.copy(b"a\0b")
    assert "text with a NUL byte" in box.run("clip", "push", "--host", "box", status=3).stderr
    posix_guest.stop()
    host_clip.copy(b"fine")
    assert "no connection to the guest" in box.run("clip", "push", "--host", "box", status=1).stderr
    assert "no connection to the guest" in box.run("clip", "pull", "--host", "box", status=1).stderr
    told = box.run("clip", "sync", "--host", "box")
    assert "waiting for the guest to sync its clipboard: no connection to the guest" in told.stdout
    refused = box.run("clip", "push", status=3).stderr
    assert "guest asleep: no connection" in refused


def test_a_refused_key_is_named(box: Shell, posix_guest: Sshd) -> None:
    (posix_guest.root / "authorized").write_text("")
    told = box.run("clip", "sync", "--host", "box")
    assert ": refused: the guest refuses these keys" in told.stdout
    assert f"keys tried: {posix_guest.root}/id" in told.stderr
    assert f"hint: ssh-copy-id -p {posix_guest.port} {_user()}@127.0.0.1" in told.stderr


def test_in_the_foreground_until_a_signal(box: Shell, tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as out:
        child = box.popen("clip", "sync", "--host", "box", "--foreground", stderr=out)
        wait_until(lambda: "clipboard syncing, both ways" in (tmp_path / "said").read_text(), 20)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    assert "clipboard sync ended" in (tmp_path / "said").read_text()
    wait_until(lambda: not box.processes(), 10)


def test_the_words_of_the_older_script(box: Shell, posix_guest: Sshd, host_clip: Clip, guest_clip: Clip) -> None:
    public = " ".join((posix_guest.root / "host.pub").read_text().split()[:2])
    box.env |= {"VM_CLIP_PORT": str(posix_guest.port), "VM_CLIP_USER": _user(), "VM_CLIP_HOST": "127.0.0.1"}
    known = posix_guest.root / "known"
    known.write_text("")  # met for the first time, and kept
    told = box.json("clip", "vm-clip", "sync")
    assert told["state"] == "syncing" and told["guest"].endswith(f"@127.0.0.1:{posix_guest.port}")
    assert public in known.read_text()
    guest_clip.copy(b"old words")
    wait_until(lambda: host_clip.paste() == b"old words", 20)
    assert box.json("clip", "vm-clip", "status")["running"]
    for verb in ("push", "pull"):
        box.run("clip", "vm-clip", verb)
    assert box.json("clip", "vm-clip", "stop")["stopped"]
    for name, value in (("VM_CLIP_PORT", "x"), ("VM_CLIP_INTERVAL", "soon")):
        box.env[name] = value
        assert f"{name} must be" in box.run("clip", "vm-clip", "sync", status=2).stderr
        box.env.pop(name)
        box.env["VM_CLIP_PORT"] = str(posix_guest.port)


def test_without_a_desktop_each_says_where_to_type_it(box: Shell) -> None:
    box.env.pop("DISPLAY")
    for verb in ("sync", "push", "pull"):
        done = box.run("clip", verb, "--host", "box", status=3)
        assert "no desktop here" in done.stderr and "hint: run it in a terminal of your desktop" in done.stderr
    box.env["DISPLAY"] = ":987"
    done = box.run("clip", "sync", "--host", "box", status=3)
    assert "there is no X server at :987" in done.stderr
    assert "there is no X server at :987" in clip(box, "status")["why"], "and it is kept for who asks"


def test_the_desktop_ends(box: Shell) -> None:
    with x_server() as name:
        box.env["DISPLAY"] = name
        assert clip(box, "sync")["state"] == "syncing"
    wait_until(lambda: not box.processes(), 20)
    assert "the X server is gone" in clip(box, "status")["why"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sync", "--host", "-oProxyCommand=x"), "is not an SSH host"),
        (("sync", "--host", "box", "--limit", "12"), "--limit must be a size with a unit"),
        (("sync", "trial", "--host", "box"), "not both"),
        (("sync", "trail"), "no machine called 'trail'"),
        (("stop", "--all", "trial"), "or pass --all"),
        (("history", "--host", "box", "--print", "0"), "0 is not in the range"),
    ],
)
def test_wrong_words(box: Shell, words: tuple[str, ...], said: str) -> None:
    assert said in box.run("clip", *words, status=2).stderr


def test_nothing_runs_and_nothing_is_made(box: Shell) -> None:
    assert box.run("clip", "stop", "--all").stderr == "no clipboard is synced\n"
    assert "To start: pommel clip sync NAME" in box.run("clip", "status").stderr
    assert "is not synced" in box.run("clip", "history", "--host", "box", status=3).stderr
    assert "pommel up trial" in box.run("clip", "sync", "trial", status=3).stderr


def test_as_a_service(box: Shell) -> None:
    made = box.json("clip", "service", "install", "--host", "box", "--no-enable")
    unit = Path(made["unit"])
    assert unit.parent == box.root / "config" / "systemd" / "user" and unit.name.startswith("pommel_clip-_127.0.0.1-")
    assert unit.read_text() == box.run("clip", "service", "show", "--host", "box").stdout
    assert 'clip" "sync" "--foreground" "--host" "box"' in unit.read_text()
    box.run("clip", "service", "remove", "--host", "box")
    assert not unit.exists()
    assert "has no service" in box.run("clip", "service", "remove", "--host", "box", status=3).stderr
    unit.write_text("mine")
    assert "is not Pommel's" in box.run("clip", "service", "install", "--host", "box", status=3).stderr


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
