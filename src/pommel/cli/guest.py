"""`pommel guest install|status|remove`. Band: face."""

from __future__ import annotations

import dataclasses

import click

from pommel.app.session import guest_install as session_guest
from pommel.app.session.guest_install import GuestStatus
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import answer, answered, print_pairs, reporter
from pommel.cli.waiting import await_guest, no_wait_options

host_option = click.option(
    "--host", metavar="USER@HOST[:PORT]", help="Another system that SSH reaches, instead of a machine."
)


@click.group("guest")
def guest_command() -> None:
    """Install the session viewer in a guest: it shows the guest's own login session."""


@guest_command.command("install")
@name_argument(required=False)
@host_option
@no_wait_options
@json_option
def install_command(name: str | None, host: str | None, no_wait: bool, wait_timeout: float | None) -> None:
    """Install or update Pommel's daemon and session agent in the running machine NAME.

    They are installed over SSH, with everything that they need. Then type: pommel console NAME --session
    """
    _await(name, host, no_wait, wait_timeout)
    found = session_guest.install(name, host=host, report=reporter())
    if not answered(_document(found)):
        click.echo(f"{found.name}: installed and running")
        shown = f"pommel console {found.name} --session" if host is None else f"pommel kvm view {host}"
        click.echo(f"its session's screen: {shown}", err=True)


@guest_command.command("status")
@name_argument(required=False)
@host_option
@no_wait_options
@json_option
def status_command(name: str | None, host: str | None, no_wait: bool, wait_timeout: float | None) -> None:
    """Show whether the daemon and the agent are installed in machine NAME, and whether they run."""
    _await(name, host, no_wait, wait_timeout)
    found = session_guest.status(name, host=host)
    if answered(_document(found)):
        return
    pairs = {
        "guest": f"{found.name} ({found.system})",
        "installed": f"yes ({found.version})" if found.installed else "no",
        "daemon": ("runs" if found.running else "not running") if found.installed else "",
        "agent's launcher": f"watches for {', '.join(found.users)}" if found.users else "",
        "active session": found.session,
    }
    print_pairs({name: text for name, text in pairs.items() if text})


@guest_command.command("remove")
@name_argument(required=False)
@host_option
@no_wait_options
@json_option
def remove_command(name: str | None, host: str | None, no_wait: bool, wait_timeout: float | None) -> None:
    """Remove the daemon, the agent and all their files from machine NAME."""
    _await(name, host, no_wait, wait_timeout)
    there_was = session_guest.remove(name, host=host, report=reporter())
    answer(
        {"name": name or host, "removed": there_was},
        f"{name or host}: removed" if there_was else f"{name or host}: nothing to remove",
    )


def _await(name: str | None, host: str | None, no_wait: bool, timeout_s: float | None) -> None:
    if name is not None and host is None:
        await_guest(Workspace.current(), name, no_wait=no_wait, timeout_s=timeout_s)


def _document(found: GuestStatus) -> dict[str, object]:
    return dataclasses.asdict(found) | {"ready": found.ready}
