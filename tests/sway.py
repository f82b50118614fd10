"""A real Wayland compositor without a screen: sway."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from isolation import patient
from pommel import process

NOBODY = 65534


class Sway:
    """A compositor; it refuses to be root, so for root it is nobody."""

    def __init__(self) -> None:
        # Not pytest's folder, which nobody else may enter.
        self.runtime = Path(tempfile.mkdtemp(prefix="pommel-sway-"))
        config = self.runtime / "config"
        config.write_text("xwayland disable\nseat * fallback true\n")
        drop: list[str] = []
        if os.geteuid() == 0:
            os.chown(self.runtime, NOBODY, NOBODY)
            os.chown(config, NOBODY, NOBODY)
            drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        self.env = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self.runtime),
            "HOME": str(self.runtime),
            "WLR_BACKENDS": "headless",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "WLR_RENDERER": "pixman",
        }
        log = (self.runtime / "log").open("wb")
        self.child = subprocess.Popen(
            [*drop, "sway", "-c", str(config)],
            env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + patient(20)
        while not (found := [path for path in self.runtime.glob("wayland-*") if stat.S_ISSOCK(path.stat().st_mode)]):
            assert time.monotonic() < deadline, (self.runtime / "log").read_text()
            time.sleep(0.02)
        self.display = found[0].name
        self.env["WAYLAND_DISPLAY"] = self.display
        # Its socket is there a moment before anybody may connect to it.
        while b"connect" in subprocess.run(["wl-paste", "-l"], env=self.env, capture_output=True, timeout=60).stderr:
            assert time.monotonic() < deadline, (self.runtime / "log").read_text()
            time.sleep(0.02)

    def run(self, *argv: str, input: bytes | None = None) -> bytes | None:
        # wl-copy stays behind: not with our pipes in its hands.
        output = subprocess.PIPE if argv[0] == "wl-paste" else subprocess.DEVNULL
        done = subprocess.run(argv, input=input, env=self.env, timeout=20, stdout=output, stderr=subprocess.DEVNULL)
        return done.stdout if done.returncode == 0 else None

    def message(self, *words: str) -> None:
        """Give the compositor a command."""
        socket = next(self.runtime.glob("sway-ipc.*.sock"))
        subprocess.run(
            ["swaymsg", "-s", str(socket), *words], env=self.env, check=True, timeout=20, capture_output=True
        )

    def close(self) -> None:
        process.end_group(self.child.pid, signal.SIGKILL)
        self.child.wait()
        shutil.rmtree(self.runtime)
