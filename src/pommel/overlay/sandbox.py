"""A sandbox in which an upstream's script can do no harm. Band: shell.

With bubblewrap: the disk read-only, a copy of the upstream's folder in its place, home folders empty except for what
the script needs (`shown`), an empty /tmp, /run and /var/tmp, no network, no sockets, no other processes. The stand-in
replaces every QEMU of the host, and is put where the script looks for a missing one. If bubblewrap is missing or the
kernel forbids user namespaces (containers), a script is run only for a start, in the copy, with the stand-in on PATH;
a script that could then start a real QEMU is refused before.
"""

from __future__ import annotations

import functools
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import inheritors
from pommel.errors import CommandFailed, DeadlineError, MissingProgram
from pommel.overlay import seccomp, shown
from pommel.overlay.shown import VisibleFolders
from pommel.overlay.standin import QEMU, is_qemu, names_of
from pommel.process import run, which

_PROBE_TIMEOUT_S = 5.0
_NOTHING = VisibleFolders()
_END_S = 1.0
_USUAL_FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/libexec", "/bin")
_ISOLATED = ("--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
_EMPTY = ("/tmp", "/run", "/var/tmp")  # noqa: S108 (they are made empty)
# NixOS has its programs there; the last has the drives that a desktop has mounted.
_OF_RUN = ("/run/current-system", "/run/wrappers", "/run/opengl-driver", "/run/media")
# A path that ends in one of QEMU's names, and commands that would remove our folder from the front of PATH.
_QEMU = r"(?:qemu-system-[\w.+-]*\w|qemu-kvm|(?<=bin/)kvm|(?<=libexec/)kvm)(?![\w./-])"  # not /dev/kvm
_BY_PATH = re.compile(rf"(/[\w./+-]*)?/{_QEMU}")
_RUN = re.compile(r"/[\w./+-]*")  # the possible places of such a path: each part is searched once
_NAMED = re.compile(f"/{_QEMU}")
_ABSOLUTE = re.compile(rf"""(?<![\w.~$}}"'])/(?:[^\s/:'"`‘’]{{1,255}}/){{0,40}}{_QEMU}""")
_OTHER_PATH = re.compile(r"(?:^|[\s;&|(])(?:PATH=|env\s+-i\b|env\s+-\s|command\s+-p\b)")


@dataclass(frozen=True, slots=True)
class ScriptPlace:
    """The place of a script's run: `layer` replaces the folder `upstream`; `scratch` has the stand-ins."""

    upstream: Path
    layer: Path
    scratch: Path


@functools.cache
def bubblewrap() -> str | None:
    """The path of a bubblewrap that works here, or None. Tested once per process: it takes about 10 ms."""
    try:
        found = which("bwrap")
        run([found, *_ISOLATED, "true"], timeout_s=_PROBE_TIMEOUT_S)
    except (MissingProgram, CommandFailed, DeadlineError):
        return None
    return found


def isolated(
    bwrap: str,
    command: Iterable[str],
    place: ScriptPlace,
    *,
    text: str,
    invented: Sequence[Path] = (),
    real: Path | None = None,
    view: VisibleFolders = _NOTHING,
) -> list[str]:
    """The command that runs `command` isolated in `place`, with what `view` shows of users' own folders.

    `text` is the script's, searched for QEMUs by path; `invented` are missing paths where the stand-in is put;
    `real` is the QEMU that answers questions, put at `scratch`/real.
    """
    upstream, scratch = place.upstream, place.scratch
    bases = [base for base in _bases(invented) if not view.is_empty(base)]
    opened = {base: f"/run/pommel-lower/{number}" for number, base in enumerate(bases)}
    words = [bwrap, *(_ISOLATED if Path("/") not in opened else _own_root())]
    for folder in _EMPTY:
        words += ["--tmpfs", folder]
    for folder in (folder for folder in _OF_RUN if Path(folder).exists()):
        words += ["--ro-bind", folder, folder]
    words += view.words()
    words += ["--dev-bind-try", "/dev/kvm", "/dev/kvm"]
    for base, lower in opened.items():
        if base != Path("/"):
            words += ["--ro-bind", str(base), lower, "--tmpfs", str(base)]
            words += [word for entry in _links(base, lower, (upstream, scratch)) for word in entry]
    # After the emptied folders: both may be below one.
    words += ["--bind", str(scratch), str(scratch), "--bind", str(place.layer), str(upstream)]
    if real is not None:
        words += ["--ro-bind", str(real), str(scratch / "real")]
    standin = str(scratch / "bin" / QEMU)
    for path in sorted(_real_qemus(text, upstream, names_of(scratch / "bin"), view)):
        words += ["--ro-bind", standin, _seen_at(path, opened)]
    for path in invented:
        words += ["--ro-bind", standin, str(path)]
    if (scratch / "seccomp").exists():
        words += ["--seccomp", "9"]
    return [*words, "--chdir", str(upstream), "--", *command]


def write_filter(scratch: Path) -> None:
    """Write the filter of system calls for `isolated`, if one is known for this processor."""
    if (filter_ := seccomp.program(platform.machine())) is not None:
        (scratch / "seccomp").write_bytes(filter_)


def _bases(invented: Sequence[Path]) -> list[Path]:
    """The host's folders in which a missing path must be made; they are replaced by new ones with the same contents."""
    found = []
    for path in invented:
        base = next(parent for parent in path.parents if parent.is_dir()).resolve()
        if not any(base.is_relative_to(folder) for folder in _EMPTY):
            found.append(base)
    return list(dict.fromkeys(found))


def _own_root() -> list[str]:
    """As `_ISOLATED`, with a root folder in which new folders can be made."""
    words = [word for word in _ISOLATED if word not in ("--ro-bind", "/")]
    for entry in sorted(os.scandir("/"), key=lambda entry: entry.name):
        if entry.is_symlink():
            words += ["--symlink", str(Path(entry.path).readlink()), entry.path]
        elif entry.name not in ("dev", "proc"):
            words += ["--ro-bind", entry.path, entry.path]
    return words


def _seen_at(path: Path, opened: Mapping[Path, str]) -> str:
    """The path of a file in the sandbox: a replaced folder only has links to its old contents."""
    base = next((base for base in opened if base != Path("/") and path.is_relative_to(base)), None)
    return f"{opened[base]}/{path.relative_to(base)}" if base is not None else str(path)


def _links(base: Path, lower: str, kept: Sequence[Path]) -> Iterator[list[str]]:
    """Links from `base` to the same names in `lower`; a folder on the way to a path in `kept` is a real folder."""
    for entry in sorted(os.scandir(base), key=lambda entry: entry.name):
        here = base / entry.name
        if any(path == here or here in path.parents for path in kept):
            yield ["--dir", str(here)]
            if entry.is_dir(follow_symlinks=False) and here not in kept:
                yield from _links(here, f"{lower}/{entry.name}", kept)
        else:
            yield ["--symlink", f"{lower}/{entry.name}", str(here)]


def what_escapes(text: str) -> str | None:
    """The first line of a script that would bypass a stand-in on PATH, or None. Comments do not count."""
    for line in text.splitlines():
        code = line if not line.lstrip().startswith("#") else ""
        if _NAMED.search(code) or _OTHER_PATH.search(code):
            return line.strip()
    return None


def qemus_named(text: str) -> list[str]:
    """The absolute paths of QEMUs in a text, such as a script's error about a missing one."""
    return list(dict.fromkeys(match[0] for match in _ABSOLUTE.finditer(text)))


def end_leftovers(scratch: Path) -> int:
    """Kill every process that was started with `scratch` in its environment, and return their number.

    This finds processes that a script left in the background, in another session or a namespace, by the one thing that
    they all inherited: a PATH with our folder in it.
    """
    return inheritors.end(_marked(scratch), _END_S)


def left(scratch: Path) -> list[int]:
    """The pids of the processes that the script started and that still run."""
    return inheritors.pids(_marked(scratch))


def _marked(scratch: Path) -> inheritors.Wanted:
    mark = os.fsencode(scratch)
    return lambda environ: mark in environ


def _real_qemus(text: str, upstream: Path, names: Sequence[str], view: VisibleFolders) -> set[Path]:
    """Every QEMU that the script could reach by a path: the host's usual ones, and those that it names."""
    folders = [*os.environ.get("PATH", os.defpath).split(":"), *_USUAL_FOLDERS]
    paths = [Path(folder, name) for folder in folders if folder for name in names]
    runs = (_BY_PATH.match(text, run.start(), run.end()) for run in _RUN.finditer(text))
    named = [match[0] for match in runs if match is not None]
    paths += [path for word in named for path in (Path(word), upstream / word.lstrip("/"))]
    paths += [path for path in shown.named(text, upstream) if is_qemu(path.name)]
    paths += shown.files_called(view, names)
    return {path.resolve() for path in paths if path.is_file()}
