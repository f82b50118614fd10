"""The trial machine's base image: made once, kept in a cache under a name made from its inputs. Band: shell.

A build happens in a separate directory, which becomes the base by a rename, so that a base is always complete. There
is one build at a time; a second process waits, then uses the result. The next build removes what killed ones left.
Not here: a machine's own disk (`provision`), and the folder that boots it (`upstream`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import locks, private, process
from pommel.errors import BuildError, CommandFailed, MissingProgram
from pommel.paths import build_aside, is_aside
from pommel.progress import Progress, Report, note
from pommel.trial import apt, picker, recipe, steps
from pommel.trial.privilege import Privilege, build_environment, build_privilege

__all__ = ["BaseImage", "Privilege", "base_image", "base_key", "build_base", "build_privilege", "is_built"]

_DATA = Path(__file__).parent / "data"
_BUILDER = "1"  # increase it when this code makes a different result from the same inputs
_WAIT_S = 900.0  # for another Pommel's build
_LOG = "build.log"
_SCRATCH_PARENT, _SCRATCH_PREFIX = Path("/var/tmp"), "pommel-build."  # noqa: S108  mkdtemp makes it ours


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A complete base. It is never written to."""

    directory: Path

    @property
    def root_image(self) -> Path:
        """The guest's root file system (raw ext4, sparse)."""
        return self.directory / "root.img"

    @property
    def picker(self) -> Path:
        """The boot picker's disk (qcow2)."""
        return self.directory / "OpenCore.qcow2"

    @property
    def key(self) -> str:
        """Its name, made from its inputs."""
        return self.directory.name


