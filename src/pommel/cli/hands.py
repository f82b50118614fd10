"""`pommel screenshot|type|key|click`. Band: face."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pommel.app import hands
from pommel.cli.common import display_option, json_option, name_argument
from pommel.cli.output import print_json


@click.command("screenshot")
@name_argument()
@click.argument("out", type=click.Path(path_type=Path))
@display_option
@json_option
def screenshot_command(name: str, out: Path, display: int, as_json: bool) -> None:
    """Save the screen of machine NAME as the PNG file OUT."""
    width, height = hands.screenshot(name, out, display=display)
    if as_json:
        print_json({"name": name, "file": str(out), "width": width, "height": height})
    else:
        click.echo(f"{out}: {width}x{height}")


@click.command("type")
@name_argument()
@click.argument("text")
def type_command(name: str, text: str) -> None:
    """Type TEXT on the keyboard of machine NAME (a US keyboard). "-" reads it from stdin.

    A newline is Return: pommel type trial $'ls\\n'
    """
    hands.type_text(name, sys.stdin.read() if text == "-" else text)


@click.command("key")
@name_argument()
@click.argument("chords", nargs=-1, required=True)
def key_command(name: str, chords: tuple[str, ...]) -> None:
    """Press keys on the keyboard of machine NAME, one after the other: pommel key NAME cmd-space return

    A chord joins keys with "-". Names are QEMU's qcodes and the common ones: return, esc, cmd, option, ctrl, shift,
    tab, space, up, f1, delete …
    """
    hands.press_key(name, *chords)


@click.command("click")
@name_argument()
@click.argument("x", type=int)
@click.argument("y", type=int)
@click.option("--button", type=click.Choice(["left", "middle", "right"]), default="left", show_default=True)
@click.option("--count", type=click.IntRange(1, 3), default=1, help="2 for a double click.")
def click_command(name: str, x: int, y: int, button: str, count: int) -> None:
    """Click at pixel X Y of the screen of machine NAME."""
    hands.click(name, x, y, button=button, count=count)
