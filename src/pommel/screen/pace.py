"""How many bytes may be on the way to one viewer at a time. Band: core, no I/O; time is an argument.

For a viewer that acknowledges pictures, bytes are on the way from sending until they are shown; for any other viewer,
until they have reached its computer. With many bytes on the way, each picture is old when it is seen. With too few, the
link is idle until the acknowledgement comes. So the limit is what the link carries in one and a half of its shortest
round trips, plus 60 ms. Rate and round trip are measured all the time. The rate is measured as in BBR
(draft-cardwell-iccrg-bbr-congestion-control, 4.1): a sample from a time with nothing more to send may only raise it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

QUEUE_S = 0.06
FIRST_BYTES, LEAST_BYTES, MOST_BYTES = 128 << 10, 24 << 10, 4 << 20
# More than the busiest screen needs. Loopback would measure fifty times that, and such a large window would be filled
# only after the link has become slow.
MOST_RATE = 20e6
# Below this rate, a screen arrives sooner as WebP: it takes 25 ms longer to encode than JPEG, but has half the bytes.
SLOW_RATE = 2e6
_QUICKEST_FOR_S = 10.0  # routes change, so the shortest round trip counts for at most twice this time
_SHORTEST_S = 1e-4
_MEASURE_S = 0.1
_COUNTS = 1 << 32
_MOST_SILENCES = 4


class _Flight(NamedTuple):
    """One picture in flight: its end in the count of sent bytes, and the delivered bytes at its departure."""

    end: int
    sent_s: float
    delivered: int
    since_s: float


@dataclass(slots=True)
class Pace:
    """One viewer's link. In flight = sent, not yet shown. Window = rate × (1.5 × min RTT + 60 ms).

    Counts are totals.
    """

    rate: float | None = None  # bytes per second; None: not measured yet
    _sent: int = 0
    _delivered: int = 0
    _news_s: float = 0.0
    _refused_s: float = -1.0
    _busy: tuple[float, int] = (0.0, 0)  # the time since which bytes have been waiting, and the delivered bytes then
    _gone: int = 0  # pictures that are not in flight any more
    _base: int = 0  # the viewer's count before our first picture
    _silences: int = 0  # consecutive waits without an acknowledgement
    _flights: deque[_Flight] = field(default_factory=deque)
    _quickest: tuple[float, float] | None = None  # the shortest round trips of this period and of the last one
    _period_s: float = 0.0

    @property
    def in_flight(self) -> int:
        """Bytes in flight: sent, not yet shown."""
        return self._sent - self._delivered

    @property
    def round_trip_s(self) -> float:
        """The shortest recent round trip; 0 before the first."""
        return min(self._quickest) if self._quickest else 0.0

    @property
    def window(self) -> int:
        """The most bytes in flight."""
        if self.rate is None:
            return FIRST_BYTES
        return min(max(int(self.rate * (1.5 * self.round_trip_s + QUEUE_S)), LEAST_BYTES), MOST_BYTES)

    @property
    def silence_s(self) -> float:
        """The wait for an acknowledgement until bytes count as lost; longer after each time without one."""
        return max(1.0, 4 * self.round_trip_s) * (1 << self._silences)

    @property
    def is_slow(self) -> bool:
        """Whether the link is so slow that fewer bytes matter more than encoding time."""
        return self.rate is not None and self.rate < SLOW_RATE

    def room(self, now_s: float, unsent: int) -> int:
        """How many more bytes may be sent now, with `unsent` bytes in the transport. 0 is noted as a hold-up.

        If it is not 0, it is at least a third of the window, because many small pictures have too much overhead.
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

        An old count has no effect. A count that is too high includes pictures of another sender on the same connection
        before us: then it has shown all of ours.
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
        """Note that `unsent` of the sent bytes have not reached the viewer's computer yet."""
        reached = self._sent - unsent
        if count := sum(1 for flight in self._flights if flight.end <= reached):
            self._land(now_s, count)
        self._measure(now_s, reached)

    def forget(self, now_s: float) -> None:
        """Count all bytes in flight as lost: no acknowledgement came for `silence_s`, and the transport is empty."""
        self._gone += len(self._flights)
        self._silences = min(self._silences + 1, _MOST_SILENCES)
        self._flights.clear()
        self._delivered, self._news_s = self._sent, now_s

    def is_silent(self, now_s: float) -> bool:
        """Whether bytes are in flight, and there was no acknowledgement for `silence_s`."""
        return bool(self._flights) and now_s - max(self._news_s, self._flights[-1].sent_s) >= self.silence_s

    def _land(self, now_s: float, count: int) -> _Flight:
        """Note that the first `count` pictures in flight have arrived; return the last of them."""
        for _ in range(count):
            flight = self._flights.popleft()
        self._gone += count
        self._delivered, self._news_s = flight.end, now_s
        self._note_round_trip(now_s, now_s - flight.sent_s)
        return flight

    def _measure(self, now_s: float, reached: int) -> None:
        # The bytes that a transport accepts at once show the size of its buffers, not the rate of the link. The link's
        # rate can only be measured while bytes are waiting all the time.
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
