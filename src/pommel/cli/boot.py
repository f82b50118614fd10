"""The options for one start. Band: face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from pommel.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def boot_options(command: F) -> F:
    """Add the options for one start."""
    for option in reversed(
        (
            click.option("--recovery", is_flag=True, help="Attach the installer, even if macOS is installed."),
            click.option(
                "--installed", is_flag=True, help="macOS is installed: do not attach the installer, now or later."
            ),
            click.option("--verbose", is_flag=True, help="Make macOS print messages while it boots."),
            click.option("--throwaway", is_flag=True, help="Discard everything that is written in this run."),
        )
    ):
        command = option(command)
    return command


def boot_choice(options: dict[str, Any]) -> tuple[Any, bool]:
    """Remove these options from a command's options; return the choice, and whether macOS counts as installed."""
    from pommel.app.machine.power import BootChoice

    recovery, installed = options.pop("recovery"), options.pop("installed")
    if recovery and installed:
        raise UsageError("--recovery and --installed cannot be used together")
    installer: Literal["auto", "yes", "no"] = "yes" if recovery else "no" if installed else "auto"
    return BootChoice(installer, options.pop("throwaway"), options.pop("verbose")), installed
