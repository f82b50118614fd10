"""`pommel kvm`: keyboard, video and mouse of a login session. Band: face."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import click

from pommel.app.console.tls import TlsWish
from pommel.app.session import kvm
from pommel.cli.common import json_option, tell_fingerprint, tls_options, words_given
from pommel.cli.kvm_session import COMMANDS, msh_option, ticket_of
from pommel.cli.output import answered
from pommel.cli.running import open_browser, until_signal


@click.group("kvm")
def kvm_command() -> None:
    """Show and control a login session: its screen, keyboard and mouse."""


@kvm_command.command("serve")
@click.option(
    "--source", type=click.Choice(kvm.SOURCES), help="Which kind of session to serve.  [default: this system's kind]"
)
@click.option(
    "--display",
    metavar="DISPLAY",
    help="The X server or Wayland display to serve, such as :0 or wayland-1.  [default: this session's]",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where to listen; if the port is in use, the next free port. Anyone who has the token can control the "
    "session.  [default: 127.0.0.1:8600]",
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="A host name by which browsers reach the page.")
@tls_options
@click.option("--view-only", is_flag=True, help="Show the session, but accept no keyboard or mouse input.")
@msh_option
@click.option("--open", "browse", is_flag=True, help="Open the page in the browser.")
@json_option
def serve_command(
    source: str | None,
    display: str | None,
    listen: str | None,
    tls: TlsWish,
    msh: str | None,
    browse: bool,
    **who: Any,
) -> None:
    """Serve this session on a local page until it ends or you press Ctrl-C; the exit status is 0 in both cases.

    The first line on stdout is the page's address with its access token; with --json, an object with `url` and `ws`.
    """

    where = kvm.parse_listen(listen) if listen else kvm.Listen()

    again = []

    def ready(served: kvm.Served) -> None:
        again.append(served.again)
        names = ("source", "display", "url", "ws", "tls_fingerprint")
        if not answered({name: getattr(served, name) for name in names} | {"server_pid": served.pid}):
            click.echo(served.url)
            tell_fingerprint(served.tls_fingerprint)
            click.echo(f"serving {served.display}; Ctrl-C ends it, the session keeps running", err=True)
        if browse:
            open_browser(served.url)

    reason = asyncio.run(
        until_signal(
            kvm.serve(
                source or kvm.default_source(display),
                display=display,
                listen=dataclasses.replace(where, typed=words_given(), tls=tls),
                view_only=who["view_only"],
                allowed_hosts=who["allow_host"],
                ticket=ticket_of(msh),
                on_mesh=lambda line: click.echo(line, err=True),
                on_ready=ready,
            )
        )
    )
    if reason:
        click.echo(f"{reason}; the page is no longer served", err=True)
        for command in again:
            click.echo(f"to serve it again: {command}", err=True)


for command in COMMANDS:
    kvm_command.add_command(command)
