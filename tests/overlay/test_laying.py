"""A config repo laid over real checkouts, lifted off, and moved to another pin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlay.repos import SCRIPT, Upstream, bytes_of, sh
from pommel.errors import ConfigError, StateError, UpstreamError
from pommel.overlay import files, patches, upstream
from pommel.overlay.laying import lay, lift, read, status, update
from pommel.overlay.pins import Pin
from pommel.overlay.undo import at_work
from pommel.progress import Progress, ignore

RAM = "--- a/{0}\n+++ b/{0}\n@@ -5,3 +5,3 @@\n-ram=4096\n+ram=16384\n sockets=1 cores=2 threads=4\n here=.\n"


class Place:
    """An upstream with both layouts, a checkout at the old one, and a config repo."""

    def __init__(self, folder: Path) -> None:
        self.far, self.checkout, self.config = Upstream(folder / "far"), folder / "osx-kvm", folder / "config"
        self.old = self.far.pin(self.far.old_layout(), **{"OVMF_CODE.fd": bytes_of("2m")})
        self.new = self.far.pin(self.far.new_layout(force=True), **{"OVMF_CODE_4M.fd": bytes_of("4m")})
        (self.config / "patches").mkdir(parents=True)
        (self.config / "files").mkdir()
        (self.config / "patches" / "ram.patch").write_text(RAM.format(SCRIPT))
        (self.config / "files" / "OVMF_VARS-1920x1080.fd").write_bytes(b"better vars")
        (self.config / "files" / "own").write_text("own")
        upstream.ensure(self.checkout, self.old, report=ignore)

    def lay(self) -> None:
        lay(self.checkout, read(self.config), report=ignore)

    def update(self, pin: Pin) -> upstream.UpstreamState:
        return update(self.checkout, pin, read(self.config), report=ignore)

    def snapshot(self) -> dict[str, tuple[int, bytes]]:
        kept = [p for p in self.checkout.rglob("*") if p.is_file() and ".git" not in p.parts]
        ours = [p for p in (self.checkout / ".git" / "pommel").rglob("*") if p.is_file()]
        # Of a mode the run bit alone is git's to keep; a clone is private in a private folder whatever else it says.
        found = {str(p.relative_to(self.checkout)): (p.stat().st_mode & 0o111, p.read_bytes()) for p in [*kept, *ours]}
        return {**found, "HEAD": (0, sh(self.checkout, "rev-parse", "HEAD").encode())}

    def all_in_place(self) -> bool:
        now = status(self.checkout, read(self.config))
        return {each.state for each in now.patches} <= {patches.PatchStanding.APPLIED} and {
            each.state for each in now.files
        } <= {files.FileStanding.PLACED}


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_laid_lifted_and_not_taken_for_the_users_edits(here: Place) -> None:
    clean = sh(here.checkout, "status", "--porcelain")
    said: list[Progress] = []
    lay(here.checkout, read(here.config), report=said.append)
    assert [event.text for event in said] == [
        "patches/ram.patch: applied",
        "files/OVMF_VARS-1920x1080.fd: placed, upstream has one too",
        "files/own: placed",
    ]
    assert here.all_in_place()
    assert upstream.status(here.checkout, here.old).clean
    lay(here.checkout, read(here.config), report=said.append)
    assert len(said) == 3
    assert lift(here.checkout) == ["OVMF_VARS-1920x1080.fd", "own", "ram.patch"]
    assert sh(here.checkout, "status", "--porcelain") == clean == ""


def test_a_pinned_file_that_ours_replaces_is_still_verified(here: Place) -> None:
    pin = here.far.pin(here.old.commit, **{"OVMF_VARS-1920x1080.fd": b"vars"})
    here.lay()
    assert upstream.ensure(here.checkout, pin, report=ignore).clean
    (here.checkout / "OVMF_VARS-1920x1080.fd").write_bytes(b"written by a guest")
    assert upstream.status(here.checkout, pin).modified == ("OVMF_VARS-1920x1080.fd",)


def test_update_carries_everything_over(here: Place) -> None:
    here.lay()
    with pytest.raises(StateError, match=r"are applied to it"):
        upstream.ensure(here.checkout, here.new, report=ignore)
    state = here.update(here.new)
    assert state.clean
    assert state.commit == here.new.commit
    assert here.all_in_place()
    assert "Skylake" in (here.checkout / SCRIPT).read_text()
    assert "ram=16384" in (here.checkout / SCRIPT).read_text()
    lift(here.checkout)
    assert sh(here.checkout, "status", "--porcelain") == ""
    assert here.update(here.new).clean  # at the pin already: lays on what is missing
    assert here.all_in_place()


@pytest.mark.parametrize("why", ["conflict", "renamed", "forged", "gone", "in the way"])
def test_update_that_fails_leaves_all_as_it_was(here: Place, why: str) -> None:
    pin = here.new
    if why == "conflict":
        (here.config / "patches" / "z.patch").write_text(
            f'--- a/{SCRIPT}\n+++ b/{SCRIPT}\n@@ -11,3 +11,3 @@\n   -m "$ram"\n'
            '-  -cpu "Penryn,kvm=on,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on,$flags"\n'
            "+  -cpu host\n   -machine q35\n"
        )
    here.lay()
    before = here.snapshot()
    if why == "renamed":
        pin = here.far.pin(here.far.commit({SCRIPT: None, "boot.sh": "x"}))
    elif why == "forged":
        pin = here.far.pin(pin.commit, **{"OVMF_CODE_4M.fd": b"other"})
    elif why == "gone":
        pin = Pin(here.far.url, "1234567890" * 4)
    elif why == "in the way":
        pin = here.far.pin(here.far.commit({"own/README": "upstream has a folder of that name now"}))
    with pytest.raises(UpstreamError):
        here.update(pin)
    assert here.snapshot() == before
    assert here.all_in_place()
    assert upstream.status(here.checkout, here.old).clean


def test_update_never_loses_edits(here: Place) -> None:
    here.lay()
    (here.checkout / "OVMF_CODE.fd").write_bytes(b"my own firmware")
    before = here.snapshot()
    with pytest.raises(StateError, match=r"OVMF_CODE\.fd"):
        here.update(here.new)
    assert here.snapshot() == before


@pytest.mark.parametrize("when", ["move", "place", "verify"])
def test_killed_at_any_step_of_an_update(here: Place, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here.lay()
    before = here.snapshot()
    pid = os.fork()
    if pid == 0:
        module = {"move": upstream, "place": files, "verify": upstream}[when]
        real, calls = getattr(module, when), []

        def deadly(*args: object, **options: object) -> object:
            calls.append(args)
            # The first verify is the move's own; the first two place are the taking away and what is kept.
            if len(calls) > {"move": 0, "place": 2, "verify": 1}[when]:
                os._exit(9)
            return real(*args, **options)

        monkeypatch.setattr(module, when, deadly)
        here.update(here.new)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    with at_work(here.checkout):
        assert here.snapshot() == before
    assert here.update(here.new).clean
    assert here.all_in_place()


def test_a_patch_for_a_file_that_is_replaced(here: Place) -> None:
    (here.config / "files" / SCRIPT).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{SCRIPT} is both"):
        read(here.config)
