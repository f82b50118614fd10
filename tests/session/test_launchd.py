"""The stand-in keeps to launchd.plist(5), and what that means for the signal."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from pommel.session.directory import safe_directory
from pommel.session.places import Places
from pommel.session.service_files import agent_job
from pommel.session.signal_file import SignalFile
from session.launchd import Launchd


class Job:
    """A job that lives for as long as it is told."""

    def __init__(self) -> None:
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status


class Scene:
    """The real LaunchAgent in the stand-in, and the real signal."""

    def __init__(self, folder: Path) -> None:
        self.places = Places("pommel", "macos", PurePosixPath(folder))
        self.jobs: list[Job] = []
        self.launchd = Launchd(agent_job(self.places, ["/bin/pommel"]), self._start)
        self.warnings: list[str] = []

    def _start(self, words: list[str]) -> Job:
        assert words == ["/bin/pommel", "-kvm1"]
        self.jobs.append(Job())
        return self.jobs[-1]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_started_by_the_signal_and_not_stopped_by_its_going(scene: Scene) -> None:
    with safe_directory(scene.places.signals, mode=0o755) as directory:
        signal = SignalFile(directory, scene.places.signal.name, scene.warnings.append)
        scene.launchd.tick(0)
        assert scene.jobs == []
        signal.up()
        scene.launchd.tick(1)
        assert len(scene.jobs) == 1
        signal.down()
        scene.launchd.tick(2)
        assert scene.jobs[0].status is None  # it runs on: it is the end of its stream that it leaves by
        scene.jobs[0].status = 0
        scene.launchd.tick(30)
    assert scene.launchd.starts == [1]
    assert scene.warnings == []


def test_respawned_while_the_signal_is_there_but_not_sooner_than_after_ten_seconds(scene: Scene) -> None:
    with safe_directory(scene.places.signals, mode=0o755) as directory:
        SignalFile(directory, scene.places.signal.name, scene.warnings.append).up()
        for second in range(35):
            scene.launchd.tick(second)
            scene.jobs[-1].status = 1
    assert scene.launchd.starts == [0, 10, 20, 30]


def test_a_stranger_in_the_directory_has_it_respawned_for_ever_and_is_spoken_of(scene: Scene) -> None:
    with safe_directory(scene.places.signals, mode=0o755) as directory:
        signal = SignalFile(directory, scene.places.signal.name, scene.warnings.append)
        (directory.path / ".DS_Store").touch()
        signal.down()
        for second in range(25):
            scene.launchd.tick(second)
            scene.jobs[-1].status = 0
        signal.down()
    assert scene.launchd.starts == [0, 10, 20]
    assert len(scene.warnings) == 1
    assert ".DS_Store" in scene.warnings[0]
