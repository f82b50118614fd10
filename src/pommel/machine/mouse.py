"""A guest's mouse through QEMU's monitor: events that VNC cannot carry or that QEMU ignores. Band: shell.

The abilities of QEMU's devices (hw/input): a USB tablet has three buttons and one wheel; a USB mouse has two more
buttons, and so has a virtio mouse; only the PS/2 mouse has a sideways wheel, since QEMU 7.0. QEMU accepts a button for
a device without it, but then nothing happens: so the device that the guest uses is queried first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from pommel.errors import MachineError
from pommel.machine.qmp import Qmp, within

# Other input of the same viewer waits meanwhile, so the time is short; but a button that is not released stays down.
_TIMEOUT_S, _LET_GO_S = 3.0, 10.0
_AT_ONCE, _FETCHED_S = 8, 0.1
_WITHOUT_SIDES = ("QEMU HID Tablet",)
_WITH_SIDEWAYS = ("QEMU PS/2 Mouse",)


class MonitorMouse:
    """The mouse of the QEMU whose monitor listens at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def side(self, forward: bool, down: bool) -> bool:
        """Press or release a mouse's back or forward button; False if the guest's mouse has no such buttons.

        Raises:
            PommelError: QEMU cannot be reached (`qmp.connect`).
        """
        return await within(self._path, _TIMEOUT_S if down else _LET_GO_S, lambda qmp: _side(qmp, forward, down))

    async def sideways(self, notches: int) -> bool:
        """Turn a wheel to the right, with a negative number to the left; False if the guest's mouse has none.

        Raises:
            PommelError: QEMU cannot be reached (`qmp.connect`).
        """
        return await within(self._path, _TIMEOUT_S, lambda qmp: _sideways(qmp, notches))

    async def let_go(self, keys: Iterable[int], buttons: Iterable[str]) -> None:
        """Release keys (by QEMU's numbers) and buttons (by its names), even if QEMU treats them as released.

        Raises:
            PommelError: QEMU cannot be reached (`qmp.connect`), or its guest is paused.
        """
        up = [("key", {"key": {"type": "number", "data": number}, "down": False}) for number in keys]
        up += [("btn", {"button": button, "down": False}) for button in buttons]
        events = [{"type": kind, "data": data} for kind, data in up]

        async def work(qmp: Qmp) -> None:
            # A USB keyboard queues 16 events that the guest has not read yet, and drops further ones.
            for at in range(0, len(events), _AT_ONCE):
                await qmp.execute("input-send-event", {"events": events[at : at + _AT_ONCE]})
                await asyncio.sleep(_FETCHED_S)

        await within(self._path, _LET_GO_S, work)


async def _side(qmp: Qmp, forward: bool, down: bool) -> bool:
    # A release is always sent: the guest may use another mouse by now.
    if down and await _used(qmp) in _WITHOUT_SIDES:
        return False
    await _press(qmp, [("extra" if forward else "side", down)])
    return True


async def _sideways(qmp: Qmp, notches: int) -> bool:
    if await _used(qmp) not in _WITH_SIDEWAYS:
        return False
    button = "wheel-right" if notches > 0 else "wheel-left"
    with contextlib.suppress(MachineError):  # an older QEMU does not have these buttons
        for _ in range(abs(notches)):
            await _press(qmp, [(button, True), (button, False)])
        return True
    return False


async def _used(qmp: Qmp) -> str:
    """QEMU's name of the mouse that the guest uses."""
    mice = await qmp.execute("query-mice")
    return next((str(one["name"]) for one in mice if one["current"]), "")


async def _press(qmp: Qmp, buttons: Iterable[tuple[str, bool]]) -> None:
    events = [{"type": "btn", "data": {"button": button, "down": down}} for button, down in buttons]
    await qmp.execute("input-send-event", {"events": events})
