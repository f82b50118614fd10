"""A planned command line for people and programs: as rows, as shell text, as one JSON object. Band: app."""

from __future__ import annotations

from typing import Any

from pommel.app.argv.commandline import PlannedCommand
from pommel.machine import explain


def explained(planned: PlannedCommand) -> list[tuple[str, str, str]]:
    """Rows of argument, origin and reason. Removed arguments are last and are marked."""
    return [
        (("removed: " if row.state == "removed" else "") + row.argument, row.origin, row.reason)
        for row in explain.explain(planned.overlaid, planned.differences)
    ]


def as_shell(planned: PlannedCommand) -> str:
    """The command line, quoted for a shell."""
    return explain.as_shell(planned.overlaid.command_line)


def as_dict(planned: PlannedCommand) -> dict[str, Any]:
    """The command line and its explanation as one JSON object."""
    return {
        "name": planned.spec.name,
        "accel": planned.accel.kind,
        "accel_reason": planned.accel.reason,
        "upstream_folder": str(planned.captured.cwd),
        "sandboxed": planned.captured.sandboxed,
        "qemu": {"path": str(planned.qemu.path), "reason": planned.qemu.reason} if planned.qemu else None,
        "host_effects": list(planned.captured.facts.effects),
        "environment": dict(planned.captured.facts.environment),
        "left_out": list(planned.captured.facts.left_out),
        "notes": list(planned.captured.notes),
        "argv": list(planned.overlaid.command_line.argv),
        "warnings": list(planned.warnings),
        "arguments": explain.as_json(explain.explain(planned.overlaid, planned.differences)),
    }
