"""No function, class, name or attribute in src/ that nothing uses: vulture, over all that could use it."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).parents[1]
WHERE_USED = ("src", "tests", "fuzz", "bench", "tools", "samples")

# Used by something that vulture does not see: file (a pattern under src/pommel) -> names.
USED_ELSEWHERE = {
    "__init__.py": ["__getattr__"],  # a module's own (PEP 562)
    "cli/*.py": ["*_command"],  # found by its name, or added to its group by the decorator
    "cli/main.py": ["format_commands"],  # click calls it
    "cli/unattended_up.py": ["format_options"],
    "cli/output.py": ["overflow"],  # rich reads it
    "pytest_plugin.py": ["pytest_addoption", "pommel_machine"],  # pytest finds them by their names
    "menu/*.py": [
        "BINDINGS",
        "CSS_PATH",
        "ENABLE_*",
        "VERTICAL_*",
        "action_*",
        "on_*",
        "compose",
        "border_title",
        "theme",
    ],
    "sftp/zipping.py": ["compress_type", "external_attr", "flush"],  # zipfile reads and calls them
    "adopt/libvirt.py": ["*Handler"],  # expat calls them
    "opencore/plist.py": ["*Handler"],
    "clipboard/picture.py": ["MAX_IMAGE_PIXELS"],  # Pillow reads it
    "machine/qmp.py": ["event_filter"],  # qemu.qmp reads it
    "screen/rfb_link.py": ["connection_lost", "pause_writing", "resume_writing", "sizehint"],  # asyncio.Protocol
    "x11_display.py": ["*_classes", "*extension_*", "keysym_translations"],  # python-xlib reads or calls them
    "screen/video.py": ["pix_fmt", "framerate", "gop_size", "time_base", "color_*", "thread_count", "pts", "pict_type"],
    # What a JSON object or a record has: dataclasses.asdict and ** read and write these.
    "app/machine/machines.py": ["console_pid"],
    "machine/cloning.py": ["shares_blocks"],
    "app/throwaway/running.py": ["made_s", "ready_s", "command_s", "from_memory", "from_pool", "kept_machine"],
    "app/throwaway/archives.py": ["uid", "gid", "uname", "gname"],  # tarfile reads them
    # Numbers of a protocol, whole although not all of them are spoken.
    "mesh/mesh_agent.py": ["SET_CORE", "PROGRAM_UPDATE", "PROGRAM_BLOCK", "CORE_IS_FINE"],
    "mesh/handshake.py": ["INTRODUCTION"],
    "wire/numbers.py": ["*"],
}


def test_nothing_in_src_is_unused() -> None:
    vulture = Vulture()
    vulture.scavenge([str(ROOT / name) for name in WHERE_USED])
    source = ROOT / "src" / "pommel"
    found = [
        f"{item.filename.relative_to(ROOT)}:{item.first_lineno} {item.name}"
        for item in vulture.get_unused_code(min_confidence=60)
        if item.filename.is_relative_to(source) and not _is_used(str(item.filename.relative_to(source)), item.name)
    ]
    assert found == []


def _is_used(file: str, name: str) -> bool:
    return any(
        fnmatch.fnmatch(file, pattern) and fnmatch.fnmatch(name, known)
        for pattern, names in USED_ELSEWHERE.items()
        for known in names
    )
