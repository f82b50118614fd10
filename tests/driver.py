"""Drive the real `pommel` command in a home of its own, as a person in a shell would."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import hung
import json_keys
from isolation import patient
from waits import wait_until


def cache_folder() -> Path:
    """Where built base images are kept between test runs; they are named after what went into them."""
    named = os.environ.get("POMMEL_TEST_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "pommel-tests"


class Shell:
    """A POMMEL_HOME and a runtime directory with short paths, and the `pommel` command in them."""

    def __init__(self, *, share_base: bool = False) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pm-"))
        self.home = self.root / "home"
        self.home.mkdir()
        self.cwd = self.root / "cwd"
        self.cwd.mkdir()
        (self.root / "run").mkdir(mode=0o700)
        if share_base:
            base = cache_folder() / "trial"
            base.mkdir(parents=True, exist_ok=True)
            (self.home / "trial").symlink_to(base)
        self.env = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith("POMMEL_") and k not in ("DISPLAY", "WAYLAND_DISPLAY")
        }
        self.env |= {
            "POMMEL_HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_DATA_HOME": str(self.root / "data"),
            "HOME": str(self.root / "user"),
        }
        (self.root / "user").mkdir()
        # A Python that is ended by SIGABRT writes where it stood (faulthandler): `hung` asks for that.
        self.command = [sys.executable, "-X", "faulthandler", "-P", "-m", "pommel"]

    def popen(self, *words: str, group: bool = True, **kw: Any) -> subprocess.Popen[bytes]:
        """Start `pommel WORDS`, in a process group of its own unless not wanted."""
        return subprocess.Popen([*self.command, *words], env=self.env, cwd=self.cwd, start_new_session=group, **kw)

    def run(
        self, *words: str, timeout_s: float = 120, input: bytes | None = None, status: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run `pommel WORDS` to its end, without a terminal, and check its exit status."""
        pipe = subprocess.PIPE
        child = self.popen(
            *words, stdin=pipe if input is not None else subprocess.DEVNULL, stdout=pipe, stderr=pipe, group=False
        )
        return self.ended(child, timeout_s=timeout_s, input=input, status=status)

    def ended(
        self,
        child: subprocess.Popen[bytes],
        *,
        timeout_s: float = 120,
        input: bytes | None = None,
        status: int | None = 0,
    ) -> subprocess.CompletedProcess[str]:
        """Wait for the end of what `popen` began, and check its exit status.

        One that does not end is ended before the test's own time is up, and all that is known of it is told.
        """
        limit_s = patient(timeout_s)
        try:
            out, err = child.communicate(input, timeout=limit_s)
        except subprocess.TimeoutExpired as late:
            what = " ".join(map(str, child.args))
            told = hung.account(self, child, (late.output or b"", late.stderr or b""))
            raise AssertionError(f"{what}\ndid not end in {limit_s:.0f} s\n{told}") from None
        except BaseException:
            child.kill()
            child.wait()
            raise
        finally:
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
        text = subprocess.CompletedProcess(child.args, child.returncode, (out or b"").decode(), (err or b"").decode())
        if status is not None and text.returncode != status:
            raise AssertionError(f"exit {text.returncode}\n{text.stdout}\n{text.stderr}\n{hung.home(self)}")
        return text

    def json(self, *words: str, timeout_s: float = 120, status: int = 0) -> Any:
        """The last line of `pommel WORDS --json`, held against the table of keys."""
        told = json.loads(self.run(*words, "--json", timeout_s=timeout_s, status=status).stdout.splitlines()[-1])
        offences = list(json_keys.offences(told))
        assert not offences, f"pommel {' '.join(words)} --json: {offences}"
        return told

    def config(self, text: str) -> None:
        """Write pommel.toml in the current folder."""
        (self.cwd / "pommel.toml").write_text(text)

    def machine(self, name: str) -> Path:
        """The folder of a machine."""
        return self.home / "machines" / name

    def close(self) -> None:
        """End whatever still runs here, and remove it all."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):  # gone since
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), 10)
        shutil.rmtree(self.root, ignore_errors=True)

    def processes(self) -> list[int]:
        """Every process whose command line or environment speaks of this home (not this one)."""
        found = []
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                told = (proc / "cmdline").read_bytes() + b"\0" + (proc / "environ").read_bytes()
                state = (proc / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(self.root).encode() in told and int(proc.name) != os.getpid() and state not in "ZX":
                found.append(int(proc.name))
        return found
