"""`pommel wait`. Band: face."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pommel.cli.common import display_option, json_option, name_argument
from pommel.cli.output import answer, reporter
from pommel.errors import UsageError

if TYPE_CHECKING:
    from pommel.app.machine.screen_wait import Looked
    from pommel.app.machine.waiting import Waited

_SECONDS = click.FloatRange(min=0, min_open=True)
_STATES = ("screen", "ssh", "desktop")
# Which options belong to which kinds; any other is refused by name.
_BELONGS = {"for_s": ("rest",), "region": ("rest", "changed"), "tolerance": ("rest", "changed")}
_SPELLED = {"for_s": "--for", "region": "--region", "tolerance": "--tolerance"}


@click.command("wait")
@name_argument()
@click.option("--rest", "kinds", flag_value="rest", multiple=True, help="Until its screen has stopped changing.")
@click.option("--changed", "kinds", flag_value="changed", multiple=True, help="Until its screen shows something else.")
@click.option("--screen", "kinds", flag_value="screen", multiple=True, help="Until its screen shows something.")
@click.option("--ssh", "kinds", flag_value="ssh", multiple=True, help="Until its guest answers SSH.")
@click.option("--desktop", "kinds", flag_value="desktop", multiple=True, help="Until its desktop is shown.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Until its guest listens on this TCP port.")
@click.option("--for", "for_s", type=_SECONDS, metavar="SECONDS", help="With --rest: for how long.  [default: 2]")
@click.option(
    "--region", metavar="X,Y,WIDTH,HEIGHT", help="With --rest, --changed: the part of the screen that counts."
)
@click.option(
    "--tolerance",
    type=click.IntRange(min=0),
    metavar="PIXELS",
    help="With --rest, --changed: how many pixels may differ, for a caret or a clock.  [default: 300]",
)
@display_option
@click.option(
    "--timeout",
    "timeout_s",
    type=_SECONDS,
    metavar="SECONDS",
    help="How long to wait.  [default: 60 for --rest, --changed; 300 for --port; 120 for --screen, 300 for --ssh and "
    "--desktop, counted from the start]",
)
@json_option
def wait_command(
    name: str,
    kinds: tuple[str, ...],
    port: int | None,
    display: int,
    timeout_s: float | None,
    **more: Any,
) -> None:
    """Wait until machine NAME is in a state that a script needs: pommel wait NAME --rest

    At rest: in the last 2 seconds no picture differed from the first of them by more than 300 pixels. So a caret that
    blinks and a clock are rest. A screen that stays blank is at rest too. Exits with 1 when the time is up, and with 3
    when the machine does not run or is suspended.
    """
    kind = _kind(name, (*kinds, *(("port",) if port is not None else ())))
    given = {key: value for key, value in more.items() if value is not None}
    for key in given:
        if kind not in _BELONGS[key]:
            both = " or ".join(f"--{each}" for each in _BELONGS[key])
            raise UsageError(f"{_SPELLED[key]} goes with {both}", hint=f"pommel wait {name} --rest")
    if timeout_s is not None:
        given["timeout_s"] = timeout_s
    found = _wait(name, kind, port, display, given)
    answer({"name": name, **found.as_dict()}, f"{name}: {found.seen}")


def _kind(name: str, kinds: tuple[str, ...]) -> str:
    if len(kinds) != 1:
        said = "only one of them at a time" if kinds else "say what to wait for"
        raise UsageError(
            f"{said}: --rest, --changed, --screen, --ssh, --desktop or --port N", hint=f"pommel wait {name} --rest"
        )
    return kinds[0]


def _wait(name: str, kind: str, port: int | None, display: int, given: Mapping[str, Any]) -> Waited | Looked:
    from pommel.app.machine import port_wait, screen_wait, waiting

    report = reporter(brief=True)
    if kind in _STATES:
        return waiting.wait(name, kind, report=report, **given)
    if port is not None:
        return port_wait.wait_port(name, port, report=report, **given)
    wait = screen_wait.wait_rest if kind == "rest" else screen_wait.wait_changed
    return wait(name, display=display, report=report, **given)
