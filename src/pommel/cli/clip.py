"""`pommel clip sync|push|pull|stop|status|history|service`. Band: face."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pommel.app.clip import sync as clip
from pommel.app.clip.options import ClipOptions
from pommel.app.clip.target import Guest, find_guest
from pommel.app.host import service
from pommel.app.machine import machines
from pommel.app.workspace import Workspace
from pommel.cli import clip_verbs
from pommel.cli.clip_vm import vm_clip_command
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answer, answered, reporter
from pommel.cli.waiting import await_guest, no_wait_options
from pommel.errors import UsageError
from pommel.settings import parse_size

F = TypeVar("F", bound=Callable[..., Any])
_HOST = "Any SSH host with a clipboard, instead of a machine; your own ssh configuration is used."


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_size(value)
    except ValueError as wanted:
        raise UsageError(f"--limit must be {wanted}, not {value!r}") from None


def guest_options(command: F) -> F:
    """NAME or --host."""
    for option in (
        json_option,
        click.option("--accept-new", is_flag=True, hidden=True),
        click.option("--host", metavar="USER@HOST[:PORT]", help=_HOST),
        name_argument(required=False),
    ):
        command = option(command)
    return command


def copy_options(command: F) -> F:
    """The options for the selection and the size limit."""
    for option in (
        click.option("--serve", metavar="OPTIONS", hidden=True),
        click.option("--limit", callback=_size, help="Do not sync copies that are larger than this.  [default: 64M]"),
        click.option(
            "--selection",
            type=click.Choice(["clipboard", "primary"]),
            help="Which selection of this desktop; primary is the text selected with the mouse.  [default: clipboard]",
        ),
    ):
        command = option(command)
    return command


def _options(options: dict[str, Any]) -> ClipOptions:
    renamed = {"limit": "limit_bytes"}
    return ClipOptions(**{renamed.get(key, key): value for key, value in options.items() if value is not None})


def _meant(workspace: Workspace, name: str | None, host: str | None) -> Guest:
    """The guest of the command; without a name, the one with a running sync."""
    if name is None and host is None and len(found := clip.running(workspace)) == 1:
        return found[0]
    return find_guest(workspace, name, host)


def _await(workspace: Workspace, guest: Guest, no_wait: bool, timeout_s: float | None) -> None:
    """Wait for a machine that is starting, and for its sync if one runs; do not wait for a machine that is off."""
    if guest.machine is None or no_wait:
        return
    if guest.machine in machines.running(workspace=workspace):
        await_guest(workspace, guest.machine, no_wait=False, timeout_s=timeout_s)
        clip.settle(guest)


@click.group("clip")
def clip_command() -> None:
    """Sync the clipboard between this desktop and a machine, or any host that SSH reaches.

    Text, HTML, RTF, pictures and files are synced in both directions when they are copied. Nothing is installed in
    the guest. Content that a password manager marks as secret is not sent. Without NAME, the only machine is used,
    or the only one that runs.
    """


@clip_command.command("sync", short_help="Sync two clipboards in the background.")
@guest_options
@copy_options
@click.option(
    "--direction",
    type=click.Choice(["both", "host-to-guest", "guest-to-host"]),
    help="The direction of the sync.  [default: both]",
)
@click.option(
    "--history",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="Keep in memory the last N copies that were replaced by a newer copy from the other side.  [default: 0]",
)
@click.option("--foreground", is_flag=True, help="Stay in the foreground and print what happens; Ctrl-C ends it.")
def sync_command(
    name: str | None,
    host: str | None,
    serve: str | None,
    foreground: bool,
    accept_new: bool,
    **options: Any,
) -> None:
    """Sync the clipboard of NAME with this desktop's, in the background.

    Returns when the sync is connected, or prints what it waits for. It connects to the guest when the guest starts,
    and again after each restart. The sync ends with your desktop session. To end it earlier: pommel clip stop
    """
    workspace = Workspace.current()
    guest = find_guest(workspace, name, host, accept_new=accept_new)
    if serve is not None:
        clip_verbs.serve(workspace, guest, _options(json.loads(serve)), quiet=True)
    elif foreground:
        clip.refuse_second(guest)
        clip_verbs.serve(workspace, guest, _options(options), quiet=False)
    else:
        clip_verbs.sync(workspace, guest, _options(options))


@clip_command.command("push")
@guest_options
@copy_options
@no_wait_options
def push_command(
    name: str | None,
    host: str | None,
    serve: str | None,
    accept_new: bool,
    no_wait: bool,
    wait_timeout: float | None,
    **options: Any,
) -> None:
    """Copy this desktop's clipboard to NAME, once."""
    workspace = Workspace.current()
    guest = _meant(workspace, name, host)
    _await(workspace, guest, no_wait, wait_timeout)
    told = clip.push(workspace, guest, _options(options), report=reporter())
    clip_verbs.moved(guest, "pushed", told)


