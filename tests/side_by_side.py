"""Which tests go to which of pytest-xdist's workers, and in which order: a file is one worker's, and so are the
files that share what takes long to build.

What boots machines by emulation takes both cores of a small host: all of that is one worker's, one machine after
another, and begins. It is known by the marker `e2e`, which stands in the text of its files.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

MACHINES = "machines"
_MARKER = "mark.e2e"
_BUILDS = "tests/trial/test_interrupted.py"  # the trial machine's base image, which all others find then
_BUILT_ONCE = "tests/packages"  # a wheel and a package, which each worker would build for itself


class ByFile(LoadScopeScheduling):
    """xdist's own scheduler by module, which has all files that boot machines for one.

    xdist's `--dist loadgroup` names a test's group in its `_nodeid`, which pytest 9.2 does not read any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid, str(self.config.rootpath))


def scope(nodeid: str, root: str) -> str:
    """What all tests share that have to be one worker's: `nodeid` is relative to `root`."""
    path = nodeid.partition("::")[0]
    if _boots(root, path):
        return MACHINES
    return _BUILT_ONCE if path.startswith(f"{_BUILT_ONCE}/") else path


@functools.cache
def _boots(root: str, path: str) -> bool:
    return _MARKER in Path(root, path).read_text(encoding="utf-8")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their parameter and number: what compresses writes the time, and workers must collect the same."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Called by xdist where there are workers."""
    config.option.loadscopereorder = False  # their order is ours, below
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Machines first where there are workers, since they take longest; else where the first of them is.

    The trial machine that many files share comes after the machines of one file: it does not run beside them. What
    builds that machine's base image comes first of all.
    """
    root = str(config.rootpath)
    kinds = [(item, item.nodeid.partition("::")[0], scope(item.nodeid, root) == MACHINES) for item in items]
    share = {path for item, path, boots in kinds if boots and "trial" in getattr(item, "fixturenames", ())}
    machines = [(item, path) for item, path, boots in kinds if boots]
    machines.sort(key=lambda each: (each[1] in share, each[1] != _BUILDS))
    others = [item for item, _, boots in kinds if not boots]
    workers = hasattr(config, "workerinput")
    first = 0 if workers else next((at for at, (_, _, boots) in enumerate(kinds) if boots), 0)
    items[:] = [*others[:first], *(item for item, _ in machines), *others[first:]]
