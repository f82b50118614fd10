"""`pommel share NAME [FOLDER]` and `pommel unshare NAME SHARE`. Band: face."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from pommel.app.share import changes as share_changes
from pommel.app.share import mounting as share_mounting
from pommel.app.share import sharing
from pommel.app.share.changes import SharePlan
from pommel.app.share.sharing import WAYS
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answered, print_table, reporter
from pommel.errors import UsageError


def complete_share(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shares that can be taken back, for a shell's completion."""
    from pommel.errors import PommelError

    try:
        found = sharing.listed(str(ctx.params.get("name", "")))
    except PommelError:
        return []
    rows = [row for row in found.shares if row.origin == sharing.ADDED and row.share.startswith(incomplete)]
    return [CompletionItem(row.share, help=row.host_folder) for row in rows]


@click.command("share")
@name_argument()
@click.argument("folder", required=False, type=click.Path())
@click.option("--as", "called", metavar="NAME", help="What the guest calls it.  [the folder's own name]")
@click.option("--read-only", is_flag=True, help="The guest may read it, and change nothing.")
@click.option(
    "--by",
    type=click.Choice(WAYS),
    help="smb, which every guest takes at once; or 9p, which is quicker, for Linux, from the next start on.  [smb]",
)
@click.option("--mount", "mount_now", is_flag=True, help="Have the running guest mount what is shared with it.")
@click.option("--wait", is_flag=True, help="With --mount: wait until the guest is up.")
@dry_run_option
@json_option
def share_command(name: str, folder: str | None, mount_now: bool, wait: bool, dry_run: bool, **how: Any) -> None:
    """Share FOLDER of this host with machine NAME, now and at each start. Without FOLDER: list what is shared.

    \b
    pommel share sonoma ~/work                     in the guest: /Volumes/work
    pommel share sonoma ~/music --as songs --read-only
    pommel share mybox ~/work --by 9p              quicker, for Linux; from the next start on
    pommel share sonoma
    """
    if folder is None and (dry_run or any(how.values())):
        raise UsageError("which folder?", hint=f"pommel share {name} ~/work")
    if folder is not None and mount_now:
        raise UsageError("--mount takes no folder: a share is mounted as it is made")
    if wait and not mount_now:
        raise UsageError("--wait goes with --mount", hint=f"pommel share {name} --mount --wait")
    if folder is not None:
        how["by"] = how["by"] or sharing.SMB
        told = share_changes.share(name, folder, dry_run=dry_run, report=reporter(), **how)
    else:
        if mount_now:
            share_mounting.mount(name, wait=wait, report=reporter())
        told = sharing.listed(name)
    _show(told)


@click.command("unshare")
@name_argument()
@click.argument("share", shell_complete=complete_share)
@dry_run_option
@json_option
def unshare_command(name: str, share: str, dry_run: bool) -> None:
    """Stop sharing SHARE with machine NAME: the guest loses it, and the folder does not change."""
    _show(share_changes.unshare(name, share, dry_run=dry_run, report=reporter()))


def _show(told: sharing.Shares | SharePlan) -> None:
    if answered(told.as_dict()):
        return
    if isinstance(told, SharePlan):
        for step in told.would:
            click.echo(step)
    else:
        rows = [
            (
                *(row.host_folder, row.guest_folder, row.by, "read-only" if row.read_only else "", _now(told, row)),
                row.origin,
            )
            for row in told.shares
        ]
        print_table(("ON THIS HOST", "IN THE GUEST", "BY", "", "NOW", "FROM"), rows)


def _now(told: sharing.Shares, row: sharing.ShareRow) -> str:
    if row.problem is not None:
        return row.problem
    if told.state in ("stopped", "crashed", "absent"):
        return told.state
    return "live" if row.live else "from the next start on"
