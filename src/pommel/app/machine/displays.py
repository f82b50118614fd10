"""A machine's displays: the adapter, the resolution, the number. Band: app.

They follow from the settings `display`, `resolution` and `displays`. `change` stores them in the machine's record, if
pommel.toml does not have them. They apply from the next start; only a virtio-gpu can get another resolution while it
runs.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pommel import locks
from pommel.app.disk import encryption
from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError, UsageError
from pommel.machine import adapters, firmware, permission, record, state, varstore
from pommel.machine.commandline import CommandLine
from pommel.machine.heads import socket_of
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn

if TYPE_CHECKING:
    from pommel.app.argv.commandline import PlannedCommand

ADAPTERS = tuple(adapters.CHOICES)
KEYS = ("display", "resolution", "displays")
_ANSWER_S = 10.0
_CONTENT = ("xres", "yres", "vgamem", "vgamem_mb", "max_outputs")


@dataclass(frozen=True, slots=True)
class ShownDisplay:
    """One display of the running machine, with its present size in pixels."""

    number: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class MachineDisplays:
    """A machine's displays. `adapter`: of the running QEMU, or else of the next start; None: unknown, or none.

    `resolution` is the setting. `pending`: the running machine differs from the next start.
    """

    name: str
    state: str
    adapter: str | None
    adapter_by: str
    resolution: str | None
    resolution_by: str
    outputs: int
    screens: tuple[ShownDisplay, ...]
    pending: bool

    def as_dict(self) -> dict[str, Any]:
        """The displays as one JSON object."""
        return {**asdict(self), "screens": list(map(asdict, self.screens))}


def listed(name: str, *, look_ahead: bool = True, workspace: Workspace | None = None) -> MachineDisplays:
    """The displays of machine `name`.

    Without `look_ahead`, its boot script is not run, so less is known if it is stopped.

    Raises:
        StateError: it has not been made.
        UpstreamError, ConfigError: with `look_ahead`: its next start would be refused.
    """
    workspace = workspace or Workspace.current()
    paths, said, spec = workspace.made(name), workspace.settings(name), workspace.spec(name)
    seen = state.observe(paths)
    now = _running_line(paths) if seen.alive else None
    ahead = _ahead(workspace, name) if look_ahead else None
    found = adapters.on_line(now or ahead or CommandLine("", ()))[:1] if now or ahead else ()
    pending = now is not None and (
        (ahead is not None and _content(now) != _content(ahead))
        or (
            spec.resolution is not None
            and paths.nvram.exists()
            and _of_firmware(now, spec.resolution) != _stored_size(paths)
        )
    )
    return MachineDisplays(
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
) -> MachineDisplays:
    """Store settings of machine `name` (keys: KEYS); None removes one.

    A running virtio-gpu gets its resolution at once.

    Raises:
        UsageError: pommel.toml or the environment sets one of them.
        ConfigError: the machine cannot have the value.
        StateError: it has not been made, sleeps or is golden.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    _refuse_said_elsewhere(workspace, name, wanted)
    from pommel.app.argv import commandline

    asked = {key: value for key, value in wanted.items() if value is not None}
    planned = commandline.command_line(workspace, name, asked)  # raises if the machine cannot have the values
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
    """For the doctor: the machine's displays, and whether its next start changes them."""
    if not workspace.paths(spec.name).record.exists():
        return
    try:
        seen = listed(spec.name, workspace=workspace)
    except PommelError:  # its next start would be refused; the doctor's group "upstream" says why
        seen = listed(spec.name, look_ahead=False, workspace=workspace)
    sizes = ", ".join(adapters.spelled((each.width, each.height)) for each in seen.screens)
    text = f"{seen.adapter or 'no adapter'}" + (
        f", {sizes}" if sizes else f", {seen.resolution}" if seen.resolution else ""
    )
    if seen.pending:
        yield "display", "warn", f"{text}; the settings say something else", f"pommel restart {spec.name}"
    else:
        yield "display", "ok", text, None


def tell_firmware(paths: MachinePaths, planned: PlannedCommand, *, throwaway: bool, report: Report = ignore) -> None:
    """Before a start, write the resolution into the NVRAM, so that the firmware begins with it.

    Raises:
        FirmwareError: the NVRAM cannot be read or written.
    """
    if (wanted := planned.spec.resolution) is None or throwaway:  # a throw-away start must not change the NVRAM
        return
    if said := firmware.tell_size(paths.nvram, _of_firmware(planned.overlaid.command_line, wanted)):
        warn(report, said)


def turn_on(paths: MachinePaths, planned: PlannedCommand, *, report: Report = ignore) -> None:
    """After a start, turn on the displays from the second on. QEMU starts them off until a viewer asks for a size."""
    size = adapters.parse_size(planned.spec.resolution) if planned.spec.resolution else (1280, 800)
    for number in range(2, planned.spec.displays + 1):
        _ask_for(paths, number, size, report)


def socket(paths: MachinePaths, number: int) -> Path:
    """The VNC socket of display `number` of a running machine; the first is 1.

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
    from pommel.app.argv import commandline

    return commandline.command_line(workspace, name).overlaid.command_line


def _running_line(paths: MachinePaths) -> CommandLine | None:
    """The command line of the machine's QEMU, from /proc; None: it has just ended."""
    try:
        words = Path(f"/proc/{locks.holder(paths.pidfile)}/cmdline").read_bytes().split(b"\0")[:-1]
        program, *rest = (word.decode("utf-8", "surrogateescape") for word in words)
        return CommandLine.parse(program, rest)
    except (OSError, ValueError, PommelError):
        return None


def _content(line: CommandLine) -> list[tuple[str, ...]]:
    """The parts of a command line that decide which displays there are."""
    found = adapters.on_line(line)
    names = {each.adapter.driver for each in found}
    more = [a.value or "" for a in line.find("global") if (a.value or "").partition(".")[0] in names]
    return [(each.adapter.driver, *(each.keyed.get(key) or "" for key in _CONTENT)) for each in found] + [tuple(more)]


def _of_firmware(line: CommandLine, resolution: str) -> tuple[int, int]:
    """The size for the firmware, which may differ from the wanted `resolution`: see `adapters.firmware_size`."""
    found = adapters.on_line(line)
    return adapters.firmware_size(found[0].adapter if found else None, adapters.parse_size(resolution))


def _stored_size(paths: MachinePaths) -> tuple[int, int] | None:
    """The size in the machine's NVRAM; None: there is none, or it is unknown."""
    try:
        return varstore.picture_size(paths.nvram.read_bytes())
    except (OSError, ValueError):
        return None


def _screens(paths: MachinePaths) -> Iterator[ShownDisplay]:
    from pommel.screen.desk_size import size_of

    for number, path in enumerate((paths.vnc, *paths.more_displays), 1):
        try:
            size = asyncio.run(size_of(path, _ANSWER_S))
        except (PommelError, OSError):  # it is ending; or its sockets were deleted, which `status` reports
            continue
        yield ShownDisplay(number, size.width, size.height)


def _tell_running(paths: MachinePaths, spec: MachineSpec, asked: Mapping[str, Any], report: Report) -> None:
    """Give the running guest the new resolution if its adapter can; note that the rest applies from the next start."""
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
