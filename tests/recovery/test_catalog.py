"""The catalogue: every word that finds a version, and the nearest one when none does."""

from __future__ import annotations

import pytest

from pommel.errors import UsageError
from pommel.recovery import service
from pommel.recovery.catalog import VERSIONS, find


def test_from_high_sierra_to_tahoe() -> None:
    assert [version.number for version in VERSIONS] == ["10.13", "10.14", "10.15", "11", "12", "13", "14", "15", "26"]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_every_word_finds_its_version(version) -> None:
    for word in (version.name, version.title, version.number, version.title.upper(), f"macOS {version.title}"):
        assert find(f" {word} ") is version


@pytest.mark.parametrize("board", [b for v in VERSIONS for b in v.boards], ids=lambda b: b.board_id)
def test_every_board_can_be_asked_with(board) -> None:
    assert f"bid={board.board_id}\n".encode() in service.request_body(board, bytes)


def test_a_board_id_leads_its_version() -> None:
    found = find("mac-226cb3c6a851a671")
    assert found.name == "sonoma"
    assert [board.board_id for board in found.boards] == ["Mac-226CB3C6A851A671", "Mac-827FAC58A8FDFA22"]


def test_tahoe_comes_only_as_latest() -> None:
    assert {board.os for board in find("tahoe").boards} == {"latest"}


def test_a_board_id_of_two_versions_is_refused() -> None:
    with pytest.raises(UsageError, match="high-sierra and sequoia"):
        find("Mac-7BA5B2D9E42DDD94")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("sonomma", "sonoma?"),
        ("10.15.7", "10.15?"),
        ("Mac-226CB3C6A851A672", "Mac-226CB3C6A851A671?"),
        ("", "use one of"),
    ],
)
def test_nearest_spelling(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        find(text)
    assert hint in (refused.value.hint or "")


def test_covers() -> None:
    assert find("10.15").covers("10.15.7") and find("14").covers("14") and find("14").covers("14.8.4")
    assert not find("10.15").covers("10.1") and not find("11").covers("110.1") and not find("14").covers("15.0")
