"""Which of users' own folders a boot script can see in the sandbox: those that it names, and the programs on PATH.

Home folders are empty there, except folders of PATH, targets of links in the upstream's folder, and paths in the
script, in a file beside it, in its arguments or its variables. The usual places of keys and passwords are never shown.
Band: shell.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HOMES = (Path("/home"), Path("/root"))
_TEXT_MAX = 64 << 10  # bytes of a file that is searched for paths
_BESIDE_MAX = 200  # files of the upstream's folder that are searched
_PROGRAMS = ("bin", "sbin", "shims")  # the usual names of folders of programs inside a program's own folder
_LINKS_MAX = 2000  # entries of a folder that are checked for links, or for programs
# The usual places of keys, passwords and histories; below a home folder.
SECRETS = (
    ".ssh", ".gnupg", ".pki", ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".password-store",
    ".config/gh", ".config/gcloud", ".config/rclone", ".local/share/keyrings", ".local/share/kwalletd", ".mozilla",
    ".config/chromium", ".config/google-chrome", ".thunderbird", ".bash_history", ".zsh_history", ".Xauthority",
    ".pgpass", ".vault-token", ".npmrc", ".pypirc",
)  # fmt: skip
_STOPS = r"""\s"'`;|&<>(){}$*?\[\]=,:\\"""
_PATH = re.compile(rf"/(?:\\.|[^{_STOPS}])+")
_UP = re.compile(rf"(?<![.\w])(?:\.\./)+[^{_STOPS}]*|(?<![.\w/])\.\.(?![.\w])")
_QUOTED = re.compile(r'"([^"\n]*)"' + r"|'([^'\n]*)'")
_HOME_WORD = re.compile(r"\$\{?HOME\}?(?![\w])|(?<![\w/.~])~(?=/)")
_USER_WORD = re.compile(r"\$\{?(?:USER|LOGNAME)\}?(?![\w])|\$\((?:whoami|id -un)\)|`whoami`")


def hidden(more: Sequence[Path] = ()) -> list[Path]:
    """The folders that are empty in the sandbox: all home folders, and `more` (Pommel's own)."""
    wanted = [*_HOMES, _home(), *more]
    whole = dict.fromkeys(Path(os.path.realpath(path)) for path in wanted)
    return [path for path in whole if path.is_dir() and path != Path("/")]


@dataclass(frozen=True, slots=True)
class VisibleFolders:
    """The visible parts of `hidden`: `binds` by their real paths, outer ones first; `links` as (path, to)."""

    hidden: tuple[Path, ...] = ()
    binds: tuple[Path, ...] = ()
    links: tuple[tuple[Path, Path], ...] = ()

    def words(self) -> list[str]:
        """The options of bwrap(1) for this view."""
        found = [word for path in self.hidden for word in ("--tmpfs", str(path))]
        found += [word for path in self.binds for word in ("--ro-bind", str(path), str(path))]
        return found + [word for path, to in self.links for word in ("--symlink", str(to), str(path))]

    def is_empty(self, folder: Path) -> bool:
        """Whether a file can be put into the folder directly: it is hidden, and no visible part."""
        above = {folder, *folder.parents}
        return not above.isdisjoint(self.hidden) and above.isdisjoint(self.binds)


def shown(
    bases: Sequence[Path],
    upstream: Path,
    *,
    text: str,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    programs: Iterable[Path] = (),
) -> VisibleFolders:
    """The parts of `bases` that stay visible.

    `programs` are folders of programs (PATH). A folder that contains a whole home, or the upstream, is never shown.
    """
    texts = [text, *args, *(env or {}).values(), *_beside(upstream)]
    said = [path for each in texts for path in named(each, upstream)]
    found = _allowed([*_prefixes(programs), *_led_to(upstream), *said], bases, upstream)
    # A named program needs the files beside it, as Python needs its modules.
    folders = [Path(os.path.realpath(path)).parent for path in found]
    found += _allowed(_prefixes(each for each in folders if each.name in _PROGRAMS), bases, upstream)
    # A shown file may name more: for example settings that are read from elsewhere.
    more = [path for each in found if each.is_file() for path in named(_text_of(each), upstream)]
    found += _allowed(more, bases, upstream)
    real = {path: Path(os.path.realpath(path)) for path in found}
    binds = _outermost(path for path in real.values() if any(base in path.parents for base in bases))
    # A link stays a link in the sandbox: its target may be a QEMU, which the stand-in replaces.
    away = (path for path in found if real[path] != path and any(base in path.parents for base in bases))
    links = {path: real[path] for path in _outermost(away)}
    open_links = {path: to for path, to in links.items() if not any(bind in path.parents for bind in binds)}
    return VisibleFolders(tuple(bases), tuple(binds), tuple(open_links.items()))