def base_key() -> str:
    """The name of the base, made from its inputs, so that a newer Pommel makes a new one."""
    inputs = hashlib.sha256()
    for part in (
        _BUILDER,
        picker.MODULES,
        recipe.SUITE,
        *recipe.PACKAGES,
        *recipe.EXCLUDES,
        *recipe.mke2fs_argv("", ""),
    ):
        inputs.update(part.encode() + b"\0")
    for path in sorted(p for top in ("guest", "picker") for p in (_DATA / top).rglob("*") if p.is_file()):
        inputs.update(str(path.relative_to(_DATA)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return inputs.hexdigest()[:16]


def base_image(cache: Path) -> BaseImage:
    """The base that this Pommel uses, built or not."""
    return BaseImage(cache / base_key())


def is_built(cache: Path) -> bool:
    """Whether it exists. A directory with that name is always complete."""
    return base_image(cache).directory.is_dir()


def build_base(cache: Path, *, report: Report) -> BaseImage:
    """Build the base if it is missing. It takes about a minute and temporarily 2 GB; 530 MB stay.

    Raises:
        NotPermitted: neither root nor user namespaces are available.
        MissingProgram: a program in `requirements` is not installed.
        BusyError: another Pommel has been building for 15 minutes.
        BuildError: no network, no space, or a package that could not be installed; the hint is the remedy.
    """
    base = base_image(cache)
    if is_built(cache):
        return base
    privilege = build_privilege()
    lock = cache / "build.lock"
    if locks.holder(lock) is not None:
        note(report, "another Pommel is building the trial machine: waiting for it")
    with locks.hold(lock, busy="another Pommel is building the trial machine", wait_s=_WAIT_S):
        if not is_built(cache):
            _sweep(cache, privilege)
            _build(base, privilege, report)
    return base


def _build(base: BaseImage, privilege: Privilege, report: Report) -> None:
    log = base.directory.parent / _LOG
    report(Progress(steps.STEP, f"building the trial machine {privilege.text}", done=0, total=100, unit="%"))
    with build_aside(base.directory) as aside, _explained(log), _scratch(aside, privilege) as scratch:
        made = BaseImage(aside)
        _make_tree(scratch, privilege, report, log)
        report(Progress(steps.STEP, "creating the file system", done=100, total=100, unit="%"))
        _make_image(scratch, privilege, made.root_image)
        picker.make_picker(made.picker, scratch)
        for path in (made.root_image, made.picker):
            _sync(path)
    report(Progress(steps.STEP, "the trial machine is built", done=100, total=100, unit="%", finished=True))


def _make_tree(scratch: Path, privilege: Privilege, report: Report, log: Path) -> None:
    process.which("mmdebstrap")  # without this check the wrapper would only report the exit status 127
    argv = recipe.mmdebstrap_argv(
        mode=privilege.value,
        tree=str(scratch / "tree"),
        setup=str(_stage_guest(scratch) / "setup.sh"),
        sources=apt.source_lines(_printed(apt.TARGETS_ARGV), recipe.SUITE, recipe.KEYRING),
        apt_options=apt.download_options(_printed(apt.SETTINGS_ARGV)),
    )
    told = steps.BuildSteps(report)
    log.touch(private.FILE)
    with log.open("w", buffering=1) as out:

        def take(line: str) -> None:
            out.write(line + "\n")
            told.line(line)

        process.stream(privilege.guarded(argv), take, env=build_environment(scratch))


def _make_image(scratch: Path, privilege: Privilege, target: Path) -> None:
    image = scratch / "root.img"
    with image.open("wb") as out:
        out.truncate(recipe.IMAGE_BYTES)
    image.chmod(0o666)  # in a user namespace another user writes it
    argv = privilege.inside(recipe.mke2fs_argv(str(scratch / "tree"), str(image)))
    process.run(argv, env=build_environment(scratch))
    image.chmod(0o644)
    process.run(["cp", "--sparse=always", "--reflink=auto", image, target])


def _stage_guest(scratch: Path) -> Path:
    """Copy the guest's files to a folder that the build can read: a user namespace cannot read a home directory."""
    staged = scratch / "guest"
    shutil.copytree(_DATA / "guest", staged)
    for path in (staged, *staged.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return staged


def _printed(argv: Sequence[str]) -> str:
    """The output of apt; "" if there is no apt, or no output."""
    try:
        return process.run(argv, check=False).text
    except MissingProgram:
        return ""


@contextlib.contextmanager
def _scratch(aside: Path, privilege: Privilege) -> Iterator[Path]:
    """A directory for temporary files, in which a build without root can work too.

    Without root it is in /var/tmp, because a user namespace cannot read homes; a link in `aside` leads a sweep to it.
    """
    scratch = aside / "scratch"
    if privilege is Privilege.USERNS:
        link, scratch = scratch, Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=_SCRATCH_PARENT))
        link.symlink_to(scratch)
    else:
        scratch.mkdir()
    try:
        scratch.chmod(0o711)
        _check_space(_SCRATCH_PARENT if privilege is Privilege.USERNS else aside.parent, recipe.SCRATCH_BYTES)
        _check_space(aside.parent, recipe.IMAGE_BYTES)
        yield scratch
    finally:
        privilege.remove_tree(scratch)
        (aside / "scratch").unlink(missing_ok=True)


def _check_space(directory: Path, wanted: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < wanted:
        raise BuildError(
            f"building the trial machine needs {wanted >> 20} MiB in {directory}, but only {free >> 20} MiB are free",
            hint="free some space, or set POMMEL_HOME to a folder on a larger disk",
        )


def _sweep(cache: Path, privilege: Privilege) -> None:
    """Remove what killed builds left, of this base or another. The build's lock is held, so no build runs."""
    for left in filter(is_aside, cache.glob(".*.building.*")):
        link = left / "scratch"
        if link.is_symlink():
            scratch = link.readlink()
            if scratch.parent == _SCRATCH_PARENT and scratch.name.startswith(_SCRATCH_PREFIX):
                privilege.remove_tree(scratch)
        privilege.remove_tree(left)


@contextlib.contextmanager
def _explained(log: Path) -> Iterator[None]:
    try:
        yield
    except CommandFailed as failure:
        raise steps.explain(failure.output or failure.message, str(log)) from failure
    except OSError as failure:
        raise steps.explain(str(failure), str(log)) from failure


def _sync(path: Path) -> None:
    """Sync the file before it is renamed: after a power cut, the new name must not have incomplete contents."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
