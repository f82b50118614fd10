"""`pommel usb list|attach|detach|permit`. Band: face."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

import click
from click.shell_completion import CompletionItem

from pommel.app.usb import devices as usb
from pommel.app.usb import plugging as usb_plugging
from pommel.cli.common import confirm, dry_run_option, json_option, name_argument, yes_option
from pommel.cli.output import answered, print_table, reporter, wants_json


def complete_device(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The devices of this host, for a shell's completion: their ids and their paths."""
    from pommel.errors import PommelError

    try:
        found = usb.on_host()
    except PommelError:
        return []
    rows = [(word, each.device.name) for each in found for word in (each.device.ids, each.device.path)]
    return [CompletionItem(word, help=text) for word, text in rows if word.startswith(incomplete)]


def complete_attached(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The devices of the machine that is named before, for a shell's completion."""
    from pommel.errors import PommelError

    try:
        found = usb.listed(str(ctx.params.get("name", "")), must_answer=False)
    except PommelError:
        return []
    return [
        CompletionItem(row.usb_device, help=row.description)
        for row in found.usb
        if row.usb_device.startswith(incomplete)
    ]


once_option = click.option(
    "--once", is_flag=True, help="Only until the machine stops; what is stored for the next starts does not change."
)


@click.group("usb")
def usb_command() -> None:
    """Attach USB devices of this host to machines.

    A DEVICE is VENDOR:PRODUCT (05ac:12a8), the path of its USB port (1-2.3), its serial number, or a part of its
    name.
    """


@usb_command.command("list")
@name_argument(required=False)
@json_option
def list_command(name: str | None) -> None:
    """List the USB devices of this host, or those of machine NAME."""
    if name is not None:
        told = usb.listed(name)
        _show(told)
        if not wants_json():
            _print_findings((row.usb_device, row.findings) for row in told.usb if not row.in_guest)
        return
    found = usb.on_host()
    if answered({"usb_devices": [each.as_dict() for each in found]}):
        return
    rows = [
        (each.device.path, each.device.ids, f"{each.device.speed_mbps:g} Mb/s", each.device.name, each.machine or "")
        for each in found
    ]
    print_table(("PATH", "ID", "SPEED", "NAME", "IN"), rows)
    _print_findings((each.device.path, each.findings) for each in found)


@usb_command.command("attach")
@name_argument()
@click.argument("device", nargs=-1, required=True, shell_complete=complete_device)
@once_option
@json_option
def attach_command(name: str, device: tuple[str, ...], once: bool) -> None:
    """Attach DEVICE to machine NAME, now and at each start. It is attached again after it was unplugged and plugged
    in.

    \b
    pommel usb attach sonoma 05ac:12a8      an iPhone, in whichever mode it is
    pommel usb attach sonoma 1-2.3          whatever is plugged in there
    pommel usb attach sonoma "yubikey" --once
    """
    _show(usb_plugging.attach(name, device, once=once, report=reporter()))


@usb_command.command("detach")
@name_argument()
@click.argument("device", nargs=-1, required=True, shell_complete=complete_attached)
@once_option
@json_option
def detach_command(name: str, device: tuple[str, ...], once: bool) -> None:
    """Detach DEVICE from machine NAME, as if it were unplugged. Eject its disks in the guest first."""
    _show(usb_plugging.detach(name, device, once=once))


@usb_command.command("permit")
@click.argument("device", nargs=-1, required=True, shell_complete=complete_device)
@dry_run_option
@yes_option
def permit_command(device: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Get permission to open DEVICE, by a udev rule. The rule is shown first, and written with sudo."""
    wanted = usb_plugging.permission(device)
    if not wanted.lines:
        click.echo(
            f"{wanted.path} has this rule already; if the device cannot be opened, unplug it and plug it in again",
            err=True,
        )
        return
    click.echo(f"for {wanted.path}:", err=True)
    for line in wanted.lines:
        click.echo(line)
    if dry_run:
        return
    confirm(
        "Write this file as root, and have udev apply it?",
        yes=yes,
        typed=f"pommel usb permit {shlex.join(device)} --yes",
    )
    usb_plugging.permit(wanted)
    click.echo(f"{wanted.path} is written", err=True)


def _show(told: usb.Devices) -> None:
    if answered(told.as_dict()):
        return
    rows = [
        (row.usb_device, row.description, row.usb_path or "not plugged in", _now(told, row), row.origin)
        for row in told.usb
    ]
    print_table(("DEVICE", "NAME", "ON THIS HOST", "NOW", "BY"), rows)


def _print_findings(found: Iterable[tuple[str, Sequence[usb.UsbFinding]]]) -> None:
    for device, findings in found:
        for finding in findings:
            click.echo(f"{device}: {finding.text}" + (f"; {finding.fix}" if finding.fix else ""), err=True)


def _now(told: usb.Devices, row: usb.UsbRow) -> str:
    if told.state in ("stopped", "crashed", "absent"):
        return told.state
    if row.in_guest:
        return "in the guest"
    return "waits for it" if row.live else "from the next start on"
