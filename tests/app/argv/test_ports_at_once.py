"""A port that somebody takes between the look that finds it free and QEMU's own use of it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from app.argv.test_machine_disk import DISK, LINE, Place
from pommel.app.machine import making, power
from pommel.errors import MachineError
from pommel.machine import lifecycle, record
from pommel.machine.ports import next_free
from pommel.progress import Progress, ignore


def test_the_next_port_is_taken_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    place.script(LINE + DISK.format("qcow2"))
    wanted = next_free(27000)
    workspace = place.workspace('disk_file = "own"', f"ssh_port = {wanted}", 'memory = "256M"', 'identity = "upstream"')
    making.make(workspace, workspace.spec("mac"), report=ignore)
    real, others, said = lifecycle.start, list[socket.socket](), list[Progress]()

    def start(paths: Any, argv: Any, **words: Any) -> None:
        """Two others are quicker by an instant."""
        if len(others) < 2:
            others.append(socket.create_server(("127.0.0.1", record.load(paths.record).ssh_port)))
        real(paths, argv, **words)

    monkeypatch.setattr(lifecycle, "start", start)
    try:
        told = power.start("mac", workspace=workspace, report=said.append)
        taken = [each.getsockname()[1] for each in others]
        assert taken[0] == wanted and told.ssh_port not in (None, *taken)
        assert record.load(workspace.paths("mac").record).ssh_port == told.ssh_port
        for port in taken:
            assert any(f"port {port} was taken by another program" in event.text for event in said)
        assert sum("is in use on this host: mac gets" in event.text for event in said) == 2
    finally:
        for each in others:
            each.close()
        power.stop("mac", force=True, workspace=workspace)


def test_what_else_ends_a_start_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    place.script(LINE + DISK.format("qcow2"))
    workspace = place.workspace('disk_file = "own"', 'identity = "upstream"', 'qemu_args = ["-object", "nonsense"]')
    making.make(workspace, workspace.spec("mac"), report=ignore)
    said = list[Progress]()
    with pytest.raises(MachineError, match="nonsense"):
        power.start("mac", workspace=workspace, report=said.append)
    assert not any("trying again" in event.text for event in said)
