"""`pommel disk list|resize|compact|add|check`. Band: face."""

from __future__ import annotations

import click

from pommel.app import disks
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import print_json, print_table, reporter
from pommel.errors import PommelError, UsageError
from pommel.settings import format_size, parse_size

disk_option = click.option("--disk", "called", default=disks.MAIN, show_default=True, help="Which disk.")


@click.group("disk")
def disk_command() -> None:
    """A machine's disks."""


@disk_command.command("list")
@name_argument()
@json_option
def list_command(name: str, as_json: bool) -> None:
    """List the disks of machine NAME: size, room taken on the host, and what could be given back."""
    found = disks.listed(name, ask=True)
    if as_json:
        print_json({"name": name, "disks": [each.as_dict() for each in found]})
        return
    rows = [
        (
            each.name,
            format_size(each.virtual_bytes) if each.virtual_bytes else "?",
            format_size(each.actual_bytes),
            "linked" if each.linked else "",
            each.advice,
        )
        for each in found
    ]
    print_table(("DISK", "SIZE", "USED", "", "ADVICE"), rows)


@disk_command.command("resize")
@name_argument()
@click.argument("size")
@disk_option
@json_option
def resize_command(name: str, size: str, called: str, as_json: bool) -> None:
    """Make a disk of machine NAME SIZE large, such as 120G. It can grow, not shrink; the machine may run.

    The guest then grows its partition: in macOS, diskutil apfs resizeContainer disk0s2 0
    """
    made = disks.resize(name, _size(size), called=called)
    if as_json:
        print_json(made.as_dict())
    else:
        click.echo(f"{name}: {called} is {format_size(made.virtual_bytes or 0)} now")


@disk_command.command("compact")
@name_argument()
@disk_option
@json_option
def compact_command(name: str, called: str, as_json: bool) -> None:
    """Give back what the guest of the stopped machine NAME has freed, by writing the disk anew."""
    done = disks.compact(name, called=called, report=reporter())
    if as_json:
        print_json({"name": name, "disk": called, "before_bytes": done.before_bytes, "after_bytes": done.after_bytes})
    else:
        before, after = format_size(done.before_bytes), format_size(done.after_bytes)
        click.echo(f"{name}: {called} took {before}, and takes {after} now")


@disk_command.command("add")
@name_argument()
@click.argument("called", metavar="DISK")
@click.argument("size")
@json_option
def add_command(name: str, called: str, size: str, as_json: bool) -> None:
    """Give machine NAME a further disk, called DISK. A running machine sees it when it is next started."""
    made = disks.add(name, called, _size(size))
    if as_json:
        print_json(made.as_dict())
    else:
        click.echo(f"{name} has the disk {called} now, {format_size(made.virtual_bytes or 0)}")


@disk_command.command("check")
@name_argument()
@disk_option
@json_option
def check_command(name: str, called: str, as_json: bool) -> None:
    """Look for damage in a disk of the stopped machine NAME. Changes nothing; exits 1 on damage."""
    found = disks.check(name, called=called)
    if as_json:
        print_json({"name": name, "disk": called, "sound": found.sound, "leaked_clusters": found.leaked})
    else:
        wasted = f", {found.leaked} clusters are wasted (compact gives them back)" if found.leaked else ""
        click.echo(f"{name}: {called} is sound{wasted}" if found.sound else found.detail)
    if not found.sound:
        raise PommelError(f"{called} of {name} is damaged", hint=f"put a snapshot back: pommel snapshot list {name}")


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as wanted:
        raise UsageError(f"SIZE must be {wanted}, not {text!r}") from None
