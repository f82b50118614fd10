"""Options and arguments that many commands share. Band: face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


def complete_name(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The machines' names, for a shell's completion. Silent when pommel.toml is broken: a Tab is no place to say so."""
    from pommel.app.workspace import Workspace
    from pommel.errors import PommelError

    try:
        names = Workspace.current().names()
    except PommelError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def name_argument(*, required: bool = True) -> Callable[[F], F]:
    """The NAME of a machine."""
    return click.argument("name", required=required, shell_complete=complete_name)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Answer yes to every question.")
dry_run_option = click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


def machine_options(command: F) -> F:
    """Flags that lay over a machine's settings for this call."""
    for option in reversed(
        (
            click.option("--accel", help="auto, kvm or tcg."),
            click.option("--memory", help="RAM, such as 8G."),
            click.option("--cpu", help="QEMU CPU model."),
            click.option("--cores", help="Cores a socket."),
            click.option("--threads", help="vCPUs in all."),
            click.option("--ssh-port", help="Host port for the guest's SSH."),
        )
    ):
        command = option(command)
    return command


def split_flags(options: dict[str, Any]) -> dict[str, Any]:
    """The settings among a command's options."""
    return {key: value for key, value in options.items() if value is not None}
