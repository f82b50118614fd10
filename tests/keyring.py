"""A desktop's keyring without a desktop: a session bus, and GNOME's keyring on it, unlocked. No tests here."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def keyring(*, unlocked: bool = True) -> Iterator[dict[str, str]]:
    """What has to be in the environment of whoever asks it; it is empty at first, and gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="pm-keys-"))
    for name in ("run", "data", "home"):
        (root / name).mkdir(mode=0o700)
    places = {"XDG_RUNTIME_DIR": str(root / "run"), "XDG_DATA_HOME": str(root / "data"), "HOME": str(root / "home")}
    env = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")} | places
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    daemon = None
    try:
        assert bus.stdout is not None
        env["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
        if unlocked:
            daemon = subprocess.Popen(
                ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            assert daemon.stdin is not None
            daemon.stdin.write(b"the keyring's own")
            daemon.stdin.close()
            waited = ["gdbus", "wait", "--session", "--timeout", "20", "org.freedesktop.secrets"]
            subprocess.run(waited, env=env, check=True)
        yield {"DBUS_SESSION_BUS_ADDRESS": env["DBUS_SESSION_BUS_ADDRESS"]}
    finally:
        for child in (daemon, bus):
            if child is not None:
                child.kill()
                child.wait()
        assert bus.stdout is not None
        bus.stdout.close()
        shutil.rmtree(root, ignore_errors=True)
