"""How much may be on its way to one viewer at a time. Band: core, no I/O; time is an argument.

On its way is what was sent and not yet shown, for a viewer that acknowledges, and what has not reached its machine, for
any other. The more of it, the older every picture when it is seen; with too little the link runs dry while news of
that travels back. So: what the link carries in one and a half of its quickest round trips and 60 ms more. Rate and
round trip are measured all the time, the rate as BBR does (draft-cardwell-iccrg-bbr-congestion-control, 4.1): a sample
taken while there was nothing more to send may only raise it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

QUEUE_S = 0.06
FIRST_BYTES, LEAST_BYTES, MOST_BYTES = 128 << 10, 24 << 10, 4 << 20
# More than the busiest screen makes; loopback would measure fifty times that, and a window for it would only be filled
# on the day when the link has become slow.
MOST_RATE = 20e6
# Below this a screen is sooner there as WebP, which takes a core 25 ms longer to make than JPEG and has half its bytes.
SLOW_RATE = 2e6
_QUICKEST_FOR_S = 10.0  # a route changes: no round trip counts for longer than twice this
_SHORTEST_S = 1e-4
_MEASURE_S = 0.1
_COUNTS = 1 << 32
_MOST_SILENCES = 4


class _Flight(NamedTuple):
    """One picture on its way: where it ends in all that was sent, and what had been delivered when it left."""

    end: int
    sent_s: float
    delivered: int
    since_s: float


@dataclass(slots=True)
class Pace:
    """One viewer's link. Bytes are counted over its whole life."""

    rate: float | None = None  # bytes a second
    _sent: int = 0
    _delivered: int = 0
    _news_s: float = 0.0
    _refused_s: float = -1.0
    _busy: tuple[float, int] = (0.0, 0)  # since when bytes have been waiting, and how many had been delivered then
    _gone: int = 0  # pictures that are not on their way any more
    _base: int = 0  # what the viewer had counted before the first of ours
    _silences: int = 0  # in a row
    _flights: deque[_Flight] = field(default_factory=deque)
    _quickest: tuple[float, float] | None = None  # of this period and of the one before
    _period_s: float = 0.0

    @property
    def in_flight(self) -> int:
        """Bytes on their way."""
        return self._sent - self._delivered

    @property
    def round_trip_s(self) -> float:
        """The quickest round trip of late; 0 before the first."""
        return min(self._quickest) if self._quickest else 0.0

    @property
    def window(self) -> int:
        """How many bytes may be on their way."""
        if self.rate is None:
            return FIRST_BYTES
        return min(max(int(self.rate * (1.5 * self.round_trip_s + QUEUE_S)), LEAST_BYTES), MOST_BYTES)

    @property
    def silence_s(self) -> float:
        """How long no news at all still means that news is on its way: longer each time there was none."""
        return max(1.0, 4 * self.round_trip_s) * (1 << self._silences)

    @property
    def is_slow(self) -> bool:
        """Tell whether the link is so slow that bytes count more than the time of making them."""
        return self.rate is not None and self.rate < SLOW_RATE

    def room(self, now_s: float, unsent: int) -> int:
        """Return how many bytes more may be sent now, with `unsent` in the transport; 0 counts as having been held up.

        It is a third of the window at least: many small pictures would cost more than they carry.
        """
        room = self.window - max(self.in_flight, unsent)
        if room >= self.window // 3:
            return room
        self._refused_s = now_s
        return 0

    def send(self, now_s: float, size: int) -> None:
        """Note a picture of `size` bytes leaving."""
        if not self._flights:
            self._news_s = now_s
            self._busy = (now_s, self._sent)
        self._sent += size
        self._flights.append(_Flight(self._sent, now_s, self._delivered, self._news_s))

    def shown(self, now_s: float, count: int) -> None:
        """Note that the viewer has shown `count` pictures in all (modulo 2**32).

        An old count says nothing new. One that is ahead of us counts what others sent it before us on the same
        connection: then it has shown all of ours.
        """
        self._silences = 0
        more = (count - self._base - self._gone) % _COUNTS
        if more >= _COUNTS // 2:
            return
        self._base = (self._base + max(more - len(self._flights), 0)) % _COUNTS
        if count := min(more, len(self._flights)):
            flight = self._land(now_s, count)
            took_s = max(now_s - flight.since_s, _SHORTEST_S)
            self._note_rate((self._delivered - flight.delivered) / took_s, flight.sent_s, trust=0.5)

    def left(self, now_s: float, unsent: int) -> None:
        """Note that `unsent` bytes of all that was sent have not reached the viewer's machine."""
        reached = self._sent - unsent
        if count := sum(1 for flight in self._flights if flight.end <= reached):
            self._land(now_s, count)
        self._measure(now_s, reached)

    def forget(self, now_s: float) -> None:
        """Take what is on its way for lost to us: no news came for `silence_s`, and the transport is empty."""
        self._gone += len(self._flights)
        self._silences = min(self._silences + 1, _MOST_SILENCES)
        self._flights.clear()
        self._delivered, self._news_s = self._sent, now_s

    def is_silent(self, now_s: float) -> bool:
        """Tell whether something is on its way and there has been no news of it for `silence_s`."""
        return bool(self._flights) and now_s - max(self._news_s, self._flights[-1].sent_s) >= self.silence_s

    def _land(self, now_s: float, count: int) -> _Flight:
        """Note that the first `count` pictures on their way have come; return the last of them."""
        for _ in range(count):
            flight = self._flights.popleft()
        self._gone += count
        self._delivered, self._news_s = flight.end, now_s
        self._note_round_trip(now_s, now_s - flight.sent_s)
        return flight

    def _measure(self, now_s: float, reached: int) -> None:
        # What a transport takes at once says how large its buffers are, not how fast its link is: only while bytes
        # wait all the time is the link's own rate to be seen.
        since_s, before = self._busy
        long_s = max(_MEASURE_S, 2 * self.round_trip_s)
        if reached >= self._sent:
            self._busy = (now_s, self._sent)
            if self.rate is not None and now_s - since_s < long_s and self._sent - before >= self.window // 3:
                self.rate = min(max(1.5 * self.rate, (self._sent - before) / long_s), MOST_RATE)
        elif now_s - since_s >= long_s and self._quickest:
            self._note_rate((reached - before) / (now_s - since_s), since_s, trust=1.0)
            self._busy = (now_s, reached)

    def _note_round_trip(self, now_s: float, took_s: float) -> None:
        if self._quickest is None:
            self._quickest, self._period_s = (took_s, took_s), now_s
        elif now_s - self._period_s > _QUICKEST_FOR_S:
            self._quickest, self._period_s = (took_s, self._quickest[0]), now_s
        else:
            self._quickest = (min(took_s, self._quickest[0]), self._quickest[1])

    def _note_rate(self, sample: float, since_s: float, *, trust: float) -> None:
        sample, held_up = min(sample, MOST_RATE), self._refused_s >= since_s
        if self.rate is None:
            if held_up or sample * QUEUE_S > FIRST_BYTES:
                self.rate = sample
        elif sample > self.rate:
            self.rate += (sample - self.rate) * trust
        elif held_up:
            self.rate += (sample - self.rate) / 4
