"""Names from one service id."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from pommel.errors import ConfigError, UsageError
from pommel.session.places import SOCKET_PATH_MAX, Places


def test_the_original_designs_names() -> None:
    places = Places.of("macos", "meshagent")
    assert str(places.signal) == "/var/run/meshagent/session-active"
    assert str(places.agent_plist) == "/Library/LaunchAgents/meshagent-kvm1.plist"
    assert str(places.daemon_plist) == "/Library/LaunchDaemons/meshagent.plist"
    assert not str(places.socket(501)).startswith("/tmp")


def test_on_linux_the_machines_own_sockets_are_elsewhere() -> None:
    places = Places.of("linux")
    assert str(places.signal) == "/run/pommel-kvm/session-active"
    assert str(places.socket(1000)) == "/run/pommel-kvm-sessions/1000.sock"
    assert str(places.agent_path_unit_file) == "/etc/systemd/user/pommel-kvm-agent.path"


@pytest.mark.parametrize("system", ["linux", "macos"])
def test_nothing_else_lies_where_the_launcher_looks(system: str) -> None:
    places = Places.of(system)  # type: ignore[arg-type]
    others = [places.socket(1), places.token(1), places.lock, places.sockets]
    assert all(places.signals not in other.parents for other in others)


@pytest.mark.parametrize("service_id", ["", ".", "..", "a/b", "-x", "a b", "a" * 41, "a\n", "ü", "a\0"])
def test_ids_that_are_tricks(service_id: str) -> None:
    with pytest.raises(UsageError, match="service id"):
        Places.of("linux", service_id)


def test_a_socket_path_that_the_system_would_cut_off() -> None:
    deep = PurePosixPath("/" + "d" * 60)
    with pytest.raises(ConfigError, match="bytes"):
        Places.of("linux", "a" * 30, run=deep)


@pytest.mark.parametrize("system", ["linux", "macos"])
def test_the_longest_id_fits(system: str) -> None:
    places = Places.of(system, "a" * 40)  # type: ignore[arg-type]
    assert len(str(places.socket(2**32 - 1))) + 5 <= SOCKET_PATH_MAX[system]  # type: ignore[index]


def test_what_outlives_a_boot_is_elsewhere() -> None:
    assert str(Places.of("linux").ticket) == "/var/lib/pommel-kvm/group.msh"
    assert str(Places.of("macos", "x").mesh) == "/var/db/x-kvm/mesh"
    trying = Places.of("linux", run=PurePosixPath("/r"))
    assert str(trying.mesh) == "/r/state/pommel-kvm/mesh"
