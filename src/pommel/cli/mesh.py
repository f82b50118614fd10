"""`pommel mesh join|leave|status|list|run|service`. Band: face."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import click
from click.shell_completion import CompletionItem

from pommel.app.host import service
from pommel.app.machine.machines import spell_duration
from pommel.app.mesh import membership as mesh
from pommel.app.mesh.status import MeshStatus
from pommel.app.mesh.ticket import Ticket, read_ticket
from pommel.app.workspace import Workspace
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answer, answered, print_pairs, print_table, reporter, wants_json
from pommel.cli.running import until_signal
from pommel.errors import PommelError


def _complete_joined(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the machines that have joined a server, for a shell's completion."""
    try:
        names = [one.name for one in mesh.list_joined()]
    except PommelError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.group("mesh")
def mesh_command() -> None:
    """Show machines as devices of a MeshCentral server: each machine's console, from the boot picker on, as a
    Desktop.

    A machine that has joined is online there while it runs; `up`, `start` and `stop` do this automatically.
    """


@mesh_command.command("join")
@name_argument()
@click.option(
    "--msh",
    required=True,
    metavar="FILE|URL",
    help="The settings file of the device group. On the server's page: My Devices, the group, Add Agent.",
)
@click.option(
    "--agent-id",
    type=int,
    metavar="ID",
    help="The agent id to use: 10005 (has a Clipboard button), 16 (Intel Mac) or 29 (ARM Mac).  [default: 10005]",
)
@dry_run_option
@json_option
def join_command(name: str, msh: str, agent_id: int | None, dry_run: bool) -> int:
    """Join machine NAME to a MeshCentral server. A running machine comes online at once."""
    workspace = Workspace.current()
    workspace.made(name)
    if agent_id is not None:
        mesh.check_agent_id(agent_id)
    ticket = read_ticket(msh)
    if dry_run:
        _show_ticket(name, ticket)
        return 0
    seen = mesh.join(name, ticket, agent_id=agent_id, workspace=workspace, report=reporter())
    if not answered(seen.as_dict()):
        click.echo(f"{name} has joined {_place(seen)}; {sentence(seen)}")
        if seen.hint:
            click.echo(f"hint: {seen.hint}", err=True)
    return 1 if seen.standing in ("refused", "failed") else 0


@mesh_command.command("leave")
@click.argument("name", shell_complete=_complete_joined)
@json_option
def leave_command(name: str) -> None:
    """Remove machine NAME from its server, and delete its identity there.

    The server shows it as offline until a user removes it there.
    """
    mesh.leave(name)
    answer({"name": name, "left": True}, f"{name} has left its MeshCentral server")


@mesh_command.command("status")
@click.argument("name", required=False, shell_complete=_complete_joined)
@json_option
def status_command(name: str | None) -> None:
    """Show the state of machine NAME on its server; without NAME, of all machines that have joined a server."""
    if name is None:
        _list()
        return
    seen = mesh.status(name)
    if not answered(seen.as_dict()):
        print_pairs(_pairs(seen))


@mesh_command.command("list")
@json_option
def list_command() -> None:
    """List the machines that have joined a server."""
    _list()


@mesh_command.command("run")
@click.option("--serve", is_flag=True, hidden=True)
@json_option
def run_command(serve: bool) -> None:
    """Keep joined machines online while they run, and print what happens. Ctrl-C ends it.

    `up` and `start` do the same in the background, so you usually do not need this command.
    """
    from pommel.app.mesh import running as mesh_running

    said: dict[str, MeshStatus] = {}

    def tell(status: MeshStatus) -> None:
        before = said.get(status.name)
        said[status.name] = status
        if serve or (before is not None and replace(before, since=None) == replace(status, since=None)):
            return
        if answered(status.as_dict()):
            return
        if before is None or sentence(before) != sentence(status):
            click.echo(f"{status.name}: {sentence(status)}", err=True)

    workspace = Workspace.current()
    mesh.refuse_second(workspace)
    linger_s = mesh_running.LINGER_S if serve else None
    if not serve and not wants_json():
        click.echo("keeping the machines online that have joined a MeshCentral server; Ctrl-C ends this", err=True)
    reason = asyncio.run(until_signal(mesh_running.serve(workspace, linger_s=linger_s, on_change=tell)))
    if reason and not serve:
        click.echo(reason, err=True)


