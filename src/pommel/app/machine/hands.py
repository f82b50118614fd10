"""Screenshots, keyboard and pointer of a machine, for scripts. Band: app.

They use the virtual machine's own display and input devices, as the page does. So they need no program in the guest,
and work in the boot picker and at the login window.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pommel.app.machine import displays
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.files import users_mode, write_atomic
from pommel.machine import state
from pommel.paths import MachinePaths

GRAB_TIMEOUT_S = 10.0
NOTCHES_MAX = 50


def screenshot(name: str, out: Path | str, *, display: int = 1, workspace: Workspace | None = None) -> tuple[int, int]:
    """Save the screen of machine `name` as a PNG; return its width and height in pixels.

    Raises:
        StateError: the machine is not running, or has no such display.
        DeadlineError: QEMU gave no picture in 10 s.
    """
    from pommel.screen.screenshot import grab, png_bytes

    path = Path(out)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(
            f"{path} is not a file that can be written", hint="give a file in a folder that exists, such as shot.png"
        )
    frame = asyncio.run(grab(displays.socket(_running(name, workspace), display), GRAB_TIMEOUT_S))
    write_atomic(path.absolute(), png_bytes(frame), mode=users_mode())
    return frame.size.width, frame.size.height


def type_text(name: str, text: str, *, pause_s: float = 0.0, workspace: Workspace | None = None) -> None:
    """Type `text` on machine `name`'s keyboard; the guest must have the US layout. A newline is Return.

    With `pause_s`, each key is held for a moment, and that time passes between two keys: for guests that lose fast
    keys.

    Raises:
        UsageError: a US keyboard cannot type a character of the text; nothing was typed.
        StateError: the machine is not running.
    """
    from pommel.screen import hands
    from pommel.wire.keymap import untypable

    if missing := untypable(text):
        raise UsageError(
            f"a US keyboard cannot type {' '.join(repr(c) for c in missing)}",
            hint="paste it instead: pommel ssh NAME -- pbcopy < FILE, then pommel key NAME cmd-v",
        )
    asyncio.run(hands.type_text(_running(name, workspace).vnc, text, pause_s=pause_s))


def press_key(name: str, *chords: str, workspace: Workspace | None = None) -> None:
    """Press and release chords such as `cmd-q`, `return` or `ctrl-alt-delete` on machine `name`, one after another.

    Raises:
        UsageError: a key is unknown, and nothing was pressed; the hint has the nearest spelling.
        StateError: the machine is not running.
    """
    from pommel.screen import hands
    from pommel.wire.keymap import parse_chord

    for chord in chords:
        parse_chord(chord)
    vnc = _running(name, workspace).vnc
    for chord in chords:
        asyncio.run(hands.press(vnc, chord))


def click(
    name: str, x: int, y: int, *, button: str = "left", count: int = 1, workspace: Workspace | None = None
) -> None:
    """Move machine `name`'s pointer to pixel `x`, `y` and click there `count` times.

    Raises:
        UsageError: the point is not on the screen.
        StateError: the machine is not running.
    """
    from pommel.screen import hands

    asyncio.run(hands.click(_running(name, workspace).vnc, x, y, button=button, count=count))


def scroll(name: str, x: int, y: int, *, right: int = 0, down: int = 0, workspace: Workspace | None = None) -> None:
    """Move machine `name`'s pointer to pixel `x`, `y` and turn the wheel by notches; negative values: left and up.

    Raises:
        UsageError: the point is not on the screen; or both values are 0, or one is more than `NOTCHES_MAX`.
        StateError: the machine is not running.
    """
    from pommel.screen import hands

    if (right, down) == (0, 0) or max(abs(right), abs(down)) > NOTCHES_MAX:
        raise UsageError(f"turn the wheel by 1 to {NOTCHES_MAX} notches", hint="negative ones scroll left and up")
    asyncio.run(hands.scroll(_running(name, workspace).vnc, x, y, -down, right))


def drag(
    name: str,
    start: tuple[int, int],
    end: tuple[int, int],
    *,
    button: str = "left",
    workspace: Workspace | None = None,
) -> None:
    """Press a button at the pixel `start` of machine `name`'s screen, and release it at `end`.

    Raises:
        UsageError: a point is not on the screen.
        StateError: the machine is not running.
    """
    from pommel.screen import hands

    asyncio.run(hands.drag(_running(name, workspace).vnc, start, end, button))


def _running(name: str, workspace: Workspace | None) -> MachinePaths:
    workspace = workspace or Workspace.current()
    workspace.settings(name)
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running", hint=f"pommel start {name}")
    return paths
