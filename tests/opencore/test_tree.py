"""An EFI folder's files: links are followed inside the upstream's folder, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import UpstreamError
from pommel.opencore import tree


@pytest.fixture
def efi(tmp_path: Path) -> Path:
    for name in ("upstream/EFI/OC/a.efi", "upstream/drivers/b.efi", "secret"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path / "upstream" / "EFI"


def test_links_to_files_and_folders_are_followed(efi: Path) -> None:
    (efi / "OC" / "Drivers").symlink_to("../../drivers")
    (efi / "OC" / "again.efi").symlink_to("a.efi")
    (efi / "OC" / "far.efi").symlink_to("Drivers/b.efi")
    found = tree.read(efi, efi.parent)
    assert sorted(found) == ["OC/Drivers/b.efi", "OC/a.efi", "OC/again.efi", "OC/far.efi"]
    assert found["OC/far.efi"].read_text() == "upstream/drivers/b.efi"


def test_a_folder_that_is_a_link_itself(efi: Path) -> None:
    (efi.parent / "newest").symlink_to("EFI")
    assert list(tree.read(efi.parent / "newest", efi.parent / "newest")) == ["OC/a.efi"]
    assert tree.read(efi.parent / "none", efi.parent) == {}


@pytest.mark.parametrize(
    ("link", "to", "said"),
    [
        ("OC/x", "../../../secret", "OC/x is a symbolic link that leads outside .*/upstream, to .*/secret"),
        ("OC/x", "../../..", "OC/x is a symbolic link that leads outside"),
        ("OC/x", "gone", "OC/x is a symbolic link that leads to gone, which cannot be read: No such file"),
        ("OC/x", "x", "OC/x is a symbolic link that leads to x, which cannot be read: Too many levels"),
        ("OC/x", "..", "OC/x is a symbolic link that leads back to .*/EFI, which contains it"),
        ("OC/x", "../..", "OC/x/EFI is a symbolic link that leads back|leads back to"),
        ("OC/x", "../../loop", "leads back to"),
    ],
)
def test_other_links_are_refused_by_name(efi: Path, link: str, to: str, said: str) -> None:
    (efi.parent / "loop").mkdir()
    (efi.parent / "loop" / "back").symlink_to("../EFI")
    (efi / link).symlink_to(to)
    with pytest.raises(UpstreamError, match=said):
        tree.read(efi, efi.parent)


def test_links_that_multiply_without_end_are_stopped(efi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_ENTRIES_MAX", 1000)
    for level in range(12):
        folder = efi.parent / f"l{level}"
        folder.mkdir()
        for name in ("a", "b", "c"):
            (folder / name).symlink_to(f"../l{level + 1}")
    (efi.parent / "l12").mkdir()
    (efi / "OC" / "x").symlink_to("../../l0")
    with pytest.raises(UpstreamError, match="one of more than 1000 files"):
        tree.read(efi, efi.parent)
