"""`pommel forward NAME add|remove|list`. Band: face."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from pommel.app.network import forwarding, forwards
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import answered, print_table, reporter
from pommel.errors import UsageError


def complete_forward(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ways that can be removed, for a shell's completion."""
    from pommel.errors import PommelError

    if ctx.params.get("verb") != "remove":
        return []
    try:
        found = forwards.listed(str(ctx.params.get("name", "")))
    except PommelError:
        return []
    ways = (
        [each.service for each in found.reverse] if ctx.params.get("reverse") else [w.forward for w in found.forwards]
    )
    return [CompletionItem(way) for way in ways if way.startswith(incomplete)]


@click.command("forward")
@name_argument()
@click.argument("verb", type=click.Choice(["list", "add", "remove"]), default="list")
@click.argument("ways", nargs=-1, metavar="[FORWARD]...", shell_complete=complete_forward)
@click.option(
    "--reverse", is_flag=True, help="Forward in the other direction: give the guest access to services of this host."
)
@click.option(
    "--once", is_flag=True, help="Only until the machine stops; what is stored for the next starts does not change."
)
@json_option
def forward_command(name: str, verb: str, ways: tuple[str, ...], reverse: bool, once: bool) -> None:
    """Forward ports of this host to machine NAME, now and at each start.

    \b
    pommel forward sonoma add 8080:80                127.0.0.1:8080 of this host leads to port 80 of the guest
    pommel forward sonoma add 5353:53/udp 0.0.0.0:8443:443    the second for other computers too
    pommel forward sonoma remove 8080:80
    pommel forward sonoma list
    pommel forward sonoma add --reverse 5432:127.0.0.1:5432   a service of this host, for the guest
    """
    if (verb == "list") == bool(ways):
        example = "5432:127.0.0.1:5432" if reverse else "8080:80"
        hint = f"pommel forward {name} {verb} {'--reverse ' if reverse else ''}{example}"
        raise UsageError("list takes no FORWARD argument" if ways else f"{verb} which?", hint=None if ways else hint)
    if reverse and once:
        raise UsageError("--once and --reverse cannot be used together: QEMU sets up reverse forwards at its start")
    if verb == "list":
        told = forwards.listed(name)
    elif verb == "add":
        told = (
            forwarding.add_reverse(name, ways, report=reporter())
            if reverse
            else forwarding.add(name, ways, once=once, report=reporter())
        )
    else:
        told = forwarding.remove_reverse(name, ways) if reverse else forwarding.remove(name, ways, once=once)
    if answered(told.as_dict()):
        return
    print_table(("ON THIS HOST", "", "IN THE GUEST", "NOW", "BY"), _rows(told))


def _rows(told: forwards.Ways) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (_spell(each.host, each.port), "→", f"{each.guest_port}/{each.protocol}", _now(told, each.live), each.origin)
        for each in told.forwards
    ]
    return rows + [
        (each.target, "←", f"{each.guest_address}:{each.guest_port}/tcp", _now(told, each.live), each.origin)
        for each in told.reverse
    ]


def _spell(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _now(told: forwards.Ways, live: bool) -> str:
    if told.state in ("stopped", "crashed", "absent"):
        return told.state
    return "live" if live else "from the next start on"
