"""What of this desktop the tests see, which is nothing; and how long they wait, which is longer on a busy host.

`conftest` calls `enter` before any test module is read, since some take the environment as it is then.
"""

from __future__ import annotations

import atexit
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

# A person's sessions, agents, tools and tastes, and Pommel's own settings.
_GONE = (
    "DISPLAY", "WAYLAND_", "XAUTHORITY", "DBUS_", "XDG_", "SESSION_MANAGER", "DESKTOP_", "GNOME_", "KDE_", "GTK", "GDK_",
    "QT_", "SSH_", "GPG_", "GIT_", "LC_", "LANG", "POMMEL_", "VM_CLIP_", "PYTHON", "MTOOLS", "SUDO_", "TMUX", "STY",
    "LINES", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "BROWSER", "EDITOR", "VISUAL", "PAGER", "LESS", "CDPATH",
    "BASH_ENV", "ENV", "IFS", "POSIXLY_CORRECT", "TZ", "QEMU_", "SDL_", "LD_", "NOTIFY_SOCKET", "JOURNAL_STREAM",
    "INVOCATION_ID", "MAIL", "HOSTFILE", "LISTEN_", "GREP_OPTIONS", "TAR_OPTIONS", "NODE_OPTIONS", "PIP_USER", "PIP_TARGET",
)  # fmt: skip
_KEPT = ("POMMEL_TEST_", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "LD_LIBRARY_PATH")
MOST_PATIENT = 8.0
_TO_TELL = 0.3, 75.0  # what is kept of a test's time to tell what went wrong: a share, and seconds at most
_ends_at = math.inf  # when the present test's time is up


def clean(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment for tests that run in `environment`, with `home` for their home folder."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_GONE) or name.startswith(_KEPT)}
    real = Path(environment.get("HOME") or "/nonexistent")
    if kept.pop("PYTHONDONTWRITEBYTECODE", ""):  # as containers have it
        # Beside the sources nothing is written; but the tests start Pommel a thousand times, and each would compile it.
        kept.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "pycache"))
    return {
        # What is kept between runs, and was paid for by a download or a build, stays where it is.
        "POMMEL_TEST_CACHE": str(real / ".cache" / "pommel-tests"),
        "npm_config_cache": str(real / ".npm"),
        **kept,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",  # and the home folder has no configuration
        "PIP_CONFIG_FILE": environment.get("PIP_CONFIG_FILE", str(real / ".config" / "pip" / "pip.conf")),
    }


def enter() -> None:
    """Make this process's environment such a one, with an empty home folder that is gone at the end."""
    home = Path(tempfile.mkdtemp(prefix="pommel-tests-home-"))
    owner = os.getpid()  # a forked child of a test ends too
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(home, ignore_errors=True))
    wanted = clean(os.environ, home)
    os.environ.clear()
    os.environ.update(wanted)
    if "PYTHONPYCACHEPREFIX" in wanted:  # for this process too, whose own modules are the tests
        sys.dont_write_bytecode, sys.pycache_prefix = False, wanted["PYTHONPYCACHEPREFIX"]


def let_others_in(folder: Path) -> None:
    """Have other users of this host reach a test's own folder, and nothing outside of pytest's."""
    for each in (folder, *folder.parents):
        if not each.is_relative_to(tempfile.gettempdir()) or each == Path(tempfile.gettempdir()):
            break
        each.chmod(0o755)


def patience() -> float:
    """By how much longer to wait than on an idle host: as many times as there is more to do than processors."""
    return min(MOST_PATIENT, max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0))))


def patient(seconds: float) -> float:
    """How long to wait here and now for what takes at most `seconds` on an idle host; no longer than the test has."""
    return within_test(seconds * patience())


def begin_test(limit_s: float) -> None:
    """Note that a test begins whose time is up after `limit_s`: pytest-timeout then ends it without a word of ours."""
    global _ends_at
    _ends_at = time.monotonic() + limit_s


def time_left() -> float:
    """How many seconds the present test still has; infinite outside of tests."""
    return max(0.0, _ends_at - time.monotonic())


def within_test(seconds: float) -> float:
    """So long, or less where the present test would end before: who waits must be the one to say what did not come."""
    left = time_left()
    share, at_most = _TO_TELL
    return min(seconds, left if math.isinf(left) else left - min(left * share, at_most))
