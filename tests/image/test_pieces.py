"""A disk is cut at multiples of one size, whichever way its data lie in files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.image.pieces import MIB, PIECES_MAX, Stretch, cut, piece_bytes, piece_length

GIB = 1 << 30


def test_pieces_are_small_for_small_disks_and_never_too_many() -> None:
    assert [piece_bytes(size * GIB) >> 20 for size in (1, 32, 33, 64, 128, 256, 2048)] == [4, 4, 8, 8, 16, 32, 256]
    assert all(size * GIB / piece_bytes(size * GIB) <= PIECES_MAX for size in (1, 8, 80, 500, 2000))
    assert piece_length(8 * MIB, 4 * MIB, 10 * MIB) == 2 * MIB


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=20), st.integers(1, 16))
def test_each_byte_is_in_one_piece(gaps: list[tuple[int, int]], size: int) -> None:
    stretches, at = [], 0
    for number, (gap, length) in enumerate(gaps):
        stretches.append(Stretch(at + gap, length, number, 1000 * number))
        at += gap + length
    parts = list(cut(stretches, size))
    offsets = [offset for offset, _ in parts]
    assert offsets == sorted(set(offsets)) and all(offset % size == 0 for offset in offsets)
    seen = [
        (each.file, each.at + i, each.start + i)
        for offset, inside in parts
        for each in inside
        for i in range(each.length)
    ]
    assert seen == [(each.file, each.at + i, each.start + i) for each in stretches for i in range(each.length)]
    assert all(
        offset <= each.start and each.start + each.length <= offset + size
        for offset, inside in parts
        for each in inside
    )
