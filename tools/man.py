"""The man pages, from the same source as the site's reference: pommel(1) and pommel.toml(5).

    python3 tools/man.py FOLDER        writes FOLDER/man1/pommel.1 and FOLDER/man5/pommel.toml.5

In groff's man macros (groff_man(7)). Needs pommel to be importable.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference

_VERBATIM = "\b"  # click: the paragraph that begins with it keeps its lines
_COMMAND = """\
.SH NAME
pommel \\- run macOS virtual machines on Linux, and show their screen in the browser
.SH SYNOPSIS
.B pommel
.RI [ COMMAND ]
.RI [ OPTIONS ]
.SH DESCRIPTION
Pommel starts QEMU with the arguments that a macOS machine needs, and gives you the machine's screen, keyboard, mouse
and clipboard on a page in your browser, from the boot picker on.
.PP
Without a command, on a terminal:
.BR "pommel menu" ,
a screen to look after all machines. To begin, type
.BR "pommel up trial" .
Every command says what it can do with
.BR \\-\\-help .
"""
_AFTER_COMMANDS = """\
.SH EXIT STATUS
.TP
.B 0
It is done.
.TP
.B 1
It failed.
.TP
.B 2
The command, or pommel.toml, is not as it must be.
.TP
.B 3
The machine's state does not allow it.
.TP
.B 130
Ctrl-C was pressed.
.SH ENVIRONMENT
.TP
.B POMMEL_CONFIG
The pommel.toml to use, wherever it lies.
.TP
.B POMMEL_HOME
The folder for machines, base images and recovery images, in place of
.IR ~/.local/share/pommel .
.TP
.BR POMMEL_MEMORY " and the like"
Settings of a machine: see
.BR pommel.toml (5).
.SH FILES
.TP
.I pommel.toml
Settings, in the current folder, in a parent folder or in
.IR ~/.config/pommel .
.TP
.I ~/.local/share/pommel/machines/
One folder for each machine: its disk, keys, logs and record.
.SH SEE ALSO
.BR pommel.toml (5),
.BR qemu\\-system\\-x86_64 (1),
.BR ssh (1)
"""
_SETTINGS = """\
.SH NAME
pommel.toml \\- settings of Pommel's virtual machines
.SH DESCRIPTION
A TOML file with a table for each machine. It lies in the current folder, in a parent folder or in
.IR ~/.config/pommel .
It must belong to you or to root, and nobody else may write to it. No machine needs one.
.PP
.B "pommel config NAME"
shows each value of a machine and where it comes from. A key is also an environment variable, which counts more than the
file:
.B memory
is
.BR POMMEL_MEMORY .
An option of a command, such as
.BR \\-\\-memory ,
counts more than both. Where there is no default, the boot script's own choice stays, or Pommel chooses for this host
and says why.
.SH EXAMPLE
.nf
[machine.work]
macos = "sonoma"
memory = "16G"
ssh_port = 2200

[machine.second\\-trial]
upstream = "trial"
disk = "20G"
.fi
.SH SETTINGS
"""
_AFTER_SETTINGS = """\
.SH SEE ALSO
.BR pommel (1)
"""


def commands() -> str:
    """pommel(1)."""
    lines = [_head("POMMEL", 1), _COMMAND]
    for group, found in reference.groups().items():
        lines.append(f".SH {_text(group.upper())}\n")
        for command in found:
            for each in command.all():
                lines += _command(each)
    return "".join([*lines, _AFTER_COMMANDS])


def settings() -> str:
    """pommel.toml(5)."""
    lines = [_head("POMMEL.TOML", 5), _SETTINGS]
    for key in reference.settings():
        default = "There is no default." if key.default is None else f"The default is `{key.default}`."
        said = f"{_sentence(key.help)} It must be {_sentence(key.kind)} {default}"
        lines.append(f".TP\n.B {_quoted(key.name)}\n{_text(said)}\n")
    return "".join([*lines, _AFTER_SETTINGS])


def write(folder: Path) -> list[Path]:
    """Write both pages below `folder`, and return where they are."""
    pages = {folder / "man1" / "pommel.1": commands(), folder / "man5" / "pommel.toml.5": settings()}
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(pages)


def _head(title: str, section: int) -> str:
    version, day = reference.released()
    # Ragged right and no hyphenation: an address or an option in the middle of a line stays what one can copy.
    return f""".\\" Made by tools/man.py.
.TH {_quoted(title)} {section} {_quoted(day)} "Pommel {version}"
.nh
.ad l
"""


def _command(command: reference.Command) -> Iterator[str]:
    yield f".SS {_quoted(command.path)}\n"
    yield f".B {_quoted(command.usage)}\n"
    for paragraph in command.help.split("\n\n"):
        if paragraph.startswith(_VERBATIM):
            lines = paragraph.removeprefix(_VERBATIM).strip("\n").splitlines()
            yield ".PP\n.nf\n" + "".join(f"{_text(line)}\n" for line in lines) + ".fi\n"
        elif paragraph.strip():
            yield f".PP\n{_text(' '.join(paragraph.split()))}\n"
    for words, text in command.options:
        yield f".TP\n.B {_quoted(words)}\n{_text(' '.join(text.split()))}\n"


def _sentence(text: str) -> str:
    """With a full stop, and its first letter as it is: `true`, `vCPUs` and `macOS` stay."""
    return " ".join(text.split()).removesuffix(".") + "."


def _escaped(text: str) -> str:
    """A backslash is groff's own; a bare minus would be shown as a hyphen, which no shell takes."""
    return text.replace("\\", "\\e").replace("-", "\\-")


def _text(text: str) -> str:
    """A line of text; what is in backticks is bold. A line that begins with . or ' would be a request."""
    escaped = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _escaped(text))
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _quoted(text: str) -> str:
    """An argument of a macro."""
    return '"' + _escaped(text).replace('"', "\\(dq") + '"'


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for written in write(Path(sys.argv[1])):
        print(written)
