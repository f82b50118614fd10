"""The upstream's checkout, against real repositories, a real git server, and a line that breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from overlay.repos import SCRIPT, Line, Upstream, bytes_of, daemon, sh
from pommel.errors import BusyError, StateError, UpstreamError
from pommel.overlay import undo, upstream
from pommel.overlay.pins import Pin
from pommel.overlay.upstream import ensure, status
from pommel.progress import Progress, ignore


@pytest.fixture
def far(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "far")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return tmp_path / "home" / "osx-kvm"


def beside(checkout: Path) -> list[str]:
    return sorted(p.name for p in checkout.parent.iterdir() if not p.name.endswith(".lock"))


def test_clones_the_pinned_commit_not_the_newest(far: Upstream, checkout: Path) -> None:
    old = far.old_layout()
    far.new_layout()
    state = ensure(checkout, far.pin(old, **{"OVMF_CODE.fd": bytes_of("2m")}), report=ignore)
    assert (state.commit, state.ahead, state.behind, state.force_pushed) == (old, 0, 1, False)
    assert state.clean
    assert (checkout / "OVMF_CODE.fd").read_bytes() == bytes_of("2m")
    assert not (checkout / "OVMF_CODE_4M.fd").exists()
    assert os.access(checkout / SCRIPT, os.X_OK)
    assert beside(checkout) == ["osx-kvm"]


def test_fetches_only_what_it_needs(far: Upstream, checkout: Path) -> None:
    far.commit({"big": bytes_of("big", 1 << 20)})
    pin = far.pin(far.commit({"big": "small now"}))
    ensure(checkout, pin, report=ignore)
    size = sum(p.stat().st_size for p in (checkout / ".git").rglob("*") if p.is_file())
    assert size < 1 << 19


def test_a_server_without_partial_clones_or_ids(far: Upstream, checkout: Path) -> None:
    old = far.old_layout()
    far.new_layout()
    far.allow("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", value="false")
    assert ensure(checkout, far.pin(old), report=ignore).clean


def test_works_without_network_when_the_commit_is_there(far: Upstream, checkout: Path) -> None:
    pin = far.pin(far.old_layout())
    ensure(checkout, pin, report=ignore)
    far.bare.rename(far.bare.with_name("gone"))
    events: list[Progress] = []
    assert ensure(checkout, pin, report=events.append).clean
    assert events == []
    assert ensure(checkout, pin, report=events.append, update=True).clean
    assert [event.warning for event in events][-1:] == [True]
    with pytest.raises(UpstreamError, match=r"could not be fetched"):
        status(checkout, pin, fetch=True)


def test_a_clone_that_the_user_made_will_do(far: Upstream, checkout: Path) -> None:
    old = far.pin(far.old_layout())
    far.new_layout()
    sh(far.work, "clone", "--quiet", far.url, checkout)
    far.bare.rename(far.bare.with_name("gone"))
    state = ensure(checkout, old, report=ignore)
    assert state.clean
    assert (state.ahead, state.behind) == (None, None)


def test_moves_to_another_pin_and_back_offline(far: Upstream, checkout: Path) -> None:
    old = far.pin(far.old_layout())
    new = far.pin(far.new_layout(), **{"OVMF_CODE_4M.fd": bytes_of("4m")})
    ensure(checkout, old, report=ignore)
    assert ensure(checkout, new, report=ignore).clean
    assert not (checkout / "OVMF_CODE.fd").exists()
    far.bare.rename(far.bare.with_name("gone"))
    assert ensure(checkout, old, report=ignore).clean
    assert (checkout / "OVMF_CODE.fd").read_bytes() == bytes_of("2m")


def test_history_rewritten_upstream(far: Upstream, checkout: Path) -> None:
    far.commit({"README": "x"})
    old = far.old_layout()
    ensure(checkout, far.pin(old), report=ignore)
    new = far.new_layout(force=True)
    assert status(checkout, far.pin(old)).force_pushed is False
    state = status(checkout, far.pin(old), fetch=True)
    assert (state.ahead, state.behind, state.force_pushed) == (1, 1, True)
    assert ensure(checkout, far.pin(new), report=ignore).force_pushed is False
    # The old commit is on no branch any more, and still here.
    sh(checkout, "gc", "--quiet", "--prune=now")
    assert ensure(checkout, far.pin(old), report=ignore).commit == old


def test_a_commit_that_is_gone_or_never_was(far: Upstream, checkout: Path) -> None:
    far.old_layout()
    with pytest.raises(UpstreamError, match=r"does not have commit 1234567890") as caught:
        ensure(checkout, far.pin("1234567890" * 4), report=ignore)
    assert caught.value.hint is not None
    assert beside(checkout) == []


def test_no_upstream_there(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match=r"could not be fetched: fatal:"):
        ensure(checkout, Pin((tmp_path / "nowhere").as_uri(), "a" * 40), report=ignore)
    assert status(checkout, Pin("x", "a" * 40)).commit is None


def test_a_wrong_hash_is_an_error_and_leaves_no_clone(far: Upstream, checkout: Path) -> None:
    pin = far.pin(far.old_layout(), **{"OVMF_CODE.fd": b"other", "OVMF_VARS-1920x1080.fd": b"vars"})
    with pytest.raises(UpstreamError) as caught:
        ensure(checkout, pin, report=ignore)
    expected = pin.sha256["OVMF_CODE.fd"]
    got = far.pin(pin.commit, x=bytes_of("2m")).sha256["x"]
    assert "OVMF_CODE.fd" in caught.value.message
    assert expected in caught.value.message
    assert got in caught.value.message
    assert beside(checkout) == []


def test_a_wrong_hash_after_a_move_moves_back(far: Upstream, checkout: Path) -> None:
    old = far.pin(far.old_layout())
    new = far.pin(far.new_layout(), **{"OVMF_CODE_4M.fd": b"forged"})
    ensure(checkout, old, report=ignore)
    with pytest.raises(UpstreamError, match=r"OVMF_CODE_4M.fd"):
        ensure(checkout, new, report=ignore)
    assert status(checkout, old).clean
    assert sh(checkout, "status", "--porcelain", "--ignored") == ""


def test_a_binary_changed_in_place_is_found(far: Upstream, checkout: Path) -> None:
    pin = far.pin(far.old_layout(), **{"OVMF_VARS-1920x1080.fd": b"vars"})
    ensure(checkout, pin, report=ignore)
    (checkout / "OVMF_VARS-1920x1080.fd").write_bytes(b"written by a guest")
    (checkout / "OVMF_CODE.fd").unlink()
    state = status(checkout, pin)
    assert state.modified == state.unverified == ("OVMF_VARS-1920x1080.fd",)
    assert state.missing == ("OVMF_CODE.fd",)
    with pytest.raises(UpstreamError) as caught:
        ensure(checkout, pin, report=ignore)
    assert f"git -C {checkout} checkout -- OVMF_VARS" in (caught.value.hint or "")


def test_a_move_never_loses_edits(far: Upstream, checkout: Path) -> None:
    old, new = far.pin(far.old_layout()), far.pin(far.new_layout())
    ensure(checkout, old, report=ignore)
    (checkout / SCRIPT).write_text("mine")
    with pytest.raises(StateError, match=SCRIPT):
        ensure(checkout, new, report=ignore)
    sh(checkout, "checkout", "--", SCRIPT)
    (checkout / "OVMF_CODE_4M.fd").write_text("mine too")
    with pytest.raises(StateError, match=r"OVMF_CODE_4M.fd"):
        ensure(checkout, new, report=ignore)
    assert (checkout / "OVMF_CODE_4M.fd").read_text() == "mine too"
    assert status(checkout, old).at_pin


def test_a_folder_that_is_no_checkout_is_left_alone(far: Upstream, checkout: Path) -> None:
    checkout.mkdir(parents=True)
    (checkout / "thesis.txt").write_text("x")
    with pytest.raises(UpstreamError, match=r"not a git checkout"):
        ensure(checkout, far.pin(far.old_layout()), report=ignore)
    assert (checkout / "thesis.txt").exists()


def test_the_users_git_setup_changes_nothing(
    far: Upstream, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    for folder in (template, tmp_path / "hooks"):
        folder.mkdir(exist_ok=True)
        for hook in ("post-checkout", "reference-transaction"):
            (folder / hook).write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
            (folder / hook).chmod(0o755)
    config = tmp_path / ".gitconfig"
    config.write_text(
        f"[core]\nautocrlf = true\nhooksPath = {tmp_path}/hooks\n[init]\ntemplateDir = {template.parent}\n"
        f'[url "{far.url}"]\ninsteadOf = https://blocked.example/x\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    pin = Pin("https://blocked.example/x", far.old_layout())
    assert ensure(checkout, pin, report=ignore).clean  # by the user's insteadOf, which is a way to the network
    assert b"\r" not in (checkout / SCRIPT).read_bytes()
    assert not (tmp_path / "hooked").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_a_line_that_breaks_leaves_nothing(far: Upstream, checkout: Path) -> None:
    commit = far.commit({"big": bytes_of("big", 1 << 20)})
    with daemon(far.bare.parent) as port, Line(port, limit=200_000) as line:
        with pytest.raises(UpstreamError, match=r"could not be fetched"):
            ensure(checkout, Pin(f"git://127.0.0.1:{line.port}/upstream.git", commit), report=ignore)
        assert line.reached.is_set()
        assert beside(checkout) == []
        assert ensure(checkout, Pin(f"git://127.0.0.1:{port}/upstream.git", commit), report=ignore).clean


CLONE = """
import sys
from pathlib import Path
from pommel.overlay.pins import Pin
from pommel.overlay.upstream import ensure
ensure(Path(sys.argv[1]), Pin(sys.argv[2], sys.argv[3]), report=lambda _: None)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_it_clones(far: Upstream, checkout: Path, how: signal.Signals) -> None:
    commit = far.commit({"big": bytes_of("big", 1 << 20)})
    with daemon(far.bare.parent) as port:
        with Line(port, limit=200_000, hang=True) as line:
            words = [str(checkout), f"git://127.0.0.1:{line.port}/upstream.git", commit]
            child = subprocess.Popen([sys.executable, "-c", CLONE, *words], stderr=subprocess.DEVNULL)
            assert line.reached.wait(60)
            child.send_signal(how)
            assert child.wait() != 0
            assert not checkout.exists()
            if how == signal.SIGINT:
                assert beside(checkout) == []
        pin = Pin(f"git://127.0.0.1:{port}/upstream.git", commit)
        assert ensure(checkout, pin, report=ignore).clean
    assert beside(checkout) == ["osx-kvm"]


def test_killed_while_it_moves(far: Upstream, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill -9 leaves the record, git's lock, and files that the old commit does not have."""
    old, new = far.pin(far.old_layout()), far.pin(far.new_layout())
    ensure(checkout, old, report=ignore)

    def half_done(checkout: Path, pin: Pin) -> None:
        (checkout / "OVMF_CODE_4M.fd").write_bytes(b"half")
        (checkout / "OVMF_CODE.fd").unlink()
        (checkout / ".git" / "index.lock").touch()
        os._exit(9)

    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(upstream, "_check_out", half_done)
        ensure(checkout, new, report=ignore)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    with undo.at_work(checkout):
        assert status(checkout, old).clean
    assert sh(checkout, "status", "--porcelain") == ""
    assert ensure(checkout, new, report=ignore).clean


def test_two_at_once(far: Upstream, checkout: Path) -> None:
    pin = far.pin(far.old_layout())
    with undo.at_work(checkout), pytest.raises(BusyError):
        ensure(checkout, pin, report=ignore, wait_s=0)
