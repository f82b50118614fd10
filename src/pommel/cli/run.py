"""`pommel run`. Band: face."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pommel.app.throwaway import running
from pommel.app.throwaway.job import FAILED, Job, parse_copy_out, parse_variables
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_base, dry_run_option, json_option
from pommel.cli.output import answered, print_error, reporter, wants_json
from pommel.errors import PommelError

TOLD_TO_END = {signal.SIGTERM: 143, signal.SIGHUP: 129}  # 128 and the signal, as in shells


class _Run(click.Command):
    """A command whose own failures, also wrong options, exit with 125: other statuses are from the guest's command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click does."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as wrong:
            wrong.show()
            raise SystemExit(FAILED) from None


@click.command("run", cls=_Run)
@click.argument("image", shell_complete=complete_base)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--copy-in",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Copy what is in this folder to the folder in which the command runs.",
)
@click.option(
    "--copy-out",
    multiple=True,
    metavar="PATH[=DIR]",
    help="Copy this file or folder of the guest to DIR of this host afterwards, even if the command failed.  [default: "
    "the current folder]",
)
@click.option(
    "--env", multiple=True, metavar="NAME[=VALUE]", help="A variable for the command; without a value: as it is here."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End the command after this time, and exit with 124.",
)
@click.option("--memory", help="RAM size, such as 8G.")
@click.option(
    "--pool/--no-pool", "pooled", default=True, help="Whether to take a warm machine of `pommel pool`.  [--pool]"
)
@click.option("--keep-on-failure", is_flag=True, help="Keep the machine, running, if anything fails.")
@dry_run_option
@json_option
def run_command(image: str, command: tuple[str, ...], dry_run: bool, **options: Any) -> int:
    """Run COMMAND in a new linked clone of IMAGE, a stopped machine or NAME:TAG, and delete the clone afterwards.

    If `pommel pool` keeps machines of IMAGE warm, one of those is used.

    pommel run trial --copy-in . --copy-out result.txt -- sh -c 'make >result.txt'

    The command's words are used as they are, without a shell, in the folder pommel-run of the user's home folder. Its
    output appears at once, it can read standard input, and its exit status is the exit status of this command. If
    Pommel itself fails, that is 125; if the command took longer than --timeout, 124. With --json the output of the
    command goes to standard error.
    """
    try:
        with told_to_end() as ended:
            job = _job(command, **options)
            if dry_run:
                return _show(running.plan(image, job))
            done = running.run(image, job, to_stderr=wants_json(), report=reporter(brief=True))
    except PommelError as failure:
        print_error(failure, as_json=wants_json(), status=FAILED)
        return FAILED
    except KeyboardInterrupt:
        if not ended:
            raise
        return TOLD_TO_END[ended[0]]
    answered(done.as_dict())
    return done.status


def _job(
    command: tuple[str, ...], *, env: tuple[str, ...], copy_out: tuple[str, ...], timeout: float | None, **more: Any
) -> Job:
    workspace = Workspace.current()
    outs = tuple(parse_copy_out(word, workspace.cwd) for word in copy_out)
    return Job(command, parse_variables(env, workspace.env), copy_out=outs, timeout_s=timeout, **more)


def _show(steps: list[str]) -> int:
    if not answered({"would": steps}):
        for step in steps:
            click.echo(f"would {step}")
    return 0


@contextlib.contextmanager
def told_to_end() -> Iterator[list[signal.Signals]]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does; the list has the signal that came."""
    came: list[signal.Signals] = []

    def end(number: int, _frame: object) -> None:
        came.append(signal.Signals(number))
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, end) for sign in TOLD_TO_END}
    try:
        yield came
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
