"""`pommel clone|rename|golden|info`. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app.guest import clock
from pommel.app.machine import clones, memory
from pommel.app.machine.info import info
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import answered, print_json, print_pairs, reporter, wants_json
from pommel.cli.waiting import wait_timeout_option
from pommel.errors import UsageError
from pommel.settings import format_size


@click.command("clone")
@name_argument()
@click.argument("new")
@click.option(
    "--linked/--full",
    default=None,
    help="Store only the differences; the base must then stay unchanged.  [default: full]",
)
@click.option("--keep-identity", is_flag=True, help="Keep UUID, MAC address and serial numbers.")
@click.option("--model", help="The Mac model, such as iMac20,1.  [default: the model of the base]")
@json_option
def clone_command(name: str, new: str, linked: bool | None, keep_identity: bool, model: str | None) -> None:
    """Create machine NEW as a copy of the stopped machine NAME, with a new identity.

    A linked clone is created at once and takes almost no disk space; NAME cannot be started or deleted while it has
    linked clones. Clones of a golden machine are linked unless you pass --full.
    """
    made = clones.clone(name, new, linked=linked, keep_identity=keep_identity, model=model, report=reporter())
    if wants_json():
        print_json(info(new))
    else:
        click.echo(f"{new} is created from {name} (ssh on port {made.ssh_port})")


@click.command("rename")
@name_argument()
@click.argument("new")
def rename_command(name: str, new: str) -> None:
    """Rename the stopped machine NAME to NEW."""
    clones.rename(name, new)
    click.echo(f"{name} is now called {new}")
    click.echo(f"a [machine.{name}] in pommel.toml must be renamed by hand", err=True)


@click.command("golden")
@name_argument()
@click.option("--off", is_flag=True, help="Remove the mark, and the saved memory.")
@click.option(
    "--memory",
    is_flag=True,
    help="Boot it first, wait for its SSH, and save its memory: throw-away machines then start in seconds.",
)
@click.option(
    "--wait",
    "until",
    type=click.Choice(["ssh", "desktop"]),
    default="ssh",
    show_default=True,
    help="With --memory: what to wait for.",
)
@wait_timeout_option
def golden_command(name: str, off: bool, memory: bool, until: str, wait_timeout: float | None) -> None:
    """Mark the stopped machine NAME as a base for clones. It can then be started only with --throwaway."""
    if memory and off:
        raise UsageError("--memory and --off contradict each other")
    if memory:
        from pommel.app.throwaway import warming

        warming.save(name, until=until, wait_timeout_s=wait_timeout, report=reporter())
    else:
        clones.golden(name, not off)
    click.echo(f"{name} is {'a machine like any other' if off else 'golden'} now")


@click.command("info")
@name_argument()
@json_option
def info_command(name: str) -> None:
    """Show all details of machine NAME: identity, disks, snapshots, clones, and its origin."""
    told = info(name)
    if answered(told):
        return
    print_pairs({key: value for key, value in _fields(told).items() if value})


def _fields(told: dict[str, Any]) -> dict[str, str]:
    identity = told["identity"]
    disks = [_disk(each) for each in told["disks"]]
    return {
        "name": told["name"],
        "state": told["state"],
        "macOS": told["macos"] or "",
        "upstream": told["upstream"],
        "created": told["created"],
        "clone of": told["clone_of"] or "",
        "golden": "yes" if told["golden"] else "",
        "encrypted": f"yes; the passphrase: {told['passphrase_at']}" if told["encrypted"] else "",
        "linked clones": ", ".join(told["linked_clones"]),
        "uuid": identity["uuid"],
        "mac": identity["mac"],
        "model": identity["model"] or "",
        "serial": identity["serial"] or "",
        "board serial": identity["board_serial"] or "",
        "rom": identity["rom"] or "",
        "disks": "; ".join(disks),
        "snapshots": ", ".join(each["tag"] for each in told["snapshots"]),
        "memory": memory.spell_known(told["memory"]) if told["memory"] else "",
        "clock": _clock(told["clock"]) if told["clock"] else "",
        "saved": _schedule(told["schedule"]) if told["schedule"] else "",
        "ssh": (f"127.0.0.1:{told['ssh_port']}" if told["ssh_port"] else "its own address") + f" as {told['ssh_user']}",
        "forwards": "; ".join(_way(each, told["state"]) for each in told["forwards"] if each["origin"] != "ssh"),
        "reverse": "; ".join(
            f"{each['target']} at {each['guest_address']}:{each['guest_port']}" for each in told["reverse"]
        ),
        "usb": "; ".join(_usb(each) for each in told["usb"]),
        "backups": "; ".join(f"{each['path']}/{each['point']}" for each in told["backups"]),
        "shares": "; ".join(_share(each) for each in told["shares"]),
        "display": _graphics(told["graphics"]),
        "settings": told["config"] or "",
        "folder": told["directory"] or "",
    }


def _disk(told: dict[str, Any]) -> str:
    return f"{told['name']} {format_size(told['virtual_bytes'] or 0)}, {format_size(told['actual_bytes'])} used"


def _clock(told: dict[str, Any]) -> str:
    """The last measurement of the guest's clock, and its time."""
    last = told["offset_s"] if told["after_s"] is None else told["after_s"]
    why = f" ({told['why']})" if told["why"] else ""
    return f"{clock.spell(last)} at {told['time'][:16].replace('T', ' ')}Z{why}"


def _schedule(told: dict[str, Any]) -> str:
    """The times of the last and of the next automatic snapshot."""
    if told["failure"]:
        last = f"the last one failed: {told['failure']}"
    else:
        last = f"last {told['last'][:16].replace('T', ' ')}Z" if told["last"] else "none yet"
    later = (
        f"next {told['next'][:16].replace('T', ' ')}" if told["timer"] else "no timer: pommel snapshot timer install"
    )
    return f"each {told['every']}, {told['kept']} of {told['keep']} kept; {last}; {later}"


def _way(told: dict[str, Any], state: str) -> str:
    later = "" if told["live"] or state == "stopped" else " (not now)"
    return f"{told['forward'].rpartition(':')[0]} to {told['guest_port']}/{told['protocol']}{later}"


def _share(each: dict[str, Any]) -> str:
    how = ("read-only" if each["read_only"] else "read and write") + (", by 9p" if each["by"] == "9p" else "")
    return f"{each['host_folder']} at {each['guest_folder']} ({each['problem'] or how})"


def _graphics(told: dict[str, Any]) -> str:
    now = [f"{each['width']}x{each['height']}" for each in told["screens"]]
    words = [told["adapter"] or "the boot script's", *(now or filter(None, [told["resolution"]]))]
    return ", ".join(words) + ("; another from the next start on" if told["pending"] else "")


def _usb(told: dict[str, Any]) -> str:
    where = "in the guest" if told["in_guest"] else told["usb_path"] or "not plugged in"
    return f"{told['usb_device']} {told['description']}".strip() + f" ({where})"
