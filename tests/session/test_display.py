"""Where the session's display is, by what its programs say."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isolation import patient
from pommel.session import display
from pommel.session.display import displays, wayland_sockets

ANN, BOB = 12345, 12346


@contextlib.contextmanager
def program(uid: int, **env: str) -> Iterator[int]:
    """A program of a user, with this environment alone."""
    child = subprocess.Popen(["setpriv", f"--reuid={uid}", "--clear-groups", "sleep", "60"], env=env)
    try:
        comm = Path(f"/proc/{child.pid}/comm")
        deadline = time.monotonic() + patient(10)
        while comm.read_text() != "sleep\n":
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield child.pid
    finally:
        child.kill()
        child.wait()


def test_what_the_users_programs_say_and_nobody_elses() -> None:
    path = os.environ["PATH"]
    with (
        program(ANN, PATH=path, DISPLAY=":41", XAUTHORITY="/home/ann/.Xauthority", SECRET="x"),
        program(ANN, PATH=path, DISPLAY=":42.0"),
        program(ANN, PATH=path),
        program(BOB, PATH=path, DISPLAY=":43"),
        program(ANN, PATH=path, DISPLAY="elsewhere:0"),
    ):
        found = list(displays({}, uid=ANN))
        assert sorted(one["DISPLAY"] for one in found) == [":41", ":42.0"]
        assert {"DISPLAY": ":41", "XAUTHORITY": "/home/ann/.Xauthority"} in found
        assert next(displays({"DISPLAY": ":9"}, uid=BOB))["DISPLAY"] == ":9"
        assert [one["DISPLAY"] for one in displays({"DISPLAY": ":41"}, uid=BOB)] == [":41", ":43"]
    assert list(displays({}, uid=ANN)) == []


def test_the_active_sessions_programs_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, session, shown in ((100, "1", ":0"), (200, "2", ":1"), (300, "1", ":0"), (400, "c3", ":7")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "environ").write_bytes(f"HOME=/h\0DISPLAY={shown}\0".encode())
        (folder / "cgroup").write_text(f"0::/user.slice/user-1000.slice/session-{session}.scope\n")
    monkeypatch.setattr(display, "_PROC", tmp_path)
    (tmp_path / "self").mkdir()
    for session, order in (
        ("1", [":0", ":5", ":7", ":1"]),
        ("2", [":1", ":5", ":7", ":0"]),
        ("", [":5", ":7", ":0", ":1"]),
    ):
        assert [one["DISPLAY"] for one in displays({"DISPLAY": ":5"}, session)] == order


def test_the_named_wayland_socket_comes_first_then_this_users(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        for name in ("wayland-1", "wayland-0", "wayland-2"):
            held.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX))).bind(str(tmp_path / name))
        (tmp_path / "wayland-0.lock").touch()
        env = {"XDG_RUNTIME_DIR": str(tmp_path)}
        assert list(wayland_sockets(env)) == [str(tmp_path / f"wayland-{number}") for number in (0, 1, 2)]
        env["WAYLAND_DISPLAY"] = "wayland-1"
        assert list(wayland_sockets(env)) == [str(tmp_path / f"wayland-{number}") for number in (1, 0, 2)]
    assert list(wayland_sockets({"XDG_RUNTIME_DIR": str(tmp_path / "gone")})) == []
