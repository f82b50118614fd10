"""Patches, on real checkouts of both layouts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from overlay.repos import NEW, OLD, SCRIPT, sh
from pommel.errors import ConfigError, StateError, UpstreamError
from pommel.overlay import journal, undo
from pommel.overlay.journal import AppliedPatch
from pommel.overlay.patches import PatchStanding, ThreeWay, apply_all, read, roll_back, status


class Repo:
    """A checkout and a config repo's folder."""

    def __init__(self, folder: Path, layout: Path) -> None:
        self.checkout, self.config = folder / "checkout", folder / "config"
        (self.config / "patches").mkdir(parents=True)
        self.checkout.mkdir()
        sh(self.checkout, "init", "--quiet")
        shutil.copy(layout / SCRIPT, self.checkout)
        (self.checkout / "notes").write_text("one\ntwo\nthree\n")
        sh(self.checkout, "add", "--all")
        sh(self.checkout, "commit", "--quiet", "-m", "x")

    def change(self, name: str, **replaced: str) -> None:
        """Edit the checkout's file: `a="b"` puts b for a."""
        path = self.checkout / name
        text = path.read_text()
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    def keep_as(self, patch: str) -> None:
        """Make the checkout's changes a patch of the config repo, and undo them."""
        text = sh(self.checkout, "diff") + "\n"
        (self.config / "patches" / patch).write_text(text)
        sh(self.checkout, "checkout", "--quiet", "--", ".")

    def read(self) -> list[AppliedPatch]:
        return read(self.config)

    def states(self) -> list[tuple[str, PatchStanding]]:
        return [(each.name, each.state) for each in status(self.checkout, self.read())]

    def text(self, name: str = "notes") -> str:
        return (self.checkout / name).read_text()

    def snapshot(self) -> dict[str, bytes]:
        kept = [p for p in self.checkout.rglob("*") if p.is_file() and ".git" not in p.parts]
        return {p.name: p.read_bytes() for p in kept}


def repo_with_knobs(folder: Path, layout: Path) -> Repo:
    """A config repo whose one patch turns the knobs in the script of the newer layout."""
    maker = Repo(folder / "maker", NEW)
    maker.change(
        SCRIPT,
        **{
            "xsaveopt,check": "xsaveopt,+avx2,check",
            "ram=4096": "ram=16384",
            "cores=2 threads=4": "cores=6 threads=12",
        },
    )
    maker.change(SCRIPT, **{"Skylake-Client,-hle,-rtm": "Haswell-noTSX"})
    maker.keep_as("OpenCore-Boot.sh.patch")
    repo = Repo(folder / "repo", layout)
    shutil.copytree(maker.config, repo.config, dirs_exist_ok=True)
    return repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path, NEW)


def test_a_patch_made_for_one_layout_applies_there(tmp_path: Path) -> None:
    repo = repo_with_knobs(tmp_path, NEW)
    before = repo.snapshot()
    mode = (repo.checkout / SCRIPT).stat().st_mode
    assert repo.states() == [("OpenCore-Boot.sh.patch", PatchStanding.PENDING)]
    apply_all(repo.checkout, repo.read())
    assert "ram=16384" in repo.text(SCRIPT)
    assert "Haswell-noTSX,kvm=on" in repo.text(SCRIPT)
    assert (repo.checkout / SCRIPT).stat().st_mode == mode
    assert repo.states() == [("OpenCore-Boot.sh.patch", PatchStanding.APPLIED)]
    again = repo.snapshot()
    apply_all(repo.checkout, repo.read())
    assert repo.snapshot() == again
    assert roll_back(repo.checkout) == ["OpenCore-Boot.sh.patch"]
    assert repo.snapshot() == before
    assert (repo.checkout / SCRIPT).stat().st_mode == mode
    assert roll_back(repo.checkout) == []


