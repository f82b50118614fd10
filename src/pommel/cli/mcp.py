"""`pommel mcp`. Band: face."""

from __future__ import annotations

import asyncio
import importlib.util
import shlex
import sys

import click

from pommel.cli.common import complete_name, json_option
from pommel.cli.output import answered, wants_json
from pommel.cli.running import until_signal
from pommel.errors import MissingProgram, UsageError
from pommel.process import this_python

_INSTALL = shlex.join(this_python("-m", "pip", "install", "mcp>=2.3"))


@click.command("mcp")
@click.option("--http", is_flag=True, help="Serve by HTTP on 127.0.0.1, with a token, instead of on stdin and stdout.")
@click.option("--port", type=click.IntRange(1, 65535), help="With --http: the port.  [default: a free one]")
@click.option(
    "--machine",
    "machines",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_name,
    help="A machine that clients may use; repeat it for more, '*' is all.  [default: all, to look at only]",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="TOOLS",
    help="What clients may do besides looking: start, stop, click, scroll, drag, type, key, clipboard_get, "
    "clipboard_set, run, file_read, file_write; or input, clipboard, files, all.",
)
@click.option("--view-only", is_flag=True, help="Clients may only look, whatever pommel.toml allows.")
@click.option(
    "--log-text", is_flag=True, help="Write typed text, commands and clipboard text to the machine's log too."
)
@click.option("--show", is_flag=True, help="Print what would be allowed, and serve nothing.")
@json_option
def mcp_command(
    http: bool,
    port: int | None,
    machines: tuple[str, ...],
    allow: tuple[str, ...],
    view_only: bool,
    log_text: bool,
    show: bool,
) -> None:
    """Serve machines to programs that speak the Model Context Protocol, such as AI assistants.

    A client starts this command and talks to it on stdin and stdout: pommel mcp --machine trial --allow input

    Clients may look at screens; everything else is refused unless --allow, or [mcp] in pommel.toml, names it.
    """
    from pommel.app.mcp.permissions import permissions
    from pommel.app.workspace import Workspace

    if port is not None and not http:
        raise UsageError("--port goes with --http", hint=f"pommel mcp --http --port {port}")
    if wants_json() and not show:
        raise UsageError("--json goes with --show", hint="pommel mcp --show --json")
    workspace = Workspace.current()
    allowed = permissions(workspace.file, allow=allow, machines=machines, view_only=view_only, log_text=log_text)
    for name in allowed.machines:
        if name != "*":
            workspace.settings(name)  # which refuses a name that no machine has
    if show:
        _show(allowed.tools(), allowed.machines)
        return
    if importlib.util.find_spec("mcp") is None:
        raise MissingProgram("the MCP SDK for Python is not installed", hint=_INSTALL)
    from pommel.app.mcp.server import McpListener, McpServer

    def tell(listening: McpListener) -> None:
        click.echo(f"{listening.url}  (its token: {listening.token_file}; Ctrl-C ends it)", err=True)

    server = McpServer(workspace, allowed)
    if http:
        asyncio.run(until_signal(server.serve_http(port or 0, tell)))
        return
    if sys.stdin.isatty():
        click.echo("An MCP client is to start this command; it waits on stdin. Ctrl-C ends it.", err=True)
    asyncio.run(server.serve_stdio())


def _show(tools: tuple[str, ...], machines: tuple[str, ...]) -> None:
    if answered({"tools": list(tools), "allowed_machines": list(machines)}):
        return
    click.echo(f"tools: {', '.join(tools)}")
    click.echo(f"machines: {', '.join(machines) or 'all, to look at only'}")
