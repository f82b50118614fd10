"""Where a guest is reached: by a forward, at an address of its own, or where the user says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from machine.given import line_with, overlaid
from pommel.app.guest import shell as guest
from pommel.app.machine import machines
from pommel.app.network import checks as network_checks
from pommel.app.network import reach
from pommel.app.workspace import Workspace
from pommel.errors import AddressError, MachineError, NotPermitted, StateError
from pommel.machine.record import MachineRecord, save
from pommel.paths import Home

MAC = "52:54:00:0a:0b:0c"


def made(tmp_path: Path, toml: str = "", name: str = "mac") -> Workspace:
    (tmp_path / "pommel.toml").write_text(f"[machine.{name}]\n{toml}")
    workspace = Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {})
    path = workspace.paths(name).record
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, MachineRecord(name, "osx-kvm", "0" * 8 + "-0000-4000-8000-" + "0" * 12, MAC, 2222, "now"))
    return workspace


def started(
    workspace: Workspace, *, forward: bool, macs: tuple[str, ...] = (MAC,), ports: tuple[int, ...] = ()
) -> None:
    told = {"network": reach.as_kept(reach.Network(forward, macs, ports))}
    (workspace.paths("mac").directory / reach.STARTED).write_text(json.dumps(told))


def test_a_forward_is_the_usual_way(tmp_path: Path) -> None:
    assert reach.address(made(tmp_path), "mac") == reach.Address("127.0.0.1", 2222, "a forward on this host")


def test_what_the_user_says_stands_before_all(tmp_path: Path) -> None:
    found = reach.address(made(tmp_path, 'ssh_host = "mac.local:2200"\n'), "mac")
    assert (found.host, found.port) == ("mac.local", 2200)


def test_a_machine_that_was_never_started_is_where_its_settings_put_it(tmp_path: Path) -> None:
    workspace = made(tmp_path, 'network = "tap:t0"\nmac = "52:54:00:00:00:77"\n')
    with pytest.raises(AddressError, match="52:54:00:00:00:77"):
        reach.address(workspace, "mac", root=tmp_path / "root")
    assert reach.forwarded_port(workspace, "mac") is None
    assert reach.forwarded_port(made(tmp_path, 'network = "passt"\n'), "mac") == 2222
    with pytest.raises(StateError, match="mac has no network"):
        reach.address(made(tmp_path, 'network = "none"\n'), "mac")


def test_without_a_forward_the_cards_address_is_looked_for(tmp_path: Path) -> None:
    workspace = made(tmp_path)
    started(workspace, forward=False)
    root = tmp_path / "root"
    with pytest.raises(StateError, match="does not know the address of its network card") as told:
        reach.address(workspace, "mac", root=root)
    assert "ssh_host" in (told.value.hint or "")
    (root / "var/lib/misc").mkdir(parents=True)
    (root / "var/lib/misc/dnsmasq.leases").write_text(f"1 {MAC} 192.168.122.57 mac *\n")
    found = reach.address(workspace, "mac", root=root)
    assert (found.host, found.port) == ("192.168.122.57", 22)


def test_what_a_start_gives_is_read_from_the_finished_line() -> None:
    assert reach.network_of(overlaid().command_line, 2201) == reach.Network(
        True, (MAC,), (2201,), ("127.0.0.1:2201:22/tcp",), (), "10.0.2.100"
    )
    words = ("-netdev", "tap,id=n,ifname=t0", "-device", "e1000,netdev=n")
    line = overlaid(line_with(*words, without=("-netdev", "-device virtio-net")), network="upstream").command_line
    assert reach.network_of(line, 2201) == reach.Network(False, (MAC,))
    assert reach.network_of(overlaid(network="none").command_line, 2201) == reach.Network(False, ())


def test_other_machines_addresses_are_known(tmp_path: Path) -> None:
    workspace = made(tmp_path, name="other")
    assert reach.taken_macs(workspace, "mac") == {MAC: "other"}
    assert reach.taken_macs(workspace, "other") == {}


def problems(network: str, root: Path) -> list[str]:
    return [text for text, _ in network_checks.problems(overlaid(network=network).command_line, root=root)]


def test_what_a_bridge_needs_is_told_with_what_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert problems("bridge:br0", tmp_path) == [
        "there is no bridge br0 on this host",
        "qemu-bridge-helper is not installed",
    ]
    helper = tmp_path / "usr/lib/qemu/qemu-bridge-helper"
    for folder in (tmp_path / "sys/class/net/br0", helper.parent, tmp_path / "etc/qemu"):
        folder.mkdir(parents=True)
    helper.touch(mode=0o755)
    assert [text.replace(str(tmp_path), "") for text in problems("bridge:br0", tmp_path)] == [
        "/usr/lib/qemu/qemu-bridge-helper has no permission to join a bridge", "/etc/qemu/bridge.conf does not allow the bridge br0",
    ]  # fmt: skip
    helper.chmod(0o4755)
    (tmp_path / "etc/qemu/bridge.conf").write_text("# mine\nallow br0\n")
    assert problems("bridge:br0", tmp_path) == []
    (tmp_path / "etc/qemu/bridge.conf").write_text("allow all\ndeny br0\n")
    assert len(problems("bridge:br0", tmp_path)) == 1


def test_what_a_tap_device_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert problems("tap:t0", tmp_path) == ["there is no tap device t0 on this host"]
    (tmp_path / "sys/class/net/t0").mkdir(parents=True)
    assert problems("tap:t0", tmp_path) == ["t0 is not a tap device"]
    (tmp_path / "sys/class/net/t0/owner").write_text("0\n")
    assert problems("tap:t0", tmp_path) == ["the tap device t0 belongs to another user (uid 0)"]
    (tmp_path / "sys/class/net/t0/owner").write_text("1000\n")
    assert problems("tap:t0", tmp_path) == []


def test_a_start_is_refused_for_a_network_or_a_port_that_cannot_be_had() -> None:
    with pytest.raises(NotPermitted, match="no bridge br-none") as told:
        network_checks.refuse(overlaid(network="bridge:br-none").command_line)
    assert 'network = "user"' in (told.value.hint or "")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        words = ("-netdev", f"user,id=n,hostfwd=tcp::{port}-:80", "-device", "e1000,netdev=n")
        line = overlaid(line_with(*words, without=("-netdev", "-device virtio-net"))).command_line
        with pytest.raises(MachineError, match=f"port {port}, .* in use on this host") as busy_port:
            network_checks.refuse(line)
        assert "ss -ltnp" in (busy_port.value.hint or "")
        with pytest.raises(MachineError, match=f"port {port}, .* is the machine first's") as held:
            network_checks.refuse(line, lambda asked: "first" if asked.port == port else None)
        assert "pommel stop first" in (held.value.hint or "")


def test_a_port_is_held_by_the_machine_that_runs_with_it(tmp_path: Path) -> None:
    workspace = made(tmp_path)
    started(workspace, forward=True, ports=(8080,))
    assert reach.port_holder(workspace, "other", 8080) is None, "it does not run"
    paths = workspace.paths("mac")
    ready = (
        f"import fcntl, time; f = open({str(paths.pidfile)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", ready + "; time.sleep(60)"], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline()
            assert reach.port_holder(workspace, "other", 8080) == "mac"
            assert reach.port_holder(workspace, "other", 8081) is None
            assert reach.port_holder(workspace, "mac", 8080) is None, "its own"
        finally:
            holder.kill()


def test_a_machine_without_a_card_has_no_way_in(tmp_path: Path) -> None:
    workspace = made(tmp_path)
    started(workspace, forward=False, macs=())
    with pytest.raises(StateError, match="mac has no network") as told:
        reach.address(workspace, "mac")
    assert 'network = "user"' in (told.value.hint or "")


def test_one_machine_whose_address_nobody_knows_does_not_hide_the_others(tmp_path: Path) -> None:
    workspace = made(tmp_path, name="other")
    workspace = made(tmp_path)
    started(workspace, forward=False)
    blocks = guest.ssh_config(workspace)
    assert blocks.startswith("# mac: mac has a network without a forward")
    assert "Host other\n" in blocks
    with pytest.raises(AddressError):
        guest.ssh_config(workspace, ["mac"])
    assert machines.status("mac", workspace=workspace).ssh_port is None
    assert machines.status("other", workspace=workspace).ssh_port == 2222


def test_a_shared_connection_is_ended_without_knowing_the_guests_address(tmp_path: Path) -> None:
    workspace = made(tmp_path)
    started(workspace, forward=False)
    shared = guest.shared_socket(workspace, "mac")
    shared.parent.mkdir(parents=True)
    shared.touch()
    guest.end_shared(workspace, "mac")
