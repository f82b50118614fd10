"""`pommel unattended`. Band: face."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from pommel.app.unattended import script_disk
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answered

_FILE = click.Path(dir_okay=False, path_type=Path)
_READ = click.Path(dir_okay=False, exists=True, path_type=Path)


@click.group("unattended")
def unattended_command() -> None:
    """Make the disk whose scripts install macOS in Apple's Recovery, and set it up. No Mac has run them yet."""


@unattended_command.command("disk")
@name_argument()
@click.argument("file", type=_FILE)
@click.option("--stage", type=click.Choice(["install", "provision"]), required=True, help="What the scripts are to do.")
@click.option("--accept-apple-licence", "licence", is_flag=True, help="You accept Apple's licence for macOS.")
@click.option("--full-installer", "full", is_flag=True, help="Install from Apple's full installer, which is here.")
@click.option("--user", help="The user that is made, such as ada.")
@click.option("--full-name", help="The user's full name.  [default: the user name]")
@click.option("--password-file", type=_READ, metavar="FILE", help="A file with the user's password.")
@click.option("--ssh-key", "ssh_keys", type=_READ, multiple=True, metavar="FILE", help="A public key. Can be repeated.")
@click.option("--locale", help="Language and region, such as de_DE.")
@click.option("--keyboard", help="Keyboard layout, such as de.")
@click.option("--timezone", help="Time zone, such as Europe/Berlin.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing file.")
@dry_run_option
@json_option
def disk_command(
    name: str,
    file: Path,
    stage: script_disk.Stage,
    user: str | None,
    force: bool,
    dry_run: bool,
    **more: Any,
) -> None:
    """Make FILE, a disk with scripts for machine NAME: for --stage install, then again for --stage provision.

    The first stage erases the machine's disk, unless it holds a system, and has Apple's installer install macOS. The
    second one makes the account, and turns SSH on. docs/unattended.md has the steps between. With --full-installer
    the first stage fetches nothing: `pommel installer fetch` has fetched it before.
    """
    install = script_disk.Install(more.pop("licence"), more.pop("full"))
    wish = script_disk.Account(user, **more) if user is not None else None
    made = script_disk.make(name, file, stage, account_wish=wish, install=install, force=force, dry_run=dry_run)
    if answered(made.as_dict()):
        return
    click.echo(f"{'would write' if dry_run else 'wrote'} {made.path}: for the disk with {made.size_bytes} bytes")
    click.echo(f"attach it by: qemu_args = {list(made.qemu_args)}", err=True)
    click.echo(f"type in Recovery's Terminal: {made.typed}", err=True)
    line = shlex.quote(f"line={made.typed}")
    click.echo(f"or have it typed: pommel recipe run {name} recovery-terminal --set {line}", err=True)