def files_called(view: VisibleFolders, names: Collection[str]) -> Iterator[Path]:
    """The shown files that have one of `names`, among the first few thousand."""
    left = _LINKS_MAX
    for bind in view.binds:
        for folder, folders, files in os.walk(bind):
            left -= len(folders) + len(files)
            if left < 0:
                return
            yield from (Path(folder, name) for name in files if name in names)


def _allowed(paths: Iterable[Path], bases: Sequence[Path], upstream: Path) -> list[Path]:
    """The paths below a hidden folder that exist, contain no home and no upstream, and are no place of secrets."""
    secrets = [folder / name for folder in (_home(), *_homes(bases)) for name in SECRETS]
    keep = [*bases, _home(), *_homes(bases), upstream]
    found = []
    for path in dict.fromkeys(paths):
        whole = Path(os.path.realpath(path))
        if not any(each in path.parents or each in whole.parents for each in bases):
            continue
        if any(each == path or path in each.parents or whole in (each, *each.parents) for each in keep):
            continue
        if any(
            secret in (each, *each.parents) or each in secret.parents for secret in secrets for each in (path, whole)
        ):
            continue
        if _is_plain(path):
            found.append(path)
    return found


def _is_plain(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in sorted(set(paths), key=lambda path: len(path.parts)):
        if not any(each in path.parents for each in found):
            found.append(path)
    return found


def named(text: str, upstream: Path) -> Iterator[Path]:
    """Paths in a text, by words and by quoted strings; if a path ends in a variable, the folder before it."""
    spelled = _USER_WORD.sub(lambda _: _home().name, _HOME_WORD.sub(lambda _: str(_home()), text))
    for match in _QUOTED.finditer(spelled):
        quoted = match[1] or match[2] or ""
        if quoted.startswith("/") and "$" not in quoted:
            yield Path(quoted)
    for match in _PATH.finditer(spelled):
        path = Path(re.sub(r"\\(.)", r"\1", match[0]))
        yield path if os.path.lexists(path) else path.parent
    for match in _UP.finditer(spelled):
        yield Path(os.path.normpath(upstream / match[0]))


def _beside(upstream: Path) -> Iterator[str]:
    """The texts of the small files in the upstream's folder."""
    try:
        with os.scandir(upstream) as entries:
            paths = [Path(entry.path) for entry in sorted(entries, key=lambda entry: entry.name)[:_BESIDE_MAX]]
    except OSError:
        return
    yield from map(_text_of, paths)


def _text_of(path: Path) -> str:
    """A small file's text; "" if it is large, cannot be read or is not text."""
    try:
        about = path.stat()
        if stat.S_ISREG(about.st_mode) and about.st_size <= _TEXT_MAX:
            return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        pass
    return ""


def _led_to(upstream: Path) -> Iterator[Path]:
    """The targets of the links in the upstream's folder."""
    left = _LINKS_MAX
    for folder, folders, files in os.walk(upstream):
        folders[:] = [name for name in folders if name != ".git"]
        for name in (*folders, *files):
            left -= 1
            if left < 0:
                return
            path = Path(folder, name)
            if path.is_symlink():
                yield Path(os.path.realpath(path))


def _prefixes(programs: Iterable[Path]) -> Iterator[Path]:
    """The folders of programs, with the folders beside them: their libraries and data."""
    for folder in programs:
        yield folder
        if folder.name in _PROGRAMS and folder.parent.name != ".local":
            yield folder.parent


def _home() -> Path:
    return Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() raises for a user without one)


def _homes(bases: Sequence[Path]) -> list[Path]:
    """The home folders of other users below /home."""
    found = []
    for base in (base for base in bases if base == Path("/home")):
        try:
            found += list(base.iterdir())
        except OSError:
            continue
    return found