def test_and_conflicts_on_the_other_and_says_where(tmp_path: Path) -> None:
    repo = repo_with_knobs(tmp_path, OLD)
    before = repo.snapshot()
    (state,) = status(repo.checkout, repo.read())
    assert state.state is PatchStanding.CONFLICT
    assert [(where.file, where.line) for where in state.places] == [(SCRIPT, 1)]
    assert state.three_way is ThreeWay.NO_BASE
    with pytest.raises(UpstreamError, match=rf"OpenCore-Boot.sh.patch: {SCRIPT} line 1") as caught:
        apply_all(repo.checkout, repo.read())
    assert "rm patches/OpenCore-Boot.sh.patch" in (caught.value.hint or "")
    assert repo.snapshot() == before


def test_a_renamed_script_is_a_conflict(tmp_path: Path) -> None:
    repo = repo_with_knobs(tmp_path, NEW)
    (repo.checkout / SCRIPT).rename(repo.checkout / "boot.sh")
    (state,) = status(repo.checkout, repo.read())
    assert (state.state, state.places[0].file, state.places[0].line) == (PatchStanding.CONFLICT, SCRIPT, None)
    assert "No such file" in state.places[0].why


@pytest.mark.parametrize(
    ("line", "outcome"), [("two upstream", ThreeWay.CONFLICTS), ("three upstream", ThreeWay.CLEAN)]
)
def test_three_way_when_the_base_is_in_the_history(repo: Repo, line: str, outcome: ThreeWay) -> None:
    numbers = ["one", "two", "", "", "three", "", ""]
    (repo.checkout / "notes").write_text("\n".join(numbers))
    sh(repo.checkout, "commit", "--quiet", "-am", "base")
    repo.change("notes", two="two mine")
    repo.keep_as("1.patch")
    repo.change("notes", **{line.split()[0]: line})
    sh(repo.checkout, "commit", "--quiet", "-am", "upstream goes on")
    (state,) = status(repo.checkout, repo.read())
    assert (state.state, state.three_way) == (PatchStanding.CONFLICT, outcome)
    assert sh(repo.checkout, "status", "--porcelain") == ""


def test_one_on_top_of_another(repo: Repo) -> None:
    before = repo.snapshot()
    repo.change("notes", two="2")
    repo.keep_as("1.patch")
    repo.change("notes", two="2")
    sh(repo.checkout, "commit", "--quiet", "-am", "as if")
    repo.change("notes", **{"2": "II"})
    repo.keep_as("2.patch")
    sh(repo.checkout, "reset", "--quiet", "--hard", "HEAD^")
    assert repo.states() == [("1.patch", PatchStanding.PENDING), ("2.patch", PatchStanding.PENDING)]
    apply_all(repo.checkout, repo.read())
    assert repo.text() == "one\nII\nthree\n"
    assert repo.states() == [("1.patch", PatchStanding.APPLIED), ("2.patch", PatchStanding.APPLIED)]
    assert roll_back(repo.checkout) == ["2.patch", "1.patch"]
    assert repo.snapshot() == before


def test_all_or_none(repo: Repo) -> None:
    repo.change("notes", two="2")
    repo.keep_as("1.patch")
    (repo.config / "patches" / "2.patch").write_text("--- a/notes\n+++ b/notes\n@@ -1 +1 @@\n-eins\n+1\n")
    before = repo.snapshot()
    with pytest.raises(UpstreamError, match=r"2\.patch: notes line 1"):
        apply_all(repo.checkout, repo.read())
    assert repo.snapshot() == before
    assert repo.states() == [("1.patch", PatchStanding.PENDING), ("2.patch", PatchStanding.CONFLICT)]


def test_applied_by_hand_counts_as_applied(repo: Repo) -> None:
    repo.change("notes", two="2")
    repo.keep_as("1.patch")
    repo.change("notes", two="2")
    assert repo.states() == [("1.patch", PatchStanding.APPLIED)]
    apply_all(repo.checkout, repo.read())
    assert repo.text() == "one\n2\nthree\n"
    roll_back(repo.checkout)
    assert repo.text() == "one\ntwo\nthree\n"


