"""Reads the facts about the host's processor. Band: shell.

It does not judge them: `accel` tests whether KVM works, and macOS's requirements are not known here.
"""

from __future__ import annotations

from pathlib import Path

from pommel.host.cpu_facts import Cpu, describe

__all__ = ["Cpu", "read_cpu"]


def read_cpu(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Cpu:
    """Read the facts from /proc and /sys. What does not exist or cannot be read is left out."""
    devices = sys / "devices"
    return describe(
        _text(proc / "cpuinfo"),
        _text(proc / "self/status"),
        core_types=[name for name in ("cpu_core", "cpu_atom") if (devices / name).is_dir()],
        clocksource=_text(devices / "system/clocksource/clocksource0/current_clocksource"),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
