"""A planned command line as people and programs are shown it: rows, words for a shell, one JSON object. Band: app."""

from __future__ import annotations

from typing import Any

from pommel.app.commandline import Planned
from pommel.machine import explain


def explained(planned: Planned) -> list[tuple[str, str, str]]:
    """Rows of argument, origin and reason; removed arguments last, marked so."""
    return [
        (("removed: " if row.state == "removed" else "") + row.argument, row.origin, row.reason)
        for row in explain.explain(planned.overlaid, planned.differences)
    ]


def as_shell(planned: Planned) -> str:
    """The command line as a shell takes it."""
    return explain.as_shell(planned.overlaid.command_line)


def as_dict(planned: Planned) -> dict[str, Any]:
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
