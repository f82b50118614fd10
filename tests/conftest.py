"""Fixtures that more than one room uses."""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import isolation

isolation.enter()

from driver import Shell  # noqa: E402 - these see the environment as it is from here on
from pommel import handles  # noqa: E402
from side_by_side import pytest_collection_modifyitems as pytest_collection_modifyitems  # noqa: E402
from side_by_side import pytest_make_parametrize_id as pytest_make_parametrize_id  # noqa: E402
from side_by_side import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler  # noqa: E402

# How long an example takes says how busy this machine is, not whether the code is right.
settings.register_profile("pommel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pommel")

# Who starts the tests in the background of a script has them ignore Ctrl-C, and all that they start with them; and
# what happens at a Ctrl-C is among the things that are tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

_WORTH_TELLING_S, _TOLD_FILES = 300.0, 60

# Where a proxy leads out, the servers of the tests are reached without it.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join([*filter(None, [os.environ.get(name)]), "127.0.0.1", "localhost", "::1"])


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A test's time limit is that of an idle host; pytest-timeout reads it in a hook of the same name, later.

    Workers side by side take each other's processors, and the load that is measured here is that before them.
    """
    if config.option.timeout is None:
        workers = max(1, getattr(config.option, "numprocesses", None) or 1)
        config.option.timeout = isolation.patient(workers * float(config.getini("timeout")))


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """What waits inside of a test gives up before the test's time is up, and says for what it waited."""
    isolation.begin_test(settings.timeout)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which files took longest, fixtures and all: that is what a faster run has to look at."""
    took: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.nodeid.partition("::")[0]] += report.duration
    if sum(took.values()) < _WORTH_TELLING_S:
        return
    terminalreporter.section(f"seconds by file, {sum(took.values()):.0f} in all")
    for path, seconds in took.most_common(_TOLD_FILES):
        terminalreporter.write_line(f"{seconds:7.0f}  {path}")


@pytest.fixture
def shell() -> Iterator[Shell]:
    """An empty home and the `pommel` command in it."""
    made = Shell()
    yield made
    made.close()


@pytest.fixture(params=["there", "removed", "refused"])
def pidfds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pidfds as they are, in a Python that was built without them, and under a kernel that has none."""
    if request.param == "removed":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.delattr(signal, "pidfd_send_signal", raising=False)
    elif request.param == "refused":

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(handles, "_open_pidfd", refuse)
    return str(request.param)
