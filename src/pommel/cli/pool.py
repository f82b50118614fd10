"""`pommel pool [IMAGE]`. Band: face."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import click

from pommel.app.throwaway import pool
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_base, dry_run_option, json_option
from pommel.cli.output import answered, print_table, reporter
from pommel.cli.run import told_to_end
from pommel.errors import UsageError


@click.command("pool")
@click.argument("image", required=False, shell_complete=complete_base)
@click.option("--size", type=click.IntRange(0), metavar="N", help="How many machines to keep warm; 0: none.")
@click.option("--memory", help="RAM size of each, such as 8G.")
@click.option("--wait", is_flag=True, help="With --size: wait until all of them are warm.")
@click.option("--stop", is_flag=True, help="End all warm machines, and keep none.")
@click.option("--serve", is_flag=True, hidden=True)
@dry_run_option
@json_option
def pool_command(
    image: str | None, size: int | None, memory: str | None, *, wait: bool, stop: bool, serve: bool, dry_run: bool
) -> None:
    """Keep clones of IMAGE, a stopped machine or NAME:TAG, started for `pommel run`. Without --size: list the pools.

    \b
    pommel pool trial --size 2 --wait
    pommel run trial -- true
    pommel pool trial --size 0

    A background process starts them, and starts another one when one is taken. IMAGE cannot be started or changed
    while it has warm machines.
    """
    if serve:
        _serve()
    elif stop or size is not None:
        _change(image, size, memory, wait=wait, stop=stop, dry_run=dry_run)
    elif memory is not None or wait or dry_run:
        raise UsageError("how many machines?", hint=f"pommel pool {image or 'IMAGE'} --size 2")
    else:
        _show(pool.listed(), image)


def _change(image: str | None, size: int | None, memory: str | None, *, wait: bool, stop: bool, dry_run: bool) -> None:
    if stop and (image is not None or size is not None):
        raise UsageError("--stop ends all pools", hint="for one: pommel pool IMAGE --size 0")
    if image is None and not stop:
        raise UsageError("which image?", hint=f"pommel pool trial --size {size}")
    if dry_run:
        steps = ["end all warm machines, and keep none"] if stop else pool.plan(image or "", size or 0, memory)
        _would(steps)
    elif stop:
        pool.stop(report=reporter())
        _show(pool.listed(), None)
    else:
        told = pool.resize(image or "", size or 0, memory=memory, wait=wait, report=reporter(brief=True))
        _show(told, None)


def _would(steps: list[str]) -> None:
    if not answered({"would": steps}):
        for step in steps:
            click.echo(f"would {step}")


def _show(told: pool.Pools, image: str | None) -> None:
    rows = [row for row in told.pools if image in (None, row.pool_image)]
    if answered(replace(told, pools=rows).as_dict()):
        return
    if rows:
        cells = [(row.pool_image, str(row.pool_size), str(row.warm), _now(row)) for row in rows]
        print_table(("IMAGE", "SIZE", "WARM", "NOW"), cells)
    else:
        click.echo("no machine is kept warm. To keep some: pommel pool IMAGE --size 2", err=True)


def _now(row: pool.Row) -> str:
    if row.problem is not None:
        return row.problem
    return "one is being started" if row.making else ""


def _serve() -> None:
    """Be the process that keeps the pools, until a signal."""
    from pommel.app.throwaway import pool_process

    with contextlib.suppress(KeyboardInterrupt), told_to_end():
        pool_process.serve(Workspace.current(), report=reporter(brief=True))
