"""Who gets which copy: the rules by which two clipboards stay one. Band: core, no I/O.

The engine is told what each side has (`observe`) and what became of its writes (`written`, `superseded`, `failed`); it
answers with writes. It never answers an echo of its own write, so nothing can go round:

* A copy travels to the other side at once, unless it is held back (content.Held), the direction forbids it, or the
  other side knows none of its forms.
* A tie, that is, a copy made on a side before it got our write, goes to the host. For the guest this holds by the order
  of its messages: what it tells before it confirms our newest write, it had before that write, or tells again. The
  host's side refuses a write that comes after a copy it has not told us about yet (`Write.expected`). A keeper that
  takes over what is there, and a program's end, are no copies: the write is made again.
* A copy of the guest's that lost to a write which then fails has not lost: it is the newest there is.
* Both changed while the guest was away: the newer wins, and the host if the guest cannot say when. A guest that lost
  its clipboard (it was restarted) gets the host's.
* Emptied travels only while connected or from the host, and only if it was the shared copy that was emptied: a
  password's removal must not take away what was copied before it. A program's end empties nothing.

The copy that lost a tie goes to `history`, which keeps nothing unless asked to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum

from pommel.clipboard.content import EMPTY, FORMS, LIMIT_BYTES, Content, Held

# How long after our write a side may tell of it as if it were new, perhaps with fewer forms, because its own clipboard
# keeper took it over. A guest's shell does so after each write, and a guest may be slow.
ECHO_S = 3.0
_REMEMBERED = 16


class Side(Enum):
    """Where a clipboard is."""

    HOST = "host"
    GUEST = "guest"

    @property
    def other(self) -> Side:
        """The opposite side."""
        return Side.GUEST if self is Side.HOST else Side.HOST


class Direction(Enum):
    """Which way copies may travel."""

    BOTH = "both"
    HOST_TO_GUEST = "host-to-guest"
    GUEST_TO_HOST = "guest-to-host"

    def allows(self, source: Side) -> bool:
        """Whether a copy made on `source` may leave it."""
        return self is Direction.BOTH or (self is Direction.HOST_TO_GUEST) == (source is Side.HOST)


@dataclass(frozen=True, slots=True)
class Write:
    """Put `content` on `side`, then answer with `token`.

    `expected` is the count of other people's copies that we have heard of; a host that counts more refuses.
    """

    side: Side
    content: Content
    token: int
    expected: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A copy that lost a tie."""

    side: Side
    content: Content
    at: float


@dataclass(slots=True)
class _Desk:
    """One side as the engine knows it."""

    content: Content | None = None  # None: never heard of
    sequence: int = 0
    at: float | None = None
    forms: frozenset[str] = frozenset(FORMS)
    pending: Write | None = None
    written_at: float | None = None
    # The copy that lost to what is pending, and when it was made.
    overtaken: tuple[Content, float | None] | None = None
    # What it held when both sides last agreed.
    agreed: bytes | None = None
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def digest(self) -> bytes | None:
        return self.content.digest if self.content else None


