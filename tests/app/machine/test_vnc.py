"""The door for VNC viewers: a real QEMU's screen, the real `pommel vnc` and `view`, TigerVNC's own viewer on an X server."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ImageGrab

from driver import Shell
from isolation import patient
from machine import bare
from pommel.app.machine import vnc
from pommel.machine import lifecycle, record
from pommel.paths import Home, MachinePaths
from pommel.screen.rfb_door import answer
from screen.x_server import x_server
from waits import wait_until


@pytest.fixture
def shell() -> Iterator[Shell]:
    made = Shell()
    yield made
    made.close()


@pytest.fixture
def running(shell: Shell) -> Iterator[MachinePaths]:
    """A machine called m that shows what its firmware says."""
    home = Home(shell.home, shell.home / "run", shell.root / "cache")
    paths = bare.make(home)
    uuid, now = "00000000-0000-4000-8000-000000000001", "2026-01-01T00:00:00+00:00"
    record.save(paths.record, record.MachineRecord("m", "osx-kvm", uuid, "52:54:00:00:00:01", 2201, now))
    shell.config("[machine.m]\n")
    paths.make_runtime()
    lifecycle.start(paths, bare.argv(paths, "-vga", "std", "-vnc", f"unix:{paths.vnc},share=ignore"), accel="tcg")
    yield paths
    bare.end(paths.pidfile)


def told(serving: subprocess.Popen[bytes]) -> dict[str, object]:
    assert serving.stdout is not None
    found: dict[str, object] = json.loads(serving.stdout.readline())
    return found


def knock(port: object, password: str) -> bytes:
    """What the door says to this password: 4 zero bytes let in."""
    with socket.create_connection(("127.0.0.1", int(str(port))), timeout=patient(20)) as viewer:
        stream = viewer.makefile("rb")
        stream.read(12)
        viewer.sendall(b"RFB 003.008\n")
        assert stream.read(2) == b"\x01\x02", "a password and nothing else"
        viewer.sendall(b"\x02")
        viewer.sendall(answer(password.encode(), stream.read(16)))
        said = stream.read(4)
        if said == bytes(4):
            viewer.sendall(b"\x01")
            assert struct_name(stream.read(24)) > 0
        return said


def struct_name(head: bytes) -> int:
    """How long the name in QEMU's ServerInit is."""
    return int.from_bytes(head[20:24], "big")


def test_a_viewer_comes_in_with_the_password_and_shares_the_screen(shell: Shell, running: MachinePaths) -> None:
    serving = shell.popen("vnc", "m", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        offered = told(serving)
        assert (offered["host"], offered["view_only"], offered["socket"]) == ("127.0.0.1", False, None)
        port, password = offered["port"], str(offered["password"])
        assert len(password) == 8 and password not in Path(f"/proc/{serving.pid}/cmdline").read_text()
        assert [knock(port, password), knock(port, password)] == [bytes(4)] * 2
        assert knock(port, "wrong") == b"\0\0\0\1"
        clash = shell.run("vnc", "m", "--port", str(port), status=2)
        assert f"port {port} cannot be used" in clash.stderr
        serving.send_signal(signal.SIGINT)
        assert serving.wait(patient(20)) == 0
        assert b"wrong password" in serving.communicate()[1]
    finally:
        serving.kill()
        serving.wait()
    assert shell.json("status", "m")["state"] == "running", "the machine keeps running"


def test_by_a_socket_for_its_user_alone_and_over_when_the_machine_is(shell: Shell, running: MachinePaths) -> None:
    serving = shell.popen("vnc", "m", "--socket", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        offered = told(serving)
        place = Path(str(offered["socket"]))
        assert offered["password"] is None and stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert "another `pommel vnc` already serves m" in shell.run("vnc", "m", "--socket", status=3).stderr
        with socket.socket(socket.AF_UNIX) as viewer:
            viewer.connect(str(place))
            assert viewer.recv(12) == b"RFB 003.008\n"
        bare.end(running.pidfile)
        assert serving.wait(patient(20)) == 0
        assert b"m has ended" in serving.communicate()[1]
        assert not place.exists()
    finally:
        serving.kill()
        serving.wait()
    assert "m is not running" in shell.run("vnc", "m", status=3).stderr


def test_the_desktops_own_viewer_shows_it(shell: Shell, running: MachinePaths) -> None:
    assert "there is no desktop session here" in shell.run("view", "m", status=3).stderr
    with x_server(screen="1000x700x24") as desk:
        shell.env["DISPLAY"] = desk.name
        viewing = shell.popen("view", "m", "--with", "vncviewer", "--view-only", stderr=subprocess.PIPE)

        def shown() -> bool:
            """Whether the firmware's own words are there: light on black, and wider than a dialog's."""
            found = ImageGrab.grab(xdisplay=desk.name).convert("L").point(lambda level: 255 * (level > 100)).getbbox()
            return found is not None and found[2] - found[0] > 100

        try:
            wait_until(shown, 60)
            viewer = next(words for words in map(cmdline, shell.processes()) if words[0].endswith(b"vncviewer"))
            file = Path(viewer[viewer.index(b"-passwd") + 1].decode())
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            viewing.send_signal(signal.SIGINT)
            assert viewing.wait(patient(20)) == 0
            assert b"viewer 1 has connected (view-only)" in viewing.communicate()[1]
            assert not file.exists()
            wait_until(
                lambda: not any(words[0].endswith(b"vncviewer") for words in map(cmdline, shell.processes())), 20
            )
        finally:
            viewing.kill()
            viewing.wait()


def cmdline(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def test_no_viewers_arguments_hold_the_password() -> None:
    offered = vnc.VncAddress("m", "127.0.0.1", 5901, "Secret12", None, view_only=True)
    for viewer in vnc.VIEWERS:
        with tempfile.TemporaryDirectory() as folder:
            words = vnc.viewer_words(viewer, offered, Path(folder))
            assert words[0] == viewer and not any("Secret12" in word for word in words)
            assert [stat.S_IMODE(file.stat().st_mode) for file in Path(folder).iterdir()] == [0o600]
