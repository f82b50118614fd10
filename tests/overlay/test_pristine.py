from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import CommandFailed
from pommel.overlay import pristine
from pommel.overlay.files import OverlayFile
from pommel.overlay.journal import AppliedPatch
from pommel.overlay.undo import head

from .repos import SCRIPT, Upstream, sh

PATCH = """\
--- a/a.txt
+++ b/a.txt
@@ -1 +1 @@
-one
+two
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    upstream = Upstream(tmp_path / "u")
    upstream.old_layout()
    upstream.commit({"a.txt": "one\n", "deep/b.txt": "b\n"})
    sh(tmp_path, "clone", "--quiet", upstream.bare, tmp_path / "checkout")
    return tmp_path / "checkout"


def test_the_commit_is_laid_out_without_what_was_changed_in_the_checkout(checkout: Path) -> None:
    (checkout / "a.txt").write_text("edited\n")
    (checkout / "untracked").touch()
    with pristine.laid_out(checkout, head(checkout)) as folder:
        assert folder.name == checkout.name
        assert (folder / "a.txt").read_text() == "one\n"
        assert (folder / "deep" / "b.txt").read_text() == "b\n"
        assert (folder / SCRIPT).stat().st_mode & 0o111
        assert not (folder / "untracked").exists()
    assert not folder.parent.exists()
    assert (checkout / "a.txt").read_text() == "edited\n"
    assert sh(checkout, "status", "--porcelain").splitlines() == ["M a.txt", "?? untracked"]


def test_patches_and_files_go_on_the_copy_alone(checkout: Path) -> None:
    with pristine.laid_out(checkout, head(checkout)) as folder:
        assert pristine.apply(folder, AppliedPatch("p", PATCH))
        assert not pristine.apply(folder, AppliedPatch("p", PATCH))
        pristine.put(folder, "deep/new.sh", OverlayFile(b"x", 0o755))
        assert (folder / "a.txt").read_text() == "two\n"
        assert (folder / "deep" / "new.sh").stat().st_mode & 0o777 == 0o755
    assert (checkout / "a.txt").read_text() == "one\n"
    assert not (checkout / "deep" / "new.sh").exists()


def test_a_file_whose_contents_are_not_here_is_left_out(checkout: Path) -> None:
    object_id = sh(checkout, "rev-parse", "HEAD:deep/b.txt")
    (checkout / ".git" / "objects" / object_id[:2] / object_id[2:]).unlink()
    with pristine.laid_out(checkout, head(checkout)) as folder:
        assert (folder / "a.txt").exists()
        assert not (folder / "deep" / "b.txt").exists()


def test_what_cannot_be_laid_out_is_an_error(checkout: Path) -> None:
    with pytest.raises(CommandFailed), pristine.laid_out(checkout, "0" * 40):
        pass
