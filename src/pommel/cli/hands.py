"""`pommel screenshot|type|key|click|scroll|drag`. Band: face."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pommel.app.machine import hands
from pommel.cli.common import display_option, json_option, name_argument
from pommel.cli.output import answer, answered


@click.command("screenshot")
@name_argument()
@click.argument("out", type=click.Path(path_type=Path))
@display_option
@json_option
def screenshot_command(name: str, out: Path, display: int) -> None:
    """Save the screen of machine NAME as the PNG file OUT."""
    width, height = hands.screenshot(name, out, display=display)
    answer({"name": name, "file": str(out), "width": width, "height": height}, f"{out}: {width}x{height}")


@click.command("type")
@name_argument()
@click.argument("text")
@json_option
def type_command(name: str, text: str) -> None:
    """Type TEXT on the keyboard of machine NAME (a US keyboard). "-" reads it from stdin.

    A newline is Return: pommel type trial $'ls\\n'
    """
    told = sys.stdin.read() if text == "-" else text
    hands.type_text(name, told)
    answered({"name": name, "characters": len(told)})  # not the text: it may be a password


@click.command("key")
@name_argument()
@click.argument("chords", nargs=-1, required=True)
@json_option
def key_command(name: str, chords: tuple[str, ...]) -> None:
    """Press keys on the keyboard of machine NAME, one after the other: pommel key NAME cmd-space return

    A chord joins keys with "-". Names are QEMU's qcodes and the common ones: return, esc, cmd, option, ctrl, shift,
    tab, space, up, f1, delete …
    """
    hands.press_key(name, *chords)
    answered({"name": name, "chords": list(chords)})


@click.command("click")
@name_argument()
@click.argument("x", type=int)
@click.argument("y", type=int)
@click.option("--button", type=click.Choice(["left", "middle", "right"]), default="left", show_default=True)
@click.option("--count", type=click.IntRange(1, 3), default=1, help="2 for a double click.")
@json_option
def click_command(name: str, x: int, y: int, button: str, count: int) -> None:
    """Click at pixel X Y of the screen of machine NAME."""
    hands.click(name, x, y, button=button, count=count)
    answered({"name": name, "from_x": x, "from_y": y, "button": button, "clicks": count})


# Negative numbers are no options.
_NUMBERS = {"ignore_unknown_options": True}


@click.command("scroll", context_settings=_NUMBERS)
@name_argument()
@click.argument("x", type=int)
@click.argument("y", type=int)
@click.argument("dx", type=int)
@click.argument("dy", type=int)
@json_option
def scroll_command(name: str, x: int, y: int, dx: int, dy: int) -> None:
    """Turn the mouse wheel at pixel X Y of the screen of machine NAME: DX notches right and DY notches down.

    Negative numbers scroll left and up: pommel scroll trial 320 200 0 -3
    """
    hands.scroll(name, x, y, right=dx, down=dy)
    answered({"name": name, "from_x": x, "from_y": y, "notches_right": dx, "notches_down": dy})


@click.command("drag", context_settings=_NUMBERS)
@name_argument()
@click.argument("x1", type=int)
@click.argument("y1", type=int)
@click.argument("x2", type=int)
@click.argument("y2", type=int)
@click.option("--button", type=click.Choice(["left", "middle", "right"]), default="left", show_default=True)
@json_option
def drag_command(name: str, x1: int, y1: int, x2: int, y2: int, button: str) -> None:
    """Drag from pixel X1 Y1 to pixel X2 Y2 of the screen of machine NAME."""
    hands.drag(name, (x1, y1), (x2, y2), button=button)
    answered({"name": name, "from_x": x1, "from_y": y1, "to_x": x2, "to_y": y2, "button": button})
