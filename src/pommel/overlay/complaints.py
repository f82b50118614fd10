"""The hints for a boot script that starts no QEMU, from its output. Band: core, no I/O."""

from __future__ import annotations

import errno
import os
import re
import signal

_UNSET = re.compile(r"(?<!\w)([A-Za-z_]\w*|\d+): (?:unbound variable|parameter (?:null or )?not set|variable not set)")
# "set the SYSTEM_DISK environment variable", "VM_NAME is not set", "RAM must be set": the name is in capitals.
_WANTED = re.compile(
    r"(?:variable\s+[\"'`$]?([A-Z][A-Z0-9_]{1,40})\b"
    r"|\b([A-Z][A-Z0-9_]{1,40})[\"'`]?\s+(?:environment\s+)?"
    r"(?:variable|is not set|not set|must be set|is unset|is required))"
)
_USAGE = re.compile(
    r"\busage\b|missing (?:argument|operand|parameter)|(?:requires?|expects?|needs?) .{0,20}argument", re.I
)
_OWN_ARGUMENTS = re.compile(r"\$\{?[1-9@*#]|\bgetopts?\b|\bshift\b")
_PROMPT = re.compile(r"""\bread\s+(?:-\w+\s+)*-\w*p\s*(?:"([^"\n]*)"|'([^'\n]*)'|(\S+))""")
_READ_ONLY = os.strerror(errno.EROFS)


def ending(status: int) -> str:
    """How a script ended, by its exit status; a shell and bubblewrap report a death by signal N as 128 + N."""
    number = -status if status < 0 else status - 128
    if number in {known.value for known in signal.Signals}:
        return f"was killed by {signal.Signals(number).name}"
    return f"failed with exit status {status}" if status else "ended"


def hint(output: str, text: str, args: tuple[str, ...]) -> str | None:
    """The hint for a script with the text `text` that was called with `args` and printed `output`; None: unknown."""
    if unset := _UNSET.search(output):
        return _arguments() if unset[1].isdecimal() else _variable(unset[1])
    if _USAGE.search(output):
        return _arguments()
    if wanted := _WANTED.search(output):
        return _variable(wanted[1] or wanted[2])
    if _READ_ONLY in output:
        return (
            "it writes outside of its folder, which is read-only for it: run it once by hand, or set another "
            "boot_script"
        )
    if not args and _OWN_ARGUMENTS.search(text):
        return f"if the script needs arguments, {_arguments()}"
    return None


def prompt_of(text: str) -> str | None:
    """The first question in a script's text: bash prints the prompt of `read -p` only to a terminal."""
    found = _PROMPT.search(text)
    return next((part for part in found.groups() if part), None) if found else None


def prompt_hint() -> str:
    """The hint for a script that asks a question."""
    return 'answer it with boot_input = ["…"], with one text for each line that the script reads'


def timeout_hint(limit_s: float) -> str:
    """The hint for a script that took longer than `limit_s` seconds."""
    return f"if it needs longer, set boot_timeout = {max(30, round(limit_s * 3))} (seconds)"


def _arguments() -> str:
    return 'set boot_args = ["…"]: the arguments for the script'


def _variable(name: str) -> str:
    return f'set boot_env = {{ {name} = "…" }}: variables for the script'
