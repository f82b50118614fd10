"""Options for waits, and their output. Band: face."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pommel.app.guest import shell as guest
from pommel.app.workspace import Workspace
from pommel.cli.output import clear_line, reporter

if TYPE_CHECKING:
    from pommel.app.machine.waiting import Waited

F = TypeVar("F", bound=Callable[..., Any])
_SECONDS = click.FloatRange(min=0, min_open=True)

wait_timeout_option = click.option(
    "--wait-timeout",
    type=_SECONDS,
    metavar="SECONDS",
    help="How long to wait.  [default, counted from the start: 120 for the screen, 300 for the others]",
)


def wait_options(command: F) -> F:
    """--wait and --wait-timeout."""
    kinds = click.Choice(["screen", "ssh", "desktop"])
    told = "What to wait for: the screen shows something, the guest answers SSH, or the desktop is shown."
    return click.option("--wait", "until", type=kinds, help=told)(wait_timeout_option(command))


def no_wait_options(command: F) -> F:
    """For commands over SSH: --no-wait, and --wait-timeout."""
    told = "Do not wait for a guest that is starting."
    return click.option("--no-wait", is_flag=True, help=told)(wait_timeout_option(command))


def await_machine(
    name: str, until: str, timeout_s: float | None, *, asked: bool = True, stays: bool = True
) -> Waited | None:
    """Wait as --wait says; None: it did not come, and nobody `asked`. After Ctrl-C a machine that `stays` is told."""
    from pommel.app.machine import waiting

    wait = waiting.wait if asked else waiting.try_wait
    try:
        return wait(name, until, timeout_s=timeout_s, report=reporter(brief=True))
    except KeyboardInterrupt:
        clear_line()
        if stays:
            look, end = f"pommel console {name}", f"pommel stop {name}"
            click.echo(f"{name} keeps running.  Its screen: {look}  Shut it down: {end}", err=True)
        raise


def await_guest(workspace: Workspace, name: str, *, no_wait: bool, timeout_s: float | None) -> None:
    """Before a call over SSH: wait until the guest answers, unless --no-wait is given."""
    if no_wait or guest.is_connected(workspace, name):
        return
    from pommel.app.machine import waiting

    waiting.for_guest(workspace, name, timeout_s=timeout_s, report=reporter(brief=True))
