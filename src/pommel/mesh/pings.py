"""Determines by pings which pictures a viewer behind MeshCentral's relay has received. Band: core, no I/O.

The server buffers megabytes that a slow viewer has not read, and the device cannot see that. But a relay keeps the
order, and MeshCentral's page answers a ping (public/scripts/agent-redir-ws-0.1.1.js, xxOnControlCommand). So the answer
to a ping that was sent after a picture shows that the picture has arrived. The page over WebRTC and the server's
multiplexer do not answer; for these, nothing is known.
"""

from __future__ import annotations

from collections import deque

from pommel.wire.numbers import Number, number_of

# A server can be configured to send pongs without a ping (agentPong in meshrelay.js). The first ping is sent before the
# pictures, so that a viewer that answers at all answers within one round trip.
ANSWERS_WITHIN_S = 5.0
ASK_AFTER_BYTES = 32 << 10
MOST_ASKED = 256


class Pings:
    """One viewer's pings. `sent` must be called for every command, from the first one on."""

    def __init__(self) -> None:
        self.answers = False  # has it ever answered?
        self._begun_s = 0.0
        self._pictures = 0
        self._unasked = 0  # bytes of pictures since the last ping
        self._asked: deque[int] = deque()  # the number of pictures before each unanswered ping

    def begin(self, now_s: float) -> None:
        """Note that the first ping is sent now."""
        self._begun_s = now_s
        self._ask()

    def sent(self, command: bytes) -> bool:
        """Note that a command was sent; return whether a ping must follow it."""
        if not is_picture(command):
            return False
        self._pictures += 1
        self._unasked += len(command)
        if not self.answers or (self._asked and self._unasked < ASK_AFTER_BYTES) or len(self._asked) >= MOST_ASKED:
            return False
        self._ask()
        return True

    def answered(self, now_s: float) -> tuple[int, bool] | None:
        """Note an answer; return the number of received pictures, and whether a ping must follow. None: it is ignored.

        After a pong without a ping, the count is ahead by one, until all our pings are answered.
        """
        if not self._asked or not (self.answers or now_s - self._begun_s < ANSWERS_WITHIN_S):
            return None
        self.answers = True
        shown = self._asked.popleft()
        more = not self._asked and self._unasked > 0
        if more:
            self._ask()
        return shown, more

    def _ask(self) -> None:
        self._unasked = 0
        self._asked.append(self._pictures)


def is_picture(command: bytes) -> bool:
    """Whether this is a `Picture`, in a JUMBO or not. It accepts any bytes: an agent in a guest may send them."""
    return number_of(command) == Number.PICTURE
