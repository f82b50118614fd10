"""`pommel start|stop|restart|suspend|resume|sleep|wake`. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel import locks
from pommel.app.machine import machines, power
from pommel.cli.boot import boot_choice, boot_options
from pommel.cli.common import (
    clipboard_option,
    confirm,
    json_option,
    machine_options,
    name_argument,
    split_flags,
    yes_option,
)
from pommel.cli.output import answer, answered, reporter, wants_json
from pommel.cli.waiting import await_machine, wait_options
from pommel.errors import MachineError, UsageError


@click.command("start")
@name_argument()
@boot_options
@click.option("--foreground", is_flag=True, help="Stay in the foreground until the machine ends; Ctrl-C shuts it down.")
@click.option(
    "--watch",
    is_flag=True,
    help="Stay in the foreground, and start it again if it crashes; Ctrl-C ends only the watch.",
)
@click.option("--headless", is_flag=True, help="Do not open a console page; this is the default of start.")
@wait_options
@clipboard_option
@machine_options
@json_option
def start_command(
    name: str,
    foreground: bool,
    watch: bool,
    headless: bool,
    until: str | None,
    wait_timeout: float | None,
    **options: Any,
) -> None:
    """Start machine NAME in the background. It keeps running when this terminal closes.

    The installer is attached until macOS is installed; Pommel detects this from the size of the disk. Returns when
    QEMU runs, or, with --wait, when the guest has reached that state; with --watch, this applies to each start.
    """
    report = reporter()
    choice, installed = boot_choice(options)
    flags = split_flags(options)
    seen = power.start(name, flags=flags, choice=choice, installed=installed, report=report)
    if not (foreground or watch):
        _answer_started(seen, until, wait_timeout)
        return
    try:
        _answer_started(seen, until, wait_timeout, stays=watch)
        ended = power.stay(name, watch=watch, flags=flags, choice=choice, until=until, report=report)
    except KeyboardInterrupt:
        if not watch:
            click.echo("shutting down; press Ctrl-C again to leave it running", err=True)
            power.stop(name, report=report)
        raise
    if ended.how == "crashed":
        raise MachineError(f"{name} crashed: {ended.detail}", hint=f"pommel log {name}")
    click.echo(f"{name} has ended: {ended.detail}", err=True)


def _answer_started(seen: machines.Status, until: str | None, timeout_s: float | None, *, stays: bool = True) -> None:
    """Say that a machine has been started, once it is as far as --wait says."""
    waited = await_machine(seen.name, until, timeout_s, stays=stays) if until else None
    if waited is not None:
        seen = machines.status(seen.name)
    answer(
        seen.as_dict() | ({"waited": waited.as_dict()} if waited else {}),
        f"{seen.name} is {seen.state} ({locks.whom(seen.pid)}, {seen.ssh})",
    )


@click.command("stop")
@name_argument(required=False)
@click.option("--all", "every", is_flag=True, help="Stop all running machines.")
@click.option(
    "-f", "--force", is_flag=True, help="End QEMU without shutting the guest down. The guest's disk may need a check."
)
@click.option(
    "--timeout", type=float, help="How many seconds the guest may need to shut down.  [default: stop_timeout, 60]"
)
@json_option
def stop_command(name: str | None, every: bool, force: bool, timeout: float | None) -> None:
    """Shut machine NAME down: over SSH, then by its power button, then by QEMU's quit, then by kill. Prints which
    one worked."""
    if every == (name is not None):
        raise UsageError("give the name of one machine, or pass --all", hint="pommel stop NAME")
    report = reporter()
    done = {}
    for one in machines.running() if every else [str(name)]:
        done[one] = power.stop(one, timeout_s=timeout, force=force, report=report)
        if not wants_json():
            click.echo(f"{one} has stopped ({done[one]})")
    rows = [{"name": one, "state": "stopped", "how": how} for one, how in done.items()]
    if answered({"machines": rows} if every else rows[0]):
        return
    if not done:
        click.echo("nothing runs", err=True)


@click.command("restart")
@name_argument()
@click.option("-f", "--force", is_flag=True, help="End QEMU without shutting the guest down.")
@click.option(
    "--timeout", type=float, help="How many seconds the guest may need to shut down.  [default: stop_timeout, 60]"
)
@wait_options
@json_option
def restart_command(
    name: str, force: bool, timeout: float | None, until: str | None, wait_timeout: float | None
) -> None:
    """Stop machine NAME, and start it again with the same options."""
    seen = power.restart(name, force=force, timeout_s=timeout, report=reporter())
    _answer_started(seen, until, wait_timeout)


@click.command("suspend")
@name_argument()
def suspend_command(name: str) -> None:
    """Pause machine NAME; its memory stays in the host's memory. To continue: pommel resume NAME"""
    power.suspend(name)
    click.echo(f"{name} is suspended")


@click.command("resume")
@name_argument()
def resume_command(name: str) -> None:
    """Continue the paused machine NAME."""
    power.resume(name)
    click.echo(f"{name} continues")


@click.command("sleep")
@name_argument()
def sleep_command(name: str) -> None:
    """Save machine NAME with its memory to its disk, and stop it. The next start continues from this state."""
    power.sleep(name, report=reporter())
    click.echo(f"{name} sleeps. To wake it: pommel start {name}")


@click.command("wake")
@name_argument()
@click.option("--forget", is_flag=True, help="Discard its saved memory instead: it boots as after a power cut.")
@yes_option
@wait_options
@json_option
def wake_command(name: str, forget: bool, yes: bool, until: str | None, wait_timeout: float | None) -> None:
    """Start the sleeping machine NAME from its saved state; `start` does the same."""
    if forget:
        again = f"pommel wake {name} --forget --yes"
        confirm(f"The saved memory of {name} will be lost. Continue?", yes=yes, typed=again)
        power.forget_sleep(name)
        click.echo(f"{name} will boot at its next start")
        return
    _answer_started(power.start(name, report=reporter()), until, wait_timeout)
