"""A guest's shell over a real ssh, and how one becomes root there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.clips import alive, machine_behind
from clipboard.conftest import Sshd
from pommel.app.session import reach as session_reach
from pommel.app.session.reach import Reach, as_root, connected, reach
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, DeadlineError, NotPermitted, StateError, UsageError
from pommel.process import run


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    made = Sshd(tmp_path_factory.mktemp("sshd"), {})
    yield made
    made.stop()


@pytest.fixture
def there(sshd: Sshd) -> Reach:
    return Reach("box", ("box",), target=sshd.target)


def logins(sshd: Sshd) -> int:
    return (sshd.root / "log").read_text().count("Accepted publickey")


def test_who_is_meant(tmp_path: Path, sshd: Sshd) -> None:
    workspace = machine_behind(sshd, tmp_path, None)
    for name, host in ((None, None), ("trial", "ann@mac")):
        with pytest.raises(UsageError):
            reach(workspace, name, host)
    with pytest.raises(StateError, match="not running"):
        reach(workspace, "trial")
    with alive(workspace):
        assert reach(workspace, "trial").sh("echo 'one  two'") == "one  two\n"
    assert reach(Workspace.current(), None, "ann@mac.example:2222").argv(["x"])[-3:] == ["--", "mac.example", "x"]


def test_calls_share_one_login_and_nothing_stays(sshd: Sshd, there: Reach, tmp_path: Path) -> None:
    before = logins(sshd)
    place = tmp_path / "a b"
    with connected(there) as shared:
        assert shared.connection is not None
        folder = shared.connection
        for part in (b"one ", b"\0two\n"):
            shared.send(part, f"'{place}'")
        assert shared.sh(f"wc -c < '{place}'").strip() == "9"
        assert (folder / "user").is_socket()
    assert place.read_bytes() == b"one \0two\n"
    assert logins(sshd) == before + 1
    assert not folder.exists()
    assert run(["pgrep", "-f", str(folder)], check=False).text == ""


def test_what_goes_wrong_is_told_in_its_own_words(there: Reach, sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no room"):
        there.sh("echo 'no room' >&2; exit 3")
    with pytest.raises(CommandFailed, match="Is a directory"):
        there.send(b"x", str(tmp_path))
    with pytest.raises(DeadlineError):
        there.sh("sleep 30", timeout_s=1)
    wrong = tmp_path / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", wrong])
    with pytest.raises(NotPermitted) as no:
        replace(there, target=replace(sshd.target, key=wrong)).sh("true")
    assert no.value.hint == "pommel ssh box --copy-id"
    with pytest.raises(StateError, match="does not answer SSH"), connected(there) as shared:
        replace(shared, connection=None, target=replace(sshd.target, port=1)).sh("true")


def test_ways_to_root(there: Reach, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_root(there, "self").argv(["x"]) == there.argv(["x"])
    assert as_root(there, "").root == "login", "this sshd lets root in"
    assert "root" in as_root(there, "").argv([])
    locked = replace(there, target=replace(sshd.target, key=tmp_path / "none"))
    with pytest.raises(NotPermitted, match="sudo there asks"):
        as_root(locked, "")
    with pytest.raises(NotPermitted):
        as_root(Reach("mac", ("--host", "mac"), address=None), "")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert as_root(locked, "").root == "ask"


def test_a_sudo_that_asks_does_so_on_the_terminal(there: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def attach(words: list[str]) -> int:
        asked.append(words)
        return len(asked) - 1

    monkeypatch.setattr(session_reach, "attach", attach)
    ask = replace(there, root="ask")
    ask.sh_on_terminal("/tmp/x/script")
    assert asked[0][-3:] == ["sudo", "sh", "/tmp/x/script"]
    assert "RequestTTY=force" in asked[0] and os.path.basename(asked[0][0]) == "ssh"
    with pytest.raises(CommandFailed, match="see above"):
        ask.sh_on_terminal("/tmp/x/script")
