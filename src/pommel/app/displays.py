"""A machine's displays: which adapter, how large a picture, how many. Band: app.

The settings `display`, `resolution` and `displays` say so; `change` keeps them with the machine, where pommel.toml says
nothing. All of it holds from the next start. A virtio-gpu is told another size while it runs.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pommel import locks
from pommel.app import encryption
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError, UsageError
from pommel.machine import adapters, firmware, permission, record, state, varstore
from pommel.machine.commandline import CommandLine
from pommel.machine.heads import socket_of
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn

if TYPE_CHECKING:
    from pommel.app.commandline import Planned

ADAPTERS = tuple(adapters.CHOICES)
KEYS = ("display", "resolution", "displays")
_ANSWER_S = 10.0
_CONTENT = ("xres", "yres", "vgamem", "vgamem_mb", "max_outputs")


@dataclass(frozen=True, slots=True)
class Screen:
    """One display that the running machine shows, and the size of its picture now, in pixels."""

    number: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Displays:
    """A machine's displays. `adapter` is the running QEMU's, else the next start's; None: it is not known, or none.

    `resolution` is what is asked for, and `pending` whether the running machine has something else than the next start.
    """

    name: str
    state: str
    adapter: str | None
    adapter_by: str
    resolution: str | None
    resolution_by: str
    outputs: int
    screens: tuple[Screen, ...]
    pending: bool

    def as_dict(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return {**asdict(self), "screens": list(map(asdict, self.screens))}


def listed(name: str, *, look_ahead: bool = True, workspace: Workspace | None = None) -> Displays:
    """The displays of machine `name`. Without `look_ahead` its boot script is not run: less is known of a stopped one.

    Raises:
        StateError: it has not been made.
        UpstreamError, ConfigError: with `look_ahead`, its next start is refused.
    """
    workspace = workspace or Workspace.current()
    paths, said, spec = workspace.made(name), workspace.settings(name), workspace.spec(name)
    seen = state.observe(paths)
    now = _running_line(paths) if seen.alive else None
    ahead = _ahead(workspace, name) if look_ahead else None
    found = adapters.on_line(now or ahead or CommandLine("", ()))[:1] if now or ahead else ()
    pending = now is not None and (
        (ahead is not None and _content(now) != _content(ahead))
        or (spec.resolution is not None and paths.nvram.exists() and _of_firmware(now, spec.resolution) != _told(paths))
    )
    return Displays(
        name,
        str(seen.state),
        found[0].adapter.driver if found else adapters.CHOICES.get(spec.display or ""),
        "boot script" if spec.display is None else said["display"].source,
        spec.resolution,
        "boot disk and firmware" if spec.resolution is None else said["resolution"].source,
        spec.displays,
        tuple(_screens(paths)) if seen.alive else (),
        pending,
    )


def change(
    name: str,
    wanted: Mapping[str, Any],
    *,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Displays:
    """Keep settings of machine `name`, by the keys of KEYS; None takes one back. A running virtio-gpu is told at once.

    Raises:
        UsageError: pommel.toml or the environment says one of them already.
        ConfigError: the machine cannot have it.
        StateError: it has not been made, sleeps or is golden.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    _refuse_said_elsewhere(workspace, name, wanted)
    from pommel.app import commandline

    asked = {key: value for key, value in wanted.items() if value is not None}
    planned = commandline.command_line(workspace, name, asked)  # which refuses what cannot be
    for line in planned.overlaid.warnings:
        if line.startswith("resolution"):
            warn(report, line)
    with encryption.unlocked(workspace, name), permission.working_on(paths, permission.DISPLAY_SET, report=report):
        kept = record.load(paths.record)
        settings = {key: value for key, value in (kept.settings or {}).items() if key not in wanted}
        settings |= {key: getattr(planned.spec, key) for key in asked}
        if not dry_run:
            record.save(paths.record, replace(kept, settings=settings or None))
    if not dry_run:
        _tell_running(paths, planned.spec, asked, report)
    return listed(name, workspace=workspace)


def checks(workspace: Workspace, spec: MachineSpec) -> Iterator[tuple[str, Literal["ok", "warn"], str, str | None]]:
    """For the doctor: what the machine shows, and whether its next start changes that."""
    if not workspace.paths(spec.name).record.exists():
        return
    try:
        seen = listed(spec.name, workspace=workspace)
    except PommelError:  # its next start is refused, which the group of the upstream tells
        seen = listed(spec.name, look_ahead=False, workspace=workspace)
    sizes = ", ".join(adapters.spelled((each.width, each.height)) for each in seen.screens)
    text = f"{seen.adapter or 'no adapter'}" + (
        f", {sizes}" if sizes else f", {seen.resolution}" if seen.resolution else ""
    )
    if seen.pending:
        yield "display", "warn", f"{text}; the settings say something else", f"pommel restart {spec.name}"
    else:
        yield "display", "ok", text, None


