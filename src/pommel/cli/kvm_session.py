"""`pommel kvm daemon|agent|install|uninstall|status|view|selftest`: the reversed socket. Band: face."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pommel.cli.common import dry_run_option, json_option, tell_fingerprint, tls_options, words_given
from pommel.cli.output import answer, answered, print_pairs, print_table, reporter
from pommel.cli.running import open_browser, until_signal

if TYPE_CHECKING:
    from pommel.app.console.tls import TlsWish
    from pommel.app.mesh.ticket import Ticket

id_option = click.option("--id", "service_id", default="pommel", show_default=True, help="The service's name.")
run_option = click.option("--run", type=click.Path(path_type=Path), hidden=True)
socket_option = click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Accept viewers also on this socket, for example through SSH.",
)
socket_user_option = click.option(
    "--socket-user", metavar="USER", help="The user who may use the socket, besides root."
)
page_option = click.option(
    "--page/--no-page", default=None, help="Serve a page.  [default: yes, unless there is a socket]"
)
listen_option = click.option(
    "--listen", metavar="HOST:PORT", help="Where the page listens.  [default: 127.0.0.1, the next free port from 8600]"
)
msh_option = click.option(
    "--msh",
    metavar="FILE|URL",
    help="Also join a MeshCentral server as a device: the settings file of its device group.",
)


@click.command("daemon")
@id_option
@listen_option
@click.option("--allow-host", multiple=True, metavar="NAME", help="A host name by which browsers reach the page.")
@tls_options
@page_option
@socket_option
@socket_user_option
@click.option("--uid", type=int, help="The user of the session, if there is no logind; start the agent by hand.")
@click.option("--requirement", default="", help="The code requirement that an agent must meet (macOS).")
@msh_option
@run_option
@json_option
def daemon_command(
    msh: str | None,
    listen: str | None,
    allow_host: tuple[str, ...],
    page: bool | None,
    socket_user: str | None,
    **told: Any,
) -> None:
    """Show the active login session of this system to viewers. The system runs this daemon as root (see `install`).

    Nothing happens until a viewer connects. Then the session's own launcher starts an agent in the session, and the
    agent connects to the daemon.
    """
    from pommel.app.session import kvm_daemon

    host, port = _listen(listen)
    options = kvm_daemon.DaemonOptions(
        page=page if page is not None else told["socket"] is None or listen is not None,
        host=host or kvm_daemon.LOOPBACK,
        port=port,
        allowed_hosts=allow_host,
        socket_uid=_uid_of(socket_user),
        ticket=ticket_of(msh),
        **told,
    )

    def ready(serving: kvm_daemon.Serving) -> None:
        if answered(_as_dict(serving)):
            return
        # The journal is no place for a token.
        if sys.stdout.isatty() and serving.url:
            click.echo(serving.url)
            tell_fingerprint(serving.tls_fingerprint)
        else:
            click.echo(f"serving {serving.service_id}. To see where: pommel kvm status", err=True)

    asyncio.run(until_signal(kvm_daemon.serve(options, on_ready=ready, log=_log)))


@click.command("agent")
@id_option
@click.option("--daemon-uid", type=int, default=0, hidden=True)
@run_option
def agent_command(service_id: str, daemon_uid: int, run: Path | None) -> None:
    """Connect the session in which this runs to the daemon. The session's launcher starts it when a viewer
    connects."""
    from pommel.app.session import kvm_agent

    settings = kvm_agent.AgentSettings(service_id, daemon_uid=daemon_uid, run=run)
    reason = asyncio.run(until_signal(kvm_agent.serve(settings, _log)))
    if reason:
        _log(reason)


@click.command("install")
@id_option
@listen_option
@tls_options
@page_option
@socket_option
@socket_user_option
@msh_option
@click.option("--program", type=click.Path(path_type=Path), hidden=True)
@dry_run_option
@json_option
def install_command(
    service_id: str,
    listen: str | None,
    page: bool | None,
    socket: Path | None,
    socket_user: str | None,
    dry_run: bool,
    **files: Any,
) -> None:
    """Install the daemon, which this system starts, and an agent, which each login session starts when a viewer
    connects."""
    from pommel.app.console.tls import check
    from pommel.app.session import kvm_install

    words = [*(["--listen", listen] if listen else []), *(["--socket", str(socket)] if socket else [])]
    words += ["--socket-user", socket_user] if socket_user else []
    tls: TlsWish = files["tls"]
    check(tls)
    words += tls.words()
    words += [] if page is None else ["--page" if page else "--no-page"]
    _listen(listen)
    _uid_of(socket_user)
    program, ticket = files["program"], ticket_of(files["msh"])
    data = ticket.data if ticket is not None else None
    wanted = kvm_install.ServiceWish(service_id, tuple(words), (str(program),) if program else (), data)
    if dry_run:
        _show_plan(kvm_install.install_plan(wanted))
        return
    steps = kvm_install.install(wanted, report=reporter())
    answer(
        {"service_id": service_id, "installed": True, "actions": [str(step) for step in steps]},
        f"{service_id}: installed and running. To see where: pommel kvm status",
    )


@click.command("uninstall")
@id_option
@dry_run_option
@json_option
def uninstall_command(service_id: str, dry_run: bool) -> None:
    """Remove the daemon, the agent and all their files from this system."""
    from pommel.app.session import kvm_install

    if dry_run:
        _show_plan(kvm_install.uninstall_plan(service_id))
        return
    steps = kvm_install.uninstall(service_id, report=reporter())
    answer(
        {"service_id": service_id, "installed": False, "actions": [str(step) for step in steps]},
        f"{service_id}: removed",
    )


@click.command("status")
@id_option
@json_option
def status_command(service_id: str) -> None:
    """Show whether the reversed socket is installed and runs, and, for root, the address of its page."""
    from pommel.app.session import kvm_install

    found = kvm_install.status(service_id)
    if answered(dataclasses.asdict(found)):
        return
    pairs = {
        "service": f"{found.service_id} ({found.system})",
        "installed": "yes" if found.installed else f"no, these are missing: {', '.join(found.missing)}",
        "daemon": "runs" if found.running else "not running",
        "agent's launcher": f"watches for {', '.join(found.users)}" if found.users else "watches no sessions",
        "active session": found.session or "nobody's",
        "page": found.url,
        "certificate": found.tls_fingerprint and f"SHA-256 {found.tls_fingerprint}",
        "socket": found.socket,
    }
    print_pairs({name: text for name, text in pairs.items() if text})


@click.command("new-token")
@id_option
@run_option
@json_option
def new_token_command(service_id: str, run: Path | None) -> None:
    """Create a new link to the daemon's page; the old link stops working, and all viewers are disconnected.

    For a machine, type: pommel console NAME --new-token
    """
    from pommel.app.session import kvm_daemon

    serving = kvm_daemon.renew(kvm_daemon.places_of(service_id, run))
    if not answered(dataclasses.asdict(serving)):
        click.echo(serving.url)
        tell_fingerprint(serving.tls_fingerprint)


@click.command("view")
@click.argument("host", metavar="USER@HOST[:PORT]")
@listen_option
@tls_options
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option("--view-only", is_flag=True, help="Show the session, but accept no keyboard or mouse input.")
@json_option
def view_command(host: str, *, listen: str | None, tls: TlsWish, no_open: bool, view_only: bool) -> None:
    """Show the session of another system on a local page until Ctrl-C. First type: pommel guest install --host
    USER@HOST

    For a machine, type: pommel console NAME --session
    """
    from pommel.app.session import kvm_view

    def ready(viewed: kvm_view.Viewed) -> None:
        if not answered(_as_dict(viewed)):
            click.echo(f"{viewed.name}: {viewed.url}")
            tell_fingerprint(viewed.tls_fingerprint)
        if not no_open and sys.stdout.isatty():
            open_browser(viewed.url)

    serving = kvm_view.serve(
        host, listen=_listen(listen), typed=words_given(), view_only=view_only, tls=tls, on_ready=ready
    )
    asyncio.run(until_signal(serving))


@click.command("selftest")
@json_option
def selftest_command() -> int:
    """Test each part of the reversed socket on this system, and print a fix for each part that does not work."""
    from pommel.app.session import kvm_selftest

    checks = kvm_selftest.selftest(report=reporter())
    if not answered({"checks": [dataclasses.asdict(check) for check in checks]}):
        words = {True: "ok", False: "FAILED", None: "not tried"}
        print_table(("piece", "", "what was found"), [(one.piece, words[one.ok], one.text) for one in checks])
        for one in checks:
            if one.mend:
                click.echo(f"{one.piece}: {one.mend}", err=True)
    return 1 if any(one.ok is False for one in checks) else 0


COMMANDS = (
    daemon_command,
    agent_command,
    install_command,
    uninstall_command,
    status_command,
    new_token_command,
    view_command,
    selftest_command,
)


def ticket_of(msh: str | None) -> Ticket | None:
    """Read the .msh file that is named, if one is."""
    if msh is None:
        return None
    from pommel.app.mesh.ticket import read_ticket

    return read_ticket(msh)


def _log(line: str) -> None:
    click.echo(line, err=True)


def _as_dict(serving: Any) -> dict[str, Any]:
    """What serves, as one JSON object."""
    told = dataclasses.asdict(serving)
    return told | {"server_pid": told.pop("pid")}


def _show_plan(steps: tuple[Any, ...]) -> None:
    if answered({"actions": [str(step) for step in steps]}):
        return
    for step in steps:
        click.echo(str(step))
        if getattr(step, "mode", 0o644) & 0o077 == 0:
            continue  # what is for root alone is not for whoever reads this
        for line in getattr(step, "data", b"").decode().splitlines():
            click.echo(f"    {line}".rstrip())


def _listen(text: str | None) -> tuple[str | None, int | None]:
    from pommel.app.session.kvm import parse_listen

    found = parse_listen(text) if text else None
    return (found.host, found.port) if found else (None, None)


def _uid_of(user: str | None) -> int:
    import pwd

    from pommel.errors import UsageError

    try:
        return pwd.getpwnam(user).pw_uid if user else 0
    except KeyError:
        raise UsageError(f"there is no user {user!r} on this system") from None
