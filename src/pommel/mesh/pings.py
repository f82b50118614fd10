"""What a viewer behind MeshCentral's relay has been shown, though it does not say so. Band: core, no I/O.

The server takes in megabytes that a slow viewer has not read, and nothing on our side of it tells. But what goes into a
relay comes out in order, and MeshCentral's page answers a ping (public/scripts/agent-redir-ws-0.1.1.js,
xxOnControlCommand): the answer to one behind a picture says that the picture is there. Its page over WebRTC does not
answer, nor does the server's multiplexer; of those nothing is known.
"""

from __future__ import annotations

from collections import deque

from pommel.wire.numbers import Number, number_of

# A server may be set to say pong every so often, unasked (its agentPong: meshrelay.js). The first ping goes before the
# pictures, so that who answers at all does so in one round trip.
ANSWERS_WITHIN_S = 5.0
ASK_AFTER_BYTES = 32 << 10
MOST_ASKED = 256


class Pings:
    """One viewer's pings. Of all that is sent to it `sent` is told, from the first on."""

    def __init__(self) -> None:
        self.answers = False  # has it ever answered?
        self._begun_s = 0.0
        self._pictures = 0
        self._unasked = 0  # bytes of pictures since the last ping
        self._asked: deque[int] = deque()  # how many pictures were before each ping that is on its way

    def begin(self, now_s: float) -> None:
        """Note that the first ping is sent now."""
        self._begun_s = now_s
        self._ask()

    def sent(self, command: bytes) -> bool:
        """Note that a command was sent; tell whether a ping is to follow it."""
        if not is_picture(command):
            return False
        self._pictures += 1
        self._unasked += len(command)
        if not self.answers or (self._asked and self._unasked < ASK_AFTER_BYTES) or len(self._asked) >= MOST_ASKED:
            return False
        self._ask()
        return True

    def answered(self, now_s: float) -> tuple[int, bool] | None:
        """Note an answer; return how many pictures are there, and whether a ping is to follow. None: it means nothing.

        After one that nobody asked for we are ahead by one ping, until all of ours are answered.
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
    """Tell whether this is a `Picture`, in a JUMBO or not. Any bytes will do: an agent in a guest may send them."""
    return number_of(command) == Number.PICTURE
