"""Finds which areas of a picture show what another place of the picture before showed. Band: core, no I/O.

What it returns is a proposal: at most `_MOST` moves that leave little to send. It need not be right to the pixel,
because the caller compares the moved picture with the new one and sends what differs.

Each line of each strip of 64 columns gets a hash. Lines that changed, and whose hash occurs once in both pictures, vote
for the distance to where they were. So blank lines and repeated lines do not vote. For the distance with the most
votes, each strip gives the stretch of lines that gains most from it. Neighbouring stretches become one rectangle, whose
sides are then moved by single columns, because a pane begins anywhere. What is found is left out of the next search.
Distances sideways are searched in the same way, in the turned picture, if there is none up or down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pommel.screen.geometry import Rect

STRIP = 64
_SAMPLE = 2  # every second word of a line is hashed: a wrong guess costs bytes, not correctness
_MOST = 4
_SEARCHES = 3
_TRIED = 2  # distances, of those with the most votes
_VOTERS = 8  # strips: those that changed most
_LEAST_VOTES = 24
_LEAST_LINES = 48  # gained in a strip, by which it counts; twice the lines that fit and had changed
_LEAST_PIXELS = 64 * 64 * 8
_FURTHEST_TRIED = 64
_GAP = 4  # strips without a gain between two with one

_Words = npt.NDArray[np.uint32]  # (lines, columns): one pixel each
_Hashes = npt.NDArray[np.uint64]  # (lines, strips)
_Flags = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]

_ODD = np.random.default_rng(20261130).integers(1, 1 << 63, 4096, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class MovedArea(NamedTuple):
    """`target` shows what was at the place `dx` columns to its left and `dy` rows above; both in pixels."""

    target: Rect
    dx: int
    dy: int

    @property
    def source(self) -> Rect:
        """Where the pixels were."""
        return self.target._replace(x=self.target.x - self.dx, y=self.target.y - self.dy)

    def shifted(self, x: int, y: int) -> MovedArea:
        """Return the same move `x` columns to the right and `y` rows below."""
        return self._replace(target=self.target._replace(x=self.target.x + x, y=self.target.y + y))


class _Stretch(NamedTuple):
    """Lines `first` to `end` of the columns `left` to `right` were `shift` lines above."""

    first: int
    end: int
    left: int
    right: int
    shift: int

    @property
    def lines(self) -> int:
        return self.end - self.first

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.lines * self.width


class _Sight(NamedTuple):
    """Two pictures and the hashes of their lines."""

    old: _Words
    new: _Words
    was: _Hashes
    now: _Hashes


def find_moves(old: _Words, new: _Words) -> list[MovedArea]:
    """Return moves from `old` to `new`, in the order in which they must be made: two pictures of one size."""
    upright = _Sight(old, new, _row_hashes(old), _row_hashes(new))
    found = _stretches(upright)
    if found or np.count_nonzero(upright.was != upright.now) * 4 < upright.was.size:
        return [MovedArea(Rect(one.left, one.first, one.width, one.lines), 0, one.shift) for one in found]
    turned = _Sight(old.T, new.T, _column_hashes(old), _column_hashes(new))
    return [MovedArea(Rect(one.first, one.left, one.lines, one.width), one.shift, 0) for one in _stretches(turned)]


# --- hashes ---


def _row_hashes(pixels: _Words) -> _Hashes:
    even = pixels[:, : pixels.shape[1] // 2 * 2].view(np.uint64)  # two pixels a word
    per_strip = STRIP // 2
    whole = even.shape[1] // per_strip
    strips = even[:, : whole * per_strip].reshape(even.shape[0], whole, per_strip)[:, :, ::_SAMPLE]
    hashes = _weighed("rcj,j->rc", strips)
    if even.shape[1] == whole * per_strip:
        return hashes
    last = even[:, whole * per_strip :: _SAMPLE]
    return np.concatenate([hashes, _weighed("rcj,j->rc", last[:, None, :])], axis=1)


def _column_hashes(pixels: _Words) -> _Hashes:
    strips = (pixels[y : y + STRIP : _SAMPLE] for y in range(0, pixels.shape[0], STRIP))
    return np.stack([_weighed("jx,j->x", strip.astype(np.uint64)) for strip in strips], axis=1)


def _weighed(how: str, words: npt.NDArray[np.uint64]) -> _Hashes:
    weights = _ODD[: words.shape[0] if how.startswith("j") else words.shape[-1]]
    summed: _Hashes = np.einsum(how, words, weights, optimize=False)
    return summed


# --- stretches ---


def _stretches(sight: _Sight) -> list[_Stretch]:
    """Return what moved along the lines, none reading what one before it has written."""
    free = np.ones(sight.was.shape, np.bool_)
    differs = sight.was != sight.now
    enough = max(int(np.count_nonzero(differs)) // 6, STRIP)
    found: list[_Stretch] = []
    for _ in range(_SEARCHES):
        if len(found) >= _MOST or np.count_nonzero(differs & free) < enough:
            break
        best = _best(sight, free)
        if not best:
            break
        for one in best:
            free[one.first : one.end, one.left // STRIP : -(-one.right // STRIP)] = False
            fitted = _fitted(sight, one)
            if fitted.area >= _LEAST_PIXELS and not any(_reads(fitted, earlier) for earlier in found):
                found.append(fitted)
    return found[:_MOST]


def _best(sight: _Sight, free: _Flags) -> list[_Stretch]:
    tried = [_moved_by(sight, shift, free) for shift in _shifts(sight, free)[:_TRIED]]
    return max(tried, key=lambda one: sum(each.area for each in one), default=[])


def _reads(later: _Stretch, earlier: _Stretch) -> bool:
    first, end = later.first - later.shift, later.end - later.shift
    return first < earlier.end and earlier.first < end and later.left < earlier.right and earlier.left < later.right


# --- distances ---


def _shifts(sight: _Sight, free: _Flags) -> list[int]:
    """Return distances in lines, the likeliest first."""
    differs = (sight.was != sight.now) & free
    chosen = np.sort(np.argsort(differs.sum(axis=0))[::-1][:_VOTERS])
    was, now, differs = sight.was[:, chosen], sight.now[:, chosen], differs[:, chosen]
    return _voted(was, now, differs) or _tried(was, now, differs)


def _voted(was: _Hashes, now: _Hashes, differs: _Flags) -> list[int]:
    before, lines_before = _single(was, differs)
    after, lines_after = _single(now, differs)
    if min(before.size, after.size) < _LEAST_VOTES:
        return []
    at = np.searchsorted(before, after)
    at[at == before.size] = 0
    same = before[at] == after
    shift = lines_after[same] - lines_before[at[same]]
    votes = np.bincount(shift + was.shape[0], minlength=2 * was.shape[0])
    votes[was.shape[0]] = 0  # where it was: no move
    likeliest = np.argsort(votes)[::-1][:_TRIED]
    return [int(one) - was.shape[0] for one in likeliest if votes[one] >= _LEAST_VOTES]


def _single(hashes: _Hashes, differs: _Flags) -> tuple[_Hashes, _Ints]:
    """Return the hashes that occur once where it differs, in order, and the line of each."""
    salted = (hashes ^ _ODD[-hashes.shape[1] :])[differs]  # equal lines of two strips are not one line
    order = np.argsort(salted)
    ordered = salted[order]
    twice = ordered[1:] == ordered[:-1]
    once = np.ones(ordered.size, np.bool_)
    once[1:] &= ~twice
    once[:-1] &= ~twice
    return ordered[once], np.nonzero(differs)[0][order][once]


def _tried(was: _Hashes, now: _Hashes, differs: _Flags) -> list[int]:
    """Try the short distances, for lines that are all alike (rows of a list)."""
    lines = was.shape[0]
    chosen = differs.sum(axis=0).argsort()[::-1][:3]
    was, now, differs = was[:, chosen], now[:, chosen], differs[:, chosen]
    changed = np.count_nonzero(differs)
    if changed < lines // 4:
        return []
    distances = [one for step in range(1, min(_FURTHEST_TRIED + 1, lines // 2)) for one in (step, -step)]
    fits = [np.count_nonzero(_fits(was, now, one) & differs) for one in distances]
    return [distances[int(np.argmax(fits))]] if fits and max(fits) > changed * 0.6 else []


def _fits(was: _Hashes, now: _Hashes, shift: int) -> _Flags:
    """Tell which lines are those that were `shift` lines above."""
    lines = was.shape[0]
    fits = np.zeros(was.shape, np.bool_)
    low, high = max(shift, 0), lines + min(shift, 0)
    fits[low:high] = now[low:high] == was[low - shift : high - shift]
    return fits


# --- rectangles ---


def _moved_by(sight: _Sight, shift: int, free: _Flags) -> list[_Stretch]:
    """Return the stretches of neighbouring strips that moved by `shift` together."""
    total = _gains(sight, shift, free)
    width = sight.new.shape[1]
    return [
        _Stretch(first, end, left * STRIP, min(right * STRIP, width), shift)
        for left, right, first, end in _joined(_runs(total), total)
    ]


def _gains(sight: _Sight, shift: int, free: _Flags) -> _Ints:
    """Return what lines are worth, summed from the top: (lines + 1, strips)."""
    fits, same = _fits(sight.was, sight.now, shift), sight.was == sight.now
    # A line that fits and had changed is won; one that did neither costs little, one that was right costs more.
    worth = np.where(fits, np.where(same, 0, 2), np.where(same, -2, -1))
    worth[~free] = -50
    total = np.zeros((worth.shape[0] + 1, worth.shape[1]), np.int64)
    np.cumsum(worth, axis=0, out=total[1:])
    return total


def _runs(total: _Ints) -> list[tuple[int, int, int]]:
    """Return for each strip the stretch of lines that gains most: first line, end, gain."""
    low = np.minimum.accumulate(total, axis=0)
    gain = total - low
    ends = gain.argmax(axis=0)
    return [_run(total[:, at], low[:, at], int(end), int(gain[end, at])) for at, end in enumerate(ends)]


def _run(total: _Ints, low: _Ints, end: int, gain: int) -> tuple[int, int, int]:
    return int(np.flatnonzero(total[: end + 1] == low[end])[-1]), end, gain


def _joined(runs: list[tuple[int, int, int]], total: _Ints) -> Iterator[tuple[int, int, int, int]]:
    """Yield rectangles: first strip, end strip, first line, end line."""
    at = 0
    while at < len(runs):
        first, end, gain = runs[at]
        left, at = at, at + 1
        if gain < _LEAST_LINES:
            continue
        right = at
        while at < len(runs) and at - right < _GAP:
            other_first, other_end, gain = runs[at]
            if gain >= _LEAST_LINES and _are_alike((first, end), (other_first, other_end)):
                first, end, right = min(first, other_first), max(end, other_end), at + 1
            elif gain >= _LEAST_LINES or total[end, at] - total[first, at] < (first - end) // 8:
                break
            at += 1
        at = right
        yield left, right, first, end


def _are_alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    both = min(one[1], other[1]) - max(one[0], other[0])
    return 2 * both >= max(one[1], other[1]) - min(one[0], other[0])


# --- sides ---


def _fitted(sight: _Sight, one: _Stretch) -> _Stretch:
    """Move both sides by single columns, as far as the columns match: at most a strip each."""
    left, right = one.left, one.right
    least, most = max(left - STRIP, 0), min(right + STRIP, sight.new.shape[1])
    while left > least and _matches(sight, one, left - 1):
        left -= 1
    while right < most and _matches(sight, one, right):
        right += 1
    while right - 1 > max(left, one.right - STRIP) and not _matches(sight, one, right - 1):
        right -= 1
    while left < min(right - 1, one.left + STRIP) and not _matches(sight, one, left):
        left += 1
    return one._replace(left=left, right=right)


def _matches(sight: _Sight, one: _Stretch, column: int) -> bool:
    # Some of it may be wrong: a caret, a pointer, a shadow over it come as pictures.
    step = max((one.end - one.first) // 128, 1)
    now = sight.new[one.first : one.end : step, column]
    was = sight.old[one.first - one.shift : one.end - one.shift : step, column]
    return bool(np.count_nonzero(now != was) * 32 <= now.size)