class Engine:
    """The rules and what they need to remember: the two clipboards' present contents, and nothing older."""

    def __init__(self, *, direction: Direction = Direction.BOTH, limit: int = LIMIT_BYTES, history: int = 0) -> None:
        self._direction = direction
        self._limit = limit
        self._desks = {Side.HOST: _Desk(), Side.GUEST: _Desk()}
        self._connected = self._reconciled = False
        self._token = 0
        self.history: deque[Lost] = deque(maxlen=history)
        # Why the newest copy of a side has not travelled, for people.
        self.stayed: dict[Side, Held | None] = {Side.HOST: None, Side.GUEST: None}

    @property
    def settled(self) -> bool:
        """Whether no write is under way."""
        return all(desk.pending is None for desk in self._desks.values())

    def knows(self, side: Side, forms: Collection[str]) -> None:
        """Take note of the forms that `side` can be given."""
        self._desks[side].forms = frozenset(forms)

    def connect(self) -> None:
        """The guest is there; its next observation is what it has now."""
        self._connected, self._reconciled = True, False

    def disconnect(self) -> None:
        """The guest is gone; whether it got a write that is under way, nobody knows."""
        self._connected = self._reconciled = False
        self._desks[Side.GUEST].pending = self._desks[Side.GUEST].overtaken = None

    def observe(self, side: Side, content: Content, sequence: int, at: float | None) -> list[Write]:
        """Hear what `side` has now, since `at` (None: nobody knows when), and say what is to be written where.

        `sequence` is the side's count of the copies that others than we have made.
        """
        desk = self._desks[side]
        if content.size > self._limit and content.forms:
            content = content.kept_back(Held.TOO_LARGE)
        if side is Side.GUEST and not self._connected:
            return []
        desk.sequence = sequence
        if side is Side.GUEST and not self._reconciled:
            return self._reconcile(content, at)
        if side is Side.HOST and desk.pending is not None and self._is_no_copy(desk, content, at):
            again, desk.pending = desk.pending.content, None
            return self._write(side, again)
        if desk.pending is not None and self._loses(side, desk.pending, content, at):
            return []
        if self._is_echo(desk, content, at):
            return []
        if self.history and self.history[-1].content == content:
            self.history.pop()  # it did not lose: it was made after our write, and told of before that was confirmed
        before, desk.content, desk.at, desk.written_at = desk.content, content, at, None
        return self._offer(side, before) if self._reconciled else []

    def written(self, side: Side, token: int, at: float) -> None:
        """`side` has our write `token` since `at`."""
        desk = self._desks[side]
        if desk.pending is None or desk.pending.token != token:
            return
        desk.content, desk.at, desk.written_at = desk.pending.content, at, at
        desk.pending = desk.overtaken = None
        self._agree()

    def superseded(self, side: Side, token: int) -> None:
        """`side` had a newer copy already and did not take our write; it tells of that copy by itself."""
        desk = self._desks[side]
        if desk.pending is not None and desk.pending.token == token:
            desk.pending = None

    def failed(self, side: Side, token: int) -> list[Write]:
        """`side` could not take our write. It is not tried again: what was copied there meanwhile is, and the next."""
        desk = self._desks[side]
        if desk.pending is None or desk.pending.token != token:
            return []
        (content, at), desk.overtaken = desk.overtaken or (None, None), None
        desk.pending = None
        return [] if content is None else self.observe(side, content, desk.sequence, at)

    def offer_again(self, side: Side) -> list[Write]:
        """Say what it takes to give the other side what `side` has, asked for by a person."""
        content = self._desks[side].content
        return [] if content is None else self._write(side.other, content)

    def holds(self, side: Side) -> Content | None:
        """What `side` has, as far as is known."""
        return self._desks[side].content

    def _loses(self, side: Side, pending: Write, content: Content, at: float | None) -> bool:
        """Settle a tie between what was seen on `side` and our write to it; True if the observation lost."""
        if side is Side.HOST:
            self._desks[side].pending = None
            self._keep(side.other, pending.content, at)
            return False
        desk = self._desks[side]
        if content.digest not in desk.recent:
            self._keep(side, content, at)
            desk.overtaken = content, at
        return True

    def _is_echo(self, desk: _Desk, content: Content, at: float | None) -> bool:
        return desk.written_at is not None and self._is_again(desk, content, at)

    def _is_no_copy(self, desk: _Desk, content: Content, at: float | None) -> bool:
        """Whether nobody copied anything: a keeper took over what was there, or the program that had it has ended."""
        return content.held is Held.GONE or self._is_again(desk, content, at)

    def _is_again(self, desk: _Desk, content: Content, at: float | None) -> bool:
        if desk.content is None or desk.at is None or at is None or at - desk.at > ECHO_S:
            return False
        return content.digest == desk.digest or content.within(desk.content)

    def _offer(self, source: Side, before: Content | None) -> list[Write]:
        """A new copy on `source`: to the other side with it, if it may go."""
        desk = self._desks[source]
        content = desk.content or EMPTY
        self.stayed[source] = content.held
        if not self._direction.allows(source) or content.held is not None:
            return []
        if content.empty and not self._was_shared(source, before):
            return []
        return self._write(source.other, content)

    def _was_shared(self, source: Side, before: Content | None) -> bool:
        desk, other = self._desks[source], self._desks[source.other]
        return before is not None and before.digest == desk.agreed and other.digest == other.agreed

    def _write(self, target: Side, content: Content) -> list[Write]:
        desk = self._desks[target]
        fitting = content.only(desk.forms)
        if fitting.held is not None:
            self.stayed[target.other] = fitting.held
            return []
        if target is Side.GUEST and not self._reconciled:
            return []
        if desk.pending is None and fitting.digest == desk.digest:
            self._agree()
            return []
        going = desk.pending if desk.pending is not None and desk.pending.content == fitting else None
        if going and (target is Side.GUEST or going.expected == desk.sequence):
            return []  # it is on its way: a keeper tells anew of what it takes over
        self._token += 1
        desk.pending = Write(target, fitting, self._token, desk.sequence)
        desk.overtaken = None
        desk.recent.append(fitting.digest)
        return [desk.pending]

    def _agree(self) -> None:
        """Remember what both have, if nothing is under way: from here on, other contents are changes."""
        if self.settled:
            for desk in self._desks.values():
                desk.agreed = desk.digest

    def _reconcile(self, content: Content, at: float | None) -> list[Write]:
        """The guest's first word after a connection: find out who changed while it was away."""
        self._reconciled = True
        host, guest = self._desks[Side.HOST], self._desks[Side.GUEST]
        # What is on its way to the host came from the guest: as good as there, and no change of the host's.
        on_host = host.pending.content if host.pending else host.content or EMPTY
        first = guest.agreed is None
        host_changed = host.pending is None and (first or host.digest != host.agreed)
        guest_changed = first or content.digest not in (guest.agreed, *guest.recent)
        guest.content, guest.at = content, at
        if on_host.forms and content.forms and host_changed and guest_changed and on_host.digest != content.digest:
            return self._settle_both(host, guest)
        if content.forms and guest_changed and not (on_host.forms and host_changed):
            return self._offer(Side.GUEST, None)
        may_send = self._direction.allows(Side.HOST)
        if on_host.forms and (host_changed or content.empty or not guest_changed):
            return self._write(Side.GUEST, on_host) if may_send else []
        emptied = on_host.empty and host_changed and not first and not guest_changed
        return self._write(Side.GUEST, EMPTY) if emptied and may_send else []

    def _settle_both(self, host: _Desk, guest: _Desk) -> list[Write]:
        newer = guest.at is not None and host.at is not None and guest.at > host.at
        winner = Side.GUEST if newer else Side.HOST
        if not self._direction.allows(winner):
            winner = winner.other
        loser = self._desks[winner.other]
        if loser.content is not None:
            self._keep(winner.other, loser.content, loser.at)
        return self._offer(winner, None)

    def _keep(self, side: Side, content: Content, at: float | None) -> None:
        if content.forms:
            self.history.append(Lost(side, content, at or 0.0))
