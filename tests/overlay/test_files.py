"""Files placed in a checkout, changed, and taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from overlay.repos import sh
from pommel.errors import ConfigError, StateError, UpstreamError
from pommel.overlay import undo
from pommel.overlay.files import FileStanding, place, read, status, take_away


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "there").mkdir(parents=True)
    sh(folder, "init", "--quiet")
    (folder / "run.sh").write_text("upstream's")
    (folder / "run.sh").chmod(0o755)
    (folder / "there" / "x").write_text("x")
    sh(folder, "add", "--all")
    sh(folder, "commit", "--quiet", "-m", "x")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    (folder / "files" / "deep" / "er").mkdir(parents=True)
    (folder / "files" / "run.sh").write_text("ours")
    (folder / "files" / "deep" / "er" / "tool").write_text("#!/bin/sh\n")
    (folder / "files" / "deep" / "er" / "tool").chmod(0o700)
    return folder


def states(checkout: Path, config: Path) -> dict[str, FileStanding]:
    return {each.name: each.state for each in status(checkout, read(config))}


def test_placed_and_taken_away(checkout: Path, config: Path) -> None:
    before = status(checkout, read(config))
    assert [(each.name, each.state, each.replaces) for each in before] == [
        ("deep/er/tool", FileStanding.PENDING, False),
        ("run.sh", FileStanding.PENDING, True),
    ]
    assert place(checkout, read(config)) == before
    assert (checkout / "run.sh").read_text() == "ours"
    assert (checkout / "run.sh").stat().st_mode & 0o777 == 0o644
    assert (checkout / "deep/er/tool").stat().st_mode & 0o777 == 0o755
    assert states(checkout, config) == {"deep/er/tool": FileStanding.PLACED, "run.sh": FileStanding.PLACED}
    assert [each.replaces for each in place(checkout, read(config))] == [False, True]
    assert take_away(checkout) == ["deep/er/tool", "run.sh"]
    assert sh(checkout, "status", "--porcelain") == ""
    assert (checkout / "run.sh").read_text() == "upstream's"
    assert not (checkout / "deep").exists()
    assert take_away(checkout) == []


def test_changed_dropped_and_missing(checkout: Path, config: Path) -> None:
    place(checkout, read(config))
    (config / "files" / "run.sh").write_text("ours, newer")
    (config / "files" / "deep/er/tool").unlink()
    (config / "files" / "more").write_text("more")
    assert states(checkout, config) == {
        "deep/er/tool": FileStanding.DROPPED,
        "more": FileStanding.PENDING,
        "run.sh": FileStanding.OUTDATED,
    }
    place(checkout, read(config))
    assert not (checkout / "deep").exists()
    (checkout / "run.sh").unlink()
    assert states(checkout, config) == {"more": FileStanding.PLACED, "run.sh": FileStanding.MISSING}
    place(checkout, read(config))
    assert (checkout / "run.sh").read_text() == "ours, newer"
    take_away(checkout)
    assert sh(checkout, "status", "--porcelain") == ""


def test_edited_in_place_is_never_lost(checkout: Path, config: Path) -> None:
    place(checkout, read(config))
    (checkout / "run.sh").write_text("edited")
    (config / "files" / "more").write_text("more")
    assert states(checkout, config)["run.sh"] is FileStanding.MODIFIED
    for work in (lambda: place(checkout, read(config)), lambda: take_away(checkout)):
        with pytest.raises(StateError, match=r"edited in .*: run\.sh"):
            work()
    assert (checkout / "run.sh").read_text() == "edited"
    assert not (checkout / "more").exists()


def test_what_may_not_be_in_files(checkout: Path, config: Path) -> None:
    (config / "files" / "link").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match=r"files/link is not a regular file"):
        read(config)
    (config / "files" / "link").unlink()
    (config / "files" / ".git" / "hooks").mkdir(parents=True)
    (config / "files" / ".git" / "hooks" / "post-checkout").write_text("x")
    with pytest.raises(ConfigError, match=r"belongs to git"):
        read(config)
    assert read(checkout) == {}


@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_what_stands_in_the_way(checkout: Path, config: Path, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if kind == "link":
        (checkout / "deep").symlink_to(outside)
    elif kind == "file":
        (checkout / "deep").write_text("x")
    else:
        (checkout / "deep/er/tool").mkdir(parents=True)
    with pytest.raises(UpstreamError, match=r"deep/er/tool cannot be placed"):
        place(checkout, read(config))
    assert (checkout / "run.sh").read_text() == "upstream's"
    assert list(outside.iterdir()) == []


def test_all_or_none(checkout: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = undo.place

    def full(checkout: Path, name: str, data: bytes | None, mode: int) -> None:
        if name == "run.sh":
            raise OSError(28, "No space left on device")
        real(checkout, name, data, mode)

    monkeypatch.setattr("pommel.overlay.files.put", full)
    with pytest.raises(OSError, match=r"No space"):
        place(checkout, read(config))
    assert sh(checkout, "status", "--porcelain") == ""
    assert set(states(checkout, config).values()) == {FileStanding.PENDING}
