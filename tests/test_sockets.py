"""Where sockets are made, and where those of a running QEMU are found."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.bare import argv, make, short_home
from pommel import sockets
from pommel.errors import NotPermitted
from pommel.machine import lifecycle, state
from pommel.paths import Home, MachinePaths


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as home:
        yield home


def spelled(home: Home, **env: str) -> Home:
    """The same home as a command finds it that is given this environment."""
    return Home.find({"POMMEL_HOME": str(home.root), **env})


def test_the_limit_is_the_kernels(tmp_path: Path) -> None:
    path = str(tmp_path) + "/" + "x" * (sockets.PATH_MAX - len(str(tmp_path)) - 1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(OSError, match="too long"):
        server.bind(path + "x")


@pytest.mark.parametrize("root", ["/h", "/home/somebody/.local/share/pommel", "/mnt/" + "x" * 200])
def test_every_socket_of_the_longest_name_fits(root: str) -> None:
    home = Home(Path(root), Path(root) / "run", Path("/c"))
    machine, clip = home.machine("x" * 40), home.clip("x" * 40)
    for path in (machine.qmp, machine.qmp_watch, machine.vnc, clip.socket):
        assert len(os.fsencode(path)) <= sockets.PATH_MAX
    for shared in (machine.runtime / "ssh", clip.shared):  # ssh gives it a longer name at first
        assert len(os.fsencode(shared)) + 17 <= sockets.PATH_MAX
    assert machine.runtime.is_relative_to(home.runtime) == (len(root) < 200)


def test_two_homes_never_share_sockets() -> None:
    deep = [Home(Path("/" + letter * 200), Path("/" + letter * 200) / "run", Path("/c")) for letter in "ab"]
    assert len({home.machine("m").runtime for home in deep}) == 2


def test_commands_find_a_machine_whatever_their_environment_says(home: Home, tmp_path: Path) -> None:
    """A login session's start, and a `stop` by cron, by su, or after the logout."""
    begun = spelled(home, XDG_RUNTIME_DIR=str(tmp_path))
    lifecycle.start(paths := make(begun), argv(paths))
    assert list(tmp_path.iterdir()) == []  # which systemd empties
    later = spelled(home).machine("m")
    assert later == paths and state.observe(later, ask_s=5).detail == ""
    assert lifecycle.stop(later, timeout_s=0.2).how == "quit"


def test_the_record_of_a_run_says_where_its_sockets_are(home: Home) -> None:
    lifecycle.start(paths := make(home), argv(paths))
    moved = Home(home.root, home.root / "elsewhere", home.cache).machine("m")
    assert moved.runtime == paths.runtime
    lifecycle.stop(moved, force=True)
    assert Home(home.root, home.root / "elsewhere", home.cache).machine("m").runtime == home.root / "elsewhere" / "m"


def silent(paths: MachinePaths) -> None:
    """Make the record of a run as earlier versions wrote it: it did not say where the sockets are."""
    told = json.loads(state.run_file(paths).read_text())
    del told["runtime"]
    state.run_file(paths).write_text(json.dumps(told))


def test_a_machine_that_an_earlier_pommel_started_is_found_by_its_own_words(home: Home, tmp_path: Path) -> None:
    """In an XDG_RUNTIME_DIR of which whoever looks knows nothing, with a comma in its name."""
    old = Home(home.root, home.root.with_name("x,y") / "pommel", home.cache)
    paths = make(old)
    words = argv(paths)
    lifecycle.start(paths, [word.replace("x,y", "x,,y") if word.startswith("unix:") else word for word in words])
    silent(paths)
    found = spelled(home).machine("m")
    assert found.runtime == paths.runtime and state.observe(found, ask_s=5).detail == ""
    lifecycle.stop(found, force=True)
    assert spelled(home).machine("m").runtime == home.root / "run" / "m"


@pytest.mark.parametrize("key", ["", "spelled", "real"])
def test_or_where_earlier_ones_had_their_sockets(home: Home, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    link = home.root.with_name("link")
    link.symlink_to(home.root)
    keys = {"": "", "spelled": sockets.key_of(link), "real": sockets.key_of(home.root)}
    short = home.root.with_name("x")  # an XDG_RUNTIME_DIR whose paths fit
    lifecycle.start(paths := make(Home(home.root, short / "pommel" / keys[key], home.cache)), argv(paths))
    silent(paths)
    monkeypatch.setattr(sockets, "_in_argv", lambda pid: None)  # a QEMU of another container
    usual = sockets.former_bases({"XDG_RUNTIME_DIR": str(short)}, link, home.root, usual=key == "")
    found = Home(home.root, home.root / "run", home.cache, usual).machine("m")
    assert found.runtime == paths.runtime and state.observe(found, ask_s=5).detail == ""


def test_a_file_system_that_holds_no_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sockets.base(tmp_path) == tmp_path / "run" and list(tmp_path.iterdir()) == []

    class Refuses(socket.socket):
        def bind(self, address: object) -> None:  # as exFAT does
            raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", Refuses)
    assert sockets.base(tmp_path) == sockets.spare(tmp_path) and list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()  # made by somebody who could
    assert sockets.base(tmp_path) == tmp_path / "run"


def test_a_socket_is_one_that_listens_only_after_listen(tmp_path: Path) -> None:
    path = tmp_path / "with a space.sock"
    assert not sockets.listens(path)
    with socket.socket(socket.AF_UNIX) as at:
        at.bind(str(path))
        assert path.is_socket() and not sockets.listens(path), "a connection would be refused"
        at.listen()
        assert sockets.listens(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))
            assert sockets.listens(path) and not sockets.listens(tmp_path)
    assert path.is_socket() and not sockets.listens(path), "a file that a dead program left"


def test_the_kernel_says_who_is_on_the_other_side(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as at:
        at.bind(str(tmp_path / "s"))
        at.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            link, _ = at.accept()
            with link:
                assert sockets.peer_uid(link) == os.getuid() and sockets.is_ours(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_stranger_is_not_ours() -> None:
    with socket.socket(socket.AF_UNIX) as at:
        at.bind("\0pommel-test-stranger")  # abstract (unix(7)): no folder is in the way
        at.listen()
        words = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0pommel-test-stranger'); input()"
        how = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
        with subprocess.Popen(["/usr/bin/python3", "-I", "-c", words], stdin=subprocess.PIPE, **how) as stranger:
            link, _ = at.accept()
            with link:
                assert sockets.peer_uid(link) == 65534 and not sockets.is_ours(link)
            stranger.communicate(b"\n")


def test_the_spare_folder_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "pommel-0"
    monkeypatch.setattr(sockets, "_own_tmp", lambda: top)
    inside = sockets.spare(tmp_path) / "m"
    sockets.make_private(inside)
    assert top.stat().st_mode & 0o777 == inside.stat().st_mode & 0o777 == 0o700
    os.chown(top, 65534, 65534)
    with pytest.raises(NotPermitted, match="only you can write to") as refusal:
        sockets.make_private(inside)
    assert "POMMEL_HOME" in str(refusal.value.hint)
    shutil.rmtree(top)
    top.symlink_to(tmp_path)
    with pytest.raises(NotPermitted):
        sockets.make_private(inside)
