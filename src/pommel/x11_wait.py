"""Waiting on an X connection of python-xlib's. Band: shell, shared ground.

Its `flush` sends what the server takes at that moment, and keeps the rest without a word. A server that is busy for an
instant takes no more than some hundred small requests (a UNIX socket counts each by what it costs the kernel). Whoever
then waits for the server to say something waits for ever, as the server has not heard all. So the waiting is done here.
"""

from __future__ import annotations

import os
import select

from Xlib.display import Display


def wait(display: Display, awake: int, wait_s: float | None) -> bool:
    """Send what is to be sent, then wait for something from the server or on the pipe `awake`, at most `wait_s`.

    True: there was something on the pipe, which is empty now. Returns at once where events were read meanwhile.
    """
    display.flush()
    if display.display.event_queue:  # flushing may read too, and what it has read would wake nobody
        return False
    server = display.fileno()
    unsent = [server] if display.display.data_send else []
    ready, _, _ = select.select([server, awake], unsent, [], wait_s)
    if awake in ready:
        os.read(awake, 4096)
        return True
    return False