@mesh_command.group("service")
def mesh_service_command() -> None:
    """Keep the machines online with a systemd service, started when you log in."""


@mesh_service_command.command("install")
@click.option("--no-enable", is_flag=True, help="Write the unit, but do not start or enable it.")
@dry_run_option
@json_option
def install_command(no_enable: bool, dry_run: bool) -> None:
    """Write a systemd user unit that keeps the machines online, and start it with your session."""
    workspace = Workspace.current()
    if dry_run:
        path, text = service.mesh_unit_path(workspace), service.mesh_text(workspace)
        if not answered({"unit": str(path), "text": text}):
            click.echo(f"would write {path}:", err=True)
            click.echo(text, nl=False)
        return
    made = service.install_mesh(workspace, enable=not no_enable, report=reporter())
    answer({"unit": str(made.path), "enabled": made.enabled}, made.path)


@mesh_service_command.command("remove")
@dry_run_option
@json_option
def remove_command(dry_run: bool) -> None:
    """Stop the unit and remove it."""
    workspace = Workspace.current()
    if dry_run:
        done, path = "would remove", service.mesh_unit_path(workspace)
    else:
        done, path = "removed", service.remove_mesh(workspace, report=reporter())
    answer({"unit": str(path), "removed": not dry_run}, f"{done} {path}")


@mesh_service_command.command("status")
@json_option
def service_status_command() -> None:
    """Show whether the unit is installed, and whether systemd runs it."""
    path = service.mesh_unit_path(Workspace.current())
    there = path.exists()
    active = service.active() if there else "inactive"
    if not answered({"unit": str(path), "installed": there, "active": active}):
        print_pairs({"unit": str(path), "installed": "yes" if there else "no", "systemd": active})


def sentence(seen: MeshStatus) -> str:
    """The state of a machine, in one line."""
    if seen.standing == "online":
        looking = "" if not seen.viewers else f", {seen.viewers} viewing"
        return f"online{looking}"
    return f"{seen.standing}{': ' + seen.why if seen.why else ''}"


def _place(seen: MeshStatus) -> str:
    group = f"the group {seen.group} on " if seen.group else ""
    return f"{group}{seen.server}"


def _list() -> None:
    seen = mesh.list_joined()
    if answered({"machines": [each.as_dict() for each in seen]}):
        return
    if seen:
        rows = [(one.name, one.standing, str(one.viewers), one.group or "-", one.server, one.why) for one in seen]
        print_table(("NAME", "STANDING", "VIEWERS", "GROUP", "SERVER", "WHY"), rows)
    else:
        click.echo("no machine has joined a MeshCentral server. To join: pommel mesh join NAME --msh FILE", err=True)


def _pairs(seen: MeshStatus) -> dict[str, str]:
    since = "" if seen.since is None else f" for {spell_duration(max(0.0, time.time() - seen.since))}"
    found = {
        "name": seen.name,
        "standing": f"{seen.standing}{since}",
        "why": seen.why,
        "hint": seen.hint or "",
        "server": seen.server,
        "group": seen.group,
        "node": seen.node_id,
        "agent id": str(seen.agent_id or ""),
        "viewers": str(seen.viewers) if seen.standing == "online" else "",
        "pid": str(seen.mesh_pid or ""),
    }
    return {key: value for key, value in found.items() if value}


def _show_ticket(name: str, ticket: Ticket) -> None:
    if not answered({"name": name, "group": ticket.group, "servers": list(ticket.servers)}):
        group = f"the group {ticket.group} on " if ticket.group else ""
        click.echo(f"{name} would join {group}{', '.join(ticket.servers)}")