@clip_command.command("pull")
@guest_options
@copy_options
@no_wait_options
def pull_command(
    name: str | None,
    host: str | None,
    serve: str | None,
    accept_new: bool,
    no_wait: bool,
    wait_timeout: float | None,
    **options: Any,
) -> None:
    """Copy the clipboard of NAME to this desktop's clipboard, once."""
    workspace = Workspace.current()
    if serve is not None:
        guest = find_guest(workspace, name, host, accept_new=accept_new)
        clip.pull_here(workspace, guest, _options(json.loads(serve)))
    else:
        guest = _meant(workspace, name, host)
        _await(workspace, guest, no_wait, wait_timeout)
        told = clip.pull(workspace, guest, _options(options), report=reporter())
        clip_verbs.moved(guest, "pulled", told)


@clip_command.command("stop")
@guest_options
@click.option("--all", "every", is_flag=True, help="End all running syncs.")
def stop_command(name: str | None, host: str | None, accept_new: bool, every: bool) -> None:
    """End the sync of NAME. The machine keeps running."""
    if every and (name or host):
        raise UsageError("give the name of one guest, or pass --all", hint="pommel clip stop NAME")
    workspace = Workspace.current()
    guests = clip.running(workspace) if every else [_meant(workspace, name, host)]
    clip_verbs.stop(guests, every=every)


@clip_command.command("status")
@guest_options
def status_command(name: str | None, host: str | None, accept_new: bool) -> None:
    """Show the state of the sync of NAME; without NAME, of all syncs."""
    workspace = Workspace.current()
    if name is None and host is None:
        clip_verbs.status_of_all(workspace)
    else:
        clip_verbs.status(find_guest(workspace, name, host))


@clip_command.command("history", short_help="List copies that were replaced by a newer copy from the other side.")
@guest_options
@click.option("--print", "number", type=click.IntRange(1), metavar="N", help="Print the whole text of copy N.")
def history_command(name: str | None, host: str | None, accept_new: bool, number: int | None) -> None:
    """List copies that were replaced by a newer copy from the other side, if `sync --history N` keeps some.

    They are kept only in the memory of the sync process, and are lost when it ends.
    """
    guest = _meant(Workspace.current(), name, host)
    if number is None:
        clip_verbs.history(guest)
        return
    text = clip.history_text(guest, number)
    if not answered({"number": number, "text": text}):
        click.echo(text, nl=False)


@clip_command.group("service")
def clip_service_command() -> None:
    """Start a sync with your desktop session, by systemd."""


@clip_service_command.command("install")
@guest_options
@click.option("--no-enable", is_flag=True, help="Write the unit, but do not start or enable it.")
@dry_run_option
def install_command(name: str | None, host: str | None, accept_new: bool, no_enable: bool, dry_run: bool) -> None:
    """Write a systemd user unit that syncs the clipboard of NAME, and start it with your desktop session."""
    workspace = Workspace.current()
    guest = find_guest(workspace, name, host)
    if dry_run:
        path, text = service.clip_unit_path(workspace, guest), service.clip_text(workspace, guest)
        if not answered({"guest": guest.label, "unit": str(path), "text": text}):
            click.echo(f"would write {path}:", err=True)
            click.echo(text, nl=False)
        return
    made = service.install_clip(workspace, guest, enable=not no_enable, report=reporter())
    answer({"guest": guest.label, "unit": str(made.path), "enabled": made.enabled}, made.path)


@clip_service_command.command("remove")
@guest_options
@dry_run_option
def remove_command(name: str | None, host: str | None, accept_new: bool, dry_run: bool) -> None:
    """Remove the unit of NAME, and end the sync that it runs."""
    workspace = Workspace.current()
    guest = find_guest(workspace, name, host)
    if dry_run:
        done, path = "would remove", service.clip_unit_path(workspace, guest)
    else:
        done, path = "removed", service.remove_clip(workspace, guest, report=reporter())
    answer({"guest": guest.label, "unit": str(path), "removed": not dry_run}, f"{done} {path}")


@clip_service_command.command("show")
@guest_options
def show_command(name: str | None, host: str | None, accept_new: bool) -> None:
    """Print the unit that `install` would write."""
    workspace = Workspace.current()
    text = service.clip_text(workspace, find_guest(workspace, name, host))
    if not answered({"text": text}):
        click.echo(text, nl=False)


clip_command.add_command(vm_clip_command)
