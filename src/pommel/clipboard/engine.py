"""The rules that decide which copy goes to which side, so that both clipboards stay equal. Band: core, no I/O.

The engine gets what each side has (`observe`) and the results of its writes (`written`, `superseded`, `failed`), and
answers with writes. It does not react to the echo of its own write, so a copy cannot go back and forth for ever:

* A copy is sent to the other side at once, unless it is held back (content.HeldBack), the direction forbids it, or the
  other side knows none of its forms.
* If a side makes a copy before it gets the engine's write, the host's copy wins. For the guest, the order of its
  messages shows this: a copy that it reports before it confirms the newest write was made before that write, or is
  reported again. The host's side refuses a write that comes after a copy that it has not reported yet
  (`Write.expected`). If a clipboard keeper takes over the content, or a program ends, this is not a copy: the write is
  made again.
* If a copy of the guest lost to a write, and that write then fails, the guest's copy is the newest one, and is sent.
* If both sides changed while the guest was away, the newer copy wins; if the guest cannot say when it was made, the
  host's. A guest that lost its clipboard (by a restart) gets the host's.
* An emptied clipboard is sent only while connected or from the host, and only if the shared copy was emptied: when a
  password is removed, the copy before it must stay. The end of a program empties nothing.

The copy that lost a tie goes to `history`, which keeps nothing unless asked to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum

from pommel.clipboard.content import EMPTY, FORMS, LIMIT_BYTES, Content, HeldBack

# For this long after our write, a side may report it as a new copy, perhaps with fewer forms, because its clipboard
# keeper took it over. A guest's shell does this after each write, and a guest may be slow.
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


class SyncDirection(Enum):
    """The direction in which copies may be sent."""

    BOTH = "both"
    HOST_TO_GUEST = "host-to-guest"
    GUEST_TO_HOST = "guest-to-host"

    def allows(self, source: Side) -> bool:
        """Whether a copy made on `source` may leave it."""
        return self is SyncDirection.BOTH or (self is SyncDirection.HOST_TO_GUEST) == (source is Side.HOST)


@dataclass(frozen=True, slots=True)
class Write:
    """Put `content` on `side`, then answer with `token`.

    `expected` is the number of foreign copies that the engine knows of; a host that has counted more refuses the write.
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

    content: Content | None = None  # None: nothing was reported yet
    sequence: int = 0
    at: float | None = None
    forms: frozenset[str] = frozenset(FORMS)
    pending: Write | None = None
    written_at: float | None = None
    # The copy that lost to the pending write, and the time of that copy.
    overtaken: tuple[Content, float | None] | None = None
    # The digest of its content when both sides were last equal.
    agreed: bytes | None = None
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    @property
    def digest(self) -> bytes | None:
        return self.content.digest if self.content else None


class SyncEngine:
    """The rules and their state: the present contents of both clipboards, and nothing older."""

    def __init__(
        self, *, direction: SyncDirection = SyncDirection.BOTH, limit: int = LIMIT_BYTES, history: int = 0
    ) -> None:
        self._direction = direction
        self._limit = limit
        self._desks = {Side.HOST: _Desk(), Side.GUEST: _Desk()}
        self._connected = self._reconciled = False
        self._token = 0
        self.history: deque[Lost] = deque(maxlen=history)
        # The reason why the newest copy of a side was not sent, for messages.
        self.stayed: dict[Side, HeldBack | None] = {Side.HOST: None, Side.GUEST: None}

    @property
    def settled(self) -> bool:
        """Whether no write is under way."""
        return all(desk.pending is None for desk in self._desks.values())

    def knows(self, side: Side, forms: Collection[str]) -> None:
        """Set the forms that `side` accepts."""
        self._desks[side].forms = frozenset(forms)

    def connect(self) -> None:
        """Note that the guest is connected; its next observation is its present content."""
        self._connected, self._reconciled = True, False

    def disconnect(self) -> None:
        """Note that the guest is gone; it is unknown whether it received the pending write."""
        self._connected = self._reconciled = False
        self._desks[Side.GUEST].pending = self._desks[Side.GUEST].overtaken = None

    def observe(self, side: Side, content: Content, sequence: int, at: float | None) -> list[Write]:
        """Note that `side` has had `content` since `at` (None: unknown), and return the necessary writes.

        `sequence` is the side's number of copies that the engine did not make.
        """
        desk = self._desks[side]
        if content.size > self._limit and content.forms:
            content = content.kept_back(HeldBack.TOO_LARGE)
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
            # it did not lose: it was made after our write, and reported before the write was confirmed
            self.history.pop()
        before, desk.content, desk.at, desk.written_at = desk.content, content, at, None
        return self._offer(side, before) if self._reconciled else []

    def written(self, side: Side, token: int, at: float) -> None:
        """Note that `side` has had our write `token` since `at`."""
        desk = self._desks[side]
        if desk.pending is None or desk.pending.token != token:
            return
        desk.content, desk.at, desk.written_at = desk.pending.content, at, at
        desk.pending = desk.overtaken = None
        self._agree()

    def superseded(self, side: Side, token: int) -> None:
        """Note that `side` refused our write because it has a newer copy; it will report that copy itself."""
        desk = self._desks[side]
        if desk.pending is not None and desk.pending.token == token:
            desk.pending = None

    def failed(self, side: Side, token: int) -> list[Write]:
        """Note that our write to `side` failed. It is not repeated; a copy that it overtook counts again."""
        desk = self._desks[side]
        if desk.pending is None or desk.pending.token != token:
            return []
        (content, at), desk.overtaken = desk.overtaken or (None, None), None
        desk.pending = None
        return [] if content is None else self.observe(side, content, desk.sequence, at)

    def offer_again(self, side: Side) -> list[Write]:
        """The writes that send the content of `side` to the other side, because a person asks for it."""
        content = self._desks[side].content
        return [] if content is None else self._write(side.other, content)

    def holds(self, side: Side) -> Content | None:
        """The last known content of `side`."""
        return self._desks[side].content

    def _loses(self, side: Side, pending: Write, content: Content, at: float | None) -> bool:
        """Decide between a copy reported by `side` and our pending write to it; True if the copy lost."""
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
        """Whether this is not a new copy: a keeper took over the content, or the program that offered it has ended."""
        return content.held is HeldBack.GONE or self._is_again(desk, content, at)

    def _is_again(self, desk: _Desk, content: Content, at: float | None) -> bool:
        if desk.content is None or desk.at is None or at is None or at - desk.at > ECHO_S:
            return False
        return content.digest == desk.digest or content.within(desk.content)

    def _offer(self, source: Side, before: Content | None) -> list[Write]:
        """Send the new copy of `source` to the other side, if it may be sent."""
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
            return []  # it is already on its way: a keeper that took it over reported it again
        self._token += 1
        desk.pending = Write(target, fitting, self._token, desk.sequence)
        desk.overtaken = None
        desk.recent.append(fitting.digest)
        return [desk.pending]

    def _agree(self) -> None:
        """Remember both contents if no write is pending: later, a different content is a change."""
        if self.settled:
            for desk in self._desks.values():
                desk.agreed = desk.digest

    def _reconcile(self, content: Content, at: float | None) -> list[Write]:
        """Handle the guest's first content after a connection: find out which side changed meanwhile."""
        self._reconciled = True
        host, guest = self._desks[Side.HOST], self._desks[Side.GUEST]
        # A pending write to the host came from the guest: it counts as written, and not as a change of the host.
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