def test_changed_in_the_config_repo_since(repo: Repo) -> None:
    patch = "--- a/notes\n+++ b/notes\n@@ -1,3 +1,3 @@\n one\n-two\n+{}\n three\n"
    (repo.config / "patches" / "1.patch").write_text(patch.format("2"))
    apply_all(repo.checkout, repo.read())
    (repo.config / "patches" / "1.patch").write_text(patch.format("II"))
    (state,) = status(repo.checkout, repo.read())
    assert (state.state, state.outdated) == (PatchStanding.APPLIED, True)
    apply_all(repo.checkout, repo.read())
    assert repo.text() == "one\nII\nthree\n"
    # One that no longer fits leaves the one that is applied.
    (repo.config / "patches" / "1.patch").write_text(patch.format("x").replace("one", "eins"))
    with pytest.raises(UpstreamError, match=r"conflicts"):
        apply_all(repo.checkout, repo.read())
    assert repo.text() == "one\nII\nthree\n"
    assert [each.text for each in journal.read_patches(repo.checkout).applied] == [patch.format("II")]


def test_an_edit_in_the_checkout_is_not_blamed_on_the_upstream(repo: Repo) -> None:
    repo.change("notes", two="2")
    repo.keep_as("1.patch")
    repo.change("notes", two="my own")
    before = repo.snapshot()
    (state,) = status(repo.checkout, repo.read())
    assert (state.state, state.edited) == (PatchStanding.CONFLICT, ("notes",))
    with pytest.raises(
        StateError, match=r"has edits that conflict with a patch.*\n.*1\.patch: notes line 1: .*notes was edited"
    ) as caught:
        apply_all(repo.checkout, repo.read())
    hint = caught.value.hint or ""
    assert f"git -C {repo.checkout} diff -- notes" in hint
    assert repo.snapshot() == before
    assert "add them to patches/1.patch" in hint
    sh(repo.checkout, *hint.split("undo them here: ")[1].split()[3:])  # as typed, without git -C CHECKOUT
    apply_all(repo.checkout, repo.read())
    assert repo.text() == "one\n2\nthree\n"


def test_an_edit_beside_a_real_conflict_and_one_of_a_file_of_ones_own(repo: Repo) -> None:
    new = "--- /dev/null\n+++ b/extra\n@@ -0,0 +1 @@\n+theirs\n"
    (repo.config / "patches" / "1.patch").write_text(new)
    (repo.checkout / "extra").write_text("mine\n")
    (state,) = status(repo.checkout, repo.read())
    assert (state.state, state.edited) == (PatchStanding.CONFLICT, ("extra",))
    with pytest.raises(StateError, match=r"extra was edited in the checkout") as refused:
        apply_all(repo.checkout, repo.read())
    assert refused.value.hint == f"move your own file away: mv {repo.checkout}/extra {repo.checkout}/extra.mine"
    (repo.config / "patches" / "2.patch").write_text("--- a/notes\n+++ b/notes\n@@ -1 +1 @@\n-eins\n+1\n")
    assert [each.edited for each in status(repo.checkout, repo.read())] == [("extra",), ()]
    with pytest.raises(UpstreamError, match=r"conflicts with the upstream") as caught:
        apply_all(repo.checkout, repo.read())
    assert "rm patches/2.patch" in (caught.value.hint or "")


def test_an_edit_that_a_patch_fits_is_no_conflict_and_one_of_a_conflicting_file_no_excuse(repo: Repo) -> None:
    (repo.config / "patches" / "1.patch").write_text("--- a/notes\n+++ b/notes\n@@ -1 +1 @@\n-eins\n+1\n")
    repo.change("notes", three="my own")
    (state,) = status(repo.checkout, repo.read())
    assert (state.state, state.edited) == (PatchStanding.CONFLICT, ())