def tell_firmware(paths: MachinePaths, planned: Planned, *, throwaway: bool, report: Report = ignore) -> None:
    """Before a start, have the machine's firmware begin with a picture of the size that is asked for.

    Raises:
        FirmwareError: its variables cannot be read or written.
    """
    if (wanted := planned.spec.resolution) is None or throwaway:  # which writes nothing
        return
    if said := firmware.tell_size(paths.nvram, _of_firmware(planned.overlaid.command_line, wanted)):
        warn(report, said)


def turn_on(paths: MachinePaths, planned: Planned, *, report: Report = ignore) -> None:
    """After a start, have QEMU tell the guest that its further displays are there: they are off until somebody does."""
    size = adapters.parse_size(planned.spec.resolution) if planned.spec.resolution else (1280, 800)
    for number in range(2, planned.spec.displays + 1):
        _ask_for(paths, number, size, report)


def socket(paths: MachinePaths, number: int) -> Path:
    """The VNC socket of display `number` of a running machine, counted from 1.

    Raises:
        StateError: it has no such display.
    """
    path = Path(socket_of(str(paths.vnc), number))
    if number > 1 and not path.exists():
        count = 1 + len(paths.more_displays)
        raise StateError(
            f"{paths.name} runs with {count} display{'s' if count > 1 else ''}, so there is no display {number}",
            hint=f"pommel display {paths.name} --displays {number}, then: pommel restart {paths.name}",
        )
    return path


def _refuse_said_elsewhere(workspace: Workspace, name: str, wanted: Mapping[str, Any]) -> None:
    said = workspace.settings(name)
    for key in wanted:
        if said[key].source in ("file", "environment"):
            raise UsageError(f"{said[key].where} says {key} = {said[key].value}", hint="change it there")


def _ahead(workspace: Workspace, name: str) -> CommandLine:
    from pommel.app import commandline

    return commandline.command_line(workspace, name).overlaid.command_line


def _running_line(paths: MachinePaths) -> CommandLine | None:
    """The command line of the machine's QEMU, by the kernel; None: it has just gone."""
    try:
        words = Path(f"/proc/{locks.holder(paths.pidfile)}/cmdline").read_bytes().split(b"\0")[:-1]
        program, *rest = (word.decode("utf-8", "surrogateescape") for word in words)
        return CommandLine.parse(program, rest)
    except (OSError, ValueError, PommelError):
        return None


def _content(line: CommandLine) -> list[tuple[str, ...]]:
    """What of a command line decides which displays there are."""
    found = adapters.on_line(line)
    names = {each.adapter.driver for each in found}
    more = [a.value or "" for a in line.find("global") if (a.value or "").partition(".")[0] in names]
    return [(each.adapter.driver, *(each.keyed.get(key) or "" for key in _CONTENT)) for each in found] + [tuple(more)]


def _of_firmware(line: CommandLine, resolution: str) -> tuple[int, int]:
    """The size that the firmware is told where `resolution` is asked for."""
    found = adapters.on_line(line)
    return adapters.firmware_size(found[0].adapter if found else None, adapters.parse_size(resolution))


def _told(paths: MachinePaths) -> tuple[int, int] | None:
    """The size that the machine's firmware was told at its start; None: none, or it is not known."""
    try:
        return varstore.picture_size(paths.nvram.read_bytes())
    except (OSError, ValueError):
        return None


def _screens(paths: MachinePaths) -> Iterator[Screen]:
    from pommel.screen.desk_size import size_of

    for number, path in enumerate((paths.vnc, *paths.more_displays), 1):
        try:
            size = asyncio.run(size_of(path, _ANSWER_S))
        except (PommelError, OSError):  # it is going, or its sockets are gone, which `status` says
            continue
        yield Screen(number, size.width, size.height)


def _tell_running(paths: MachinePaths, spec: MachineSpec, asked: Mapping[str, Any], report: Report) -> None:
    """Have the running guest told what can be told while it runs, and say what waits for the next start."""
    line = _running_line(paths) if state.observe(paths).alive else None
    if line is None:
        return
    live = any(each.adapter.outputs > 1 for each in adapters.on_line(line))
    if spec.resolution is not None and "resolution" in asked and live:
        for number in range(1, len(paths.more_displays) + 2):
            _ask_for(paths, number, adapters.parse_size(spec.resolution), report)
        note(
            report,
            f"the adapter offers {spec.resolution} to the guest; the guest changes to it if its driver supports that",
        )
    again = shlex.join(("pommel", "restart", paths.name))
    note(report, f"it applies from the next start. To apply it now: {again}")


def _ask_for(paths: MachinePaths, number: int, size: tuple[int, int], report: Report) -> None:
    from pommel.screen.desk_size import ask_for
    from pommel.screen.geometry import Size

    try:
        asyncio.run(ask_for(socket(paths, number), Size(*size), _ANSWER_S))
    except (PommelError, OSError) as failure:
        warn(report, f"display {number} did not get its size, and may stay off: {failure}")
