"""A guest's mouse through QEMU's monitor: what its VNC server cannot carry or takes for done. Band: shell.

Which device of QEMU's has what (hw/input): a USB tablet has three buttons and one wheel, a USB mouse two more buttons,
a virtio one too; only the PS/2 mouse has a wheel that turns sideways, since QEMU 7.0. QEMU would take a button for one
that lacks it, and nothing would come of it: so it is asked which one the guest uses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path

from pommel.errors import MachineError
from pommel.machine.qmp import Qmp, within

# Other input of the same viewer waits meanwhile; but a button that is not let go of stays down.
_TIMEOUT_S, _LET_GO_S = 3.0, 10.0
_AT_ONCE, _FETCHED_S = 8, 0.1
_WITHOUT_SIDES = ("QEMU HID Tablet",)
_WITH_SIDEWAYS = ("QEMU PS/2 Mouse",)


class MonitorMouse:
    """The mouse of the QEMU whose monitor listens at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def side(self, forward: bool, down: bool) -> bool:
        """Press a mouse's back or forward, or let it go; False if the guest's mouse has no such buttons.

        Raises:
            PommelError: QEMU is not to be had (`qmp.connect`).
        """
        return await within(self._path, _TIMEOUT_S if down else _LET_GO_S, lambda qmp: _side(qmp, forward, down))

    async def sideways(self, notches: int) -> bool:
        """Turn a wheel to the right, or with a negative number to the left; False if the guest's mouse has no such one.

        Raises:
            PommelError: QEMU is not to be had (`qmp.connect`).
        """
        return await within(self._path, _TIMEOUT_S, lambda qmp: _sideways(qmp, notches))

    async def let_go(self, keys: Iterable[int], buttons: Iterable[str]) -> None:
        """Let go of keys (by QEMU's numbers) and buttons (by its names), those too that QEMU takes for let go of.

        Raises:
            PommelError: QEMU is not to be had (`qmp.connect`), or its guest stands.
        """
        up = [("key", {"key": {"type": "number", "data": number}, "down": False}) for number in keys]
        up += [("btn", {"button": button, "down": False}) for button in buttons]
        events = [{"type": kind, "data": data} for kind, data in up]

        async def work(qmp: Qmp) -> None:
            # A USB keyboard keeps 16 events that the guest has not fetched yet, and loses what comes then.
            for at in range(0, len(events), _AT_ONCE):
                await qmp.execute("input-send-event", {"events": events[at : at + _AT_ONCE]})
                await asyncio.sleep(_FETCHED_S)

        await within(self._path, _LET_GO_S, work)


async def _side(qmp: Qmp, forward: bool, down: bool) -> bool:
    # Letting go is never left out: the guest may have got itself another mouse meanwhile.
    if down and await _used(qmp) in _WITHOUT_SIDES:
        return False
    await _press(qmp, [("extra" if forward else "side", down)])
    return True


async def _sideways(qmp: Qmp, notches: int) -> bool:
    if await _used(qmp) not in _WITH_SIDEWAYS:
        return False
    button = "wheel-right" if notches > 0 else "wheel-left"
    with contextlib.suppress(MachineError):  # an old QEMU knows no such button
        for _ in range(abs(notches)):
            await _press(qmp, [(button, True), (button, False)])
        return True
    return False


async def _used(qmp: Qmp) -> str:
    """What QEMU calls the mouse that the guest uses."""
    mice = await qmp.execute("query-mice")
    return next((str(one["name"]) for one in mice if one["current"]), "")


async def _press(qmp: Qmp, buttons: Iterable[tuple[str, bool]]) -> None:
    events = [{"type": "btn", "data": {"button": button, "down": down}} for button, down in buttons]
    await qmp.execute("input-send-event", {"events": events})