def test_dropped_from_the_config_repo(repo: Repo) -> None:
    repo.change("notes", two="2")
    repo.keep_as("1.patch")
    apply_all(repo.checkout, repo.read())
    (repo.config / "patches" / "1.patch").unlink()
    (state,) = status(repo.checkout, repo.read())
    assert (state.name, state.state, state.dropped) == ("1.patch", PatchStanding.APPLIED, True)
    apply_all(repo.checkout, repo.read())
    assert repo.text() == "one\ntwo\nthree\n"
    assert status(repo.checkout, repo.read()) == []


def test_edited_on_top_is_not_lost(repo: Repo) -> None:
    repo.change("notes", two="2")
    repo.keep_as("1.patch")
    apply_all(repo.checkout, repo.read())
    repo.change("notes", **{"2": "my own"})
    with pytest.raises(StateError, match=r"1\.patch cannot be removed from .* notes line 1") as caught:
        roll_back(repo.checkout)
    assert "my own" in repo.text()
    hint = caught.value.hint or ""
    assert f"git -C {repo.checkout} diff -- notes shows the edits" in hint
    sh(repo.checkout, "checkout", "--", "notes")  # what the hint says
    assert roll_back(repo.checkout) == ["1.patch"]
    assert repo.text() == "one\ntwo\nthree\n"
    assert status(repo.checkout, repo.read())[0].state is PatchStanding.PENDING


def test_files_that_come_and_go(repo: Repo) -> None:
    (repo.checkout / "new").mkdir()
    (repo.checkout / "new" / "tool").write_text("#!/bin/sh\n")
    (repo.checkout / "new" / "tool").chmod(0o755)
    (repo.checkout / "notes").unlink()
    sh(repo.checkout, "add", "--all")
    (repo.config / "patches" / "1.patch").write_text(sh(repo.checkout, "diff", "--cached") + "\n")
    sh(repo.checkout, "reset", "--quiet", "--hard")
    apply_all(repo.checkout, repo.read())
    assert not (repo.checkout / "notes").exists()
    assert (repo.checkout / "new" / "tool").stat().st_mode & 0o777 == 0o755
    roll_back(repo.checkout)
    assert repo.text() == "one\ntwo\nthree\n"
    assert not (repo.checkout / "new").exists()


def test_through_a_link_out_of_the_tree(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("a\n")
    (repo.checkout / "link").symlink_to(tmp_path / "outside")
    (repo.config / "patches" / "1.patch").write_text("--- a/link/f\n+++ b/link/f\n@@ -1 +1 @@\n-a\n+b\n")
    with pytest.raises(UpstreamError, match=r"not a folder of the checkout"):
        apply_all(repo.checkout, repo.read())
    assert (tmp_path / "outside" / "f").read_text() == "a\n"


def test_what_is_no_patch_is_refused_when_read(repo: Repo) -> None:
    (repo.config / "patches" / "1.patch").write_bytes(b"a\xff\xfe")
    with pytest.raises(ConfigError, match=r"1\.patch:1 is not text in UTF-8"):
        repo.read()
    (repo.config / "patches" / "1.patch").write_text("--- a/x\n+++ b/../../x\n")
    with pytest.raises(ConfigError, match=r"patches/1\.patch:2"):
        repo.read()


def test_a_full_disk_while_writing_restores(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.change("notes", two="2")
    repo.change(SCRIPT, **{"ram=4096": "ram=1"})
    repo.keep_as("1.patch")
    before = repo.snapshot()
    real = undo.place
    calls: list[str] = []

    def full(checkout: Path, name: str, data: bytes | None, mode: int) -> None:
        calls.append(name)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(checkout, name, data, mode)

    monkeypatch.setattr("pommel.overlay.patches.place", full)
    with pytest.raises(OSError, match=r"No space"):
        apply_all(repo.checkout, repo.read())
    assert len(calls) == 2
    assert repo.snapshot() == before
    assert repo.states() == [("1.patch", PatchStanding.PENDING)]
