"""`pommel disk list|resize|compact|add|move|check`. Band: face."""

from __future__ import annotations

from pathlib import Path

import click

from pommel.app.disk import disks
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answer, answered, print_table, reporter
from pommel.errors import PommelError, UsageError
from pommel.settings import format_size, parse_size

disk_option = click.option("--disk", "called", default=disks.MAIN, show_default=True, help="Which disk.")


@click.group("disk")
def disk_command() -> None:
    """Manage a machine's disks."""


@disk_command.command("list")
@name_argument()
@json_option
def list_command(name: str) -> None:
    """List the disks of machine NAME: size, space used on the host, and space that could be freed."""
    found = disks.listed(name, ask=True)
    if answered({"name": name, "disks": [each.as_dict() for each in found]}):
        return
    rows = [
        (
            each.name,
            format_size(each.virtual_bytes) if each.virtual_bytes else "?",
            format_size(each.actual_bytes),
            ", ".join(word for word, on in (("linked", each.linked), ("encrypted", each.encrypted)) if on),
            each.file if Path(each.path).is_symlink() else "",
            each.advice,
        )
        for each in found
    ]
    print_table(("DISK", "SIZE", "USED", "", "LIES AT", "ADVICE"), rows)


@disk_command.command("resize")
@name_argument()
@click.argument("size")
@disk_option
@json_option
def resize_command(name: str, size: str, called: str) -> None:
    """Grow a disk of machine NAME to SIZE, such as 120G. A disk cannot shrink. The machine may be running.

    Then grow the partition in the guest; in macOS: diskutil apfs resizeContainer disk0s2 0
    """
    made = disks.resize(name, _size(size), called=called)
    answer(made.as_dict(), f"{name}: {called} is {format_size(made.virtual_bytes or 0)} now")


@disk_command.command("compact")
@name_argument()
@disk_option
@dry_run_option
@json_option
def compact_command(name: str, called: str, dry_run: bool) -> None:
    """Return disk space that the guest of machine NAME has freed to the host.

    If the machine runs, its guest trims its file systems (Linux: fstrim, which needs root in the guest); this needs
    no free space and keeps snapshots. If the machine is stopped, the disk is rewritten; this needs space for the
    copy, and there must be no snapshots.
    """
    told = {"name": name, "disk": called}
    if dry_run:
        how, found = disks.look_compact(name, called=called)
        if answered({**told, "how": how, "before_bytes": found.actual_bytes, "after_bytes": None, "dry_run": True}):
            return
        would = "the guest would trim its file systems" if how == "trim" else "the disk would be rewritten"
        click.echo(f"{name}: {would}; {called} takes {format_size(found.actual_bytes)}; {found.advice}")
        return
    done = disks.compact(name, called=called, report=reporter())
    sizes = {"before_bytes": done.before_bytes, "after_bytes": done.after_bytes}
    if not answered({**told, "how": done.how, **sizes, "dry_run": False}):
        before, after = format_size(done.before_bytes), format_size(done.after_bytes)
        click.echo(f"{name}: {called} used {before}, and now uses {after}")


@disk_command.command("add")
@name_argument()
@click.argument("called", metavar="DISK")
@click.argument("size")
@json_option
def add_command(name: str, called: str, size: str) -> None:
    """Add a disk called DISK to machine NAME. A running machine sees it after its next start."""
    made = disks.add(name, called, _size(size))
    answer(made.as_dict(), f"{name} now has the disk {called}, {format_size(made.virtual_bytes or 0)}")


@disk_command.command("move")
@name_argument()
@click.argument("path", type=click.Path(path_type=Path))
@disk_option
@dry_run_option
@json_option
def move_command(name: str, path: Path, called: str, dry_run: bool) -> None:
    """Move a disk of the stopped machine NAME to PATH, a folder or a file, for example on another drive.

    The machine's folder then contains a link to it. The copy is compared with the old file before the old file is
    deleted. To move the disk back, give the machine's folder as PATH (pommel info NAME shows it).
    """
    if dry_run:
        place = disks.look_move(name, path, called=called)
    else:
        place = disks.move(name, path, called=called, report=reporter())
    told = {"name": name, "disk": called, "from": str(place.old), "to": str(place.new), "copies": place.copies}
    if answered({**told, "bytes": place.takes_bytes, "free_bytes": place.free_bytes, "dry_run": dry_run}):
        return
    if not dry_run:
        click.echo(f"{name}: {called} is now at {place.new}")
        return
    how = f"is copied ({format_size(place.takes_bytes)})" if place.copies else "is not copied: one file system"
    click.echo(f"{name}: {called} would move from {place.old} to {place.new}")
    click.echo(f"it {how}; {format_size(place.free_bytes)} are free there")


@disk_command.command("check")
@name_argument()
@disk_option
@json_option
def check_command(name: str, called: str) -> None:
    """Check a disk of the stopped machine NAME for damage. Changes nothing; exits 1 on damage."""
    found = disks.check(name, called=called)
    if not answered({"name": name, "disk": called, "sound": found.sound, "leaked_clusters": found.leaked}):
        wasted = f", {found.leaked} clusters are unused (compact frees them)" if found.leaked else ""
        click.echo(f"{name}: {called} is sound{wasted}" if found.sound else found.detail)
    if not found.sound:
        raise PommelError(
            f"{called} of {name} is damaged", hint=f"restore a snapshot; to list them: pommel snapshot list {name}"
        )


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as wanted:
        raise UsageError(f"SIZE must be {wanted}, not {text!r}") from None
