"""The trial machine, started by hand: what the boot script asks for, less what this host cannot do.

Pommel's own overlay rules are not used here: these tests are about the guest.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from free_ports import free_port
from pommel.progress import ignore
from pommel.ssh import SshTarget, ssh_argv
from pommel.trial import provision, upstream
from pommel.trial.base import BaseImage
from waits import wait_until

from .test_upstream import recorded

SIZE = (1280, 800)


class Machine:
    """One provisioned machine; `start` gives it power."""

    def __init__(self, root: Path, base: BaseImage, *, name: str = "trial") -> None:
        self.root = root
        self.upstream = upstream.materialise(root / "upstream", base)
        (root / "machine").mkdir()
        self.made = provision.provision(root / "machine", base, name=name, disk_bytes=8 << 30, report=ignore)
        shutil.copy(self.made.disk, self.upstream / "mac_hdd_ng.img")
        self.port = free_port()
        self.target = SshTarget(name, self.port, provision.TRIAL_USER, self.made.private_key, self.made.known_hosts)

    def argv(self) -> list[str]:
        words = recorded(self.upstream / upstream.SCRIPT, self.root)
        skip = {"-enable-kvm": 1, "-cpu": 2, "-smp": 2, "-m": 2, "-monitor": 2}
        kept, i = [], 0
        while i < len(words):
            step = skip.get(words[i], 0)
            if not step and not any("InstallMedia" in word for word in words[i : i + 2]):
                kept += words[i : i + 2]
            i += step or 2
        swap = f"hostfwd=tcp:127.0.0.1:{self.port}-:22"
        kept = [word.replace("hostfwd=tcp::2222-:22", swap) for word in kept]
        return [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048", *kept),
            *("-display", "none", "-audiodev", "none,id=quiet", "-serial", f"file:{self.root}/serial.log"),
            *("-qmp", f"unix:{self.root}/qmp,server=on,wait=off"),
        ]

    def start(self) -> None:
        self.started = time.monotonic()
        with (self.root / "qemu.log").open("wb") as log:
            self.qemu = subprocess.Popen(self.argv(), cwd=self.upstream, stdout=log, stderr=log)

    def close(self) -> None:
        self.qemu.kill()
        self.qemu.wait()

    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 1)

    def qmp(self, command: str, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as wire, wire.makefile("rw") as talk:
            wire.connect(str(self.root / "qmp"))
            talk.readline()
            for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                talk.write(json.dumps(words) + "\n")
                talk.flush()
                while "event" in (answer := json.loads(talk.readline())):
                    pass
            return answer["return"]

    def type(self, *keys: str) -> None:
        for key in keys:
            self.qmp("send-key", keys=[{"type": "qcode", "data": part} for part in key.split("+")])
            time.sleep(0.1)

    def click(self, x: int, y: int) -> None:
        where = [
            {"type": "abs", "data": {"axis": axis, "value": value * 32767 // size}}
            for axis, value, size in zip("xy", (x, y), SIZE, strict=True)
        ]
        self.qmp("input-send-event", events=where)
        for down in (True, False):
            time.sleep(0.3)
            self.qmp("input-send-event", events=[{"type": "btn", "data": {"down": down, "button": "left"}}])

    def pixel(self, x: int, y: int) -> tuple[int, ...] | None:
        """One pixel of the screen, or None while the screen is not of the desktop's size."""
        shot = self.root / "screen.ppm"
        self.qmp("screendump", filename=str(shot))
        data = shot.read_bytes()
        header = b"P6\n%d %d\n255\n" % SIZE
        start = len(header) + 3 * (y * SIZE[0] + x)
        return tuple(data[start : start + 3]) if data.startswith(header) else None

    def ssh(self, command: str, *, input: bytes = b"", user: str | None = None, status: int = 0) -> bytes:
        options = [f"User={user}"] if user else []
        words = ssh_argv(self.target, [command], batch=True, options=options)
        if user:
            words[words.index("-l") + 1] = user
        done = subprocess.run(words, input=input, capture_output=True, timeout=60)
        assert done.returncode == status, done
        return done.stdout

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as wire:
                wire.settimeout(2)
                return wire.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait_for_pixel(self, where: tuple[int, int], colour: tuple[int, int, int], timeout_s: float) -> None:
        wait_until(lambda: self.pixel(*where) == colour, timeout_s, every_s=0.5)
