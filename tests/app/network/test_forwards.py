"""Ports of this host into a running machine and out again: real QEMUs with a network and next to nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import bare
from pommel.app.network import forwarding, forwards, reach
from pommel.app.network.forwards import Ways
from pommel.app.workspace import Workspace
from pommel.errors import ConfigError, MachineError, NotPermitted, PommelError, StateError, UsageError
from pommel.machine import added, lifecycle, record
from pommel.machine.forwards import parse_forward
from pommel.machine.ports import next_free
from pommel.machine.record import MachineRecord
from pommel.paths import MachinePaths
from pommel.progress import Progress


class Two:
    """Two machines of one home, m and n."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.ssh = {"m": next_free(24000), "n": next_free(24200)}
        for number, name in enumerate(self.ssh):
            uuid, mac = f"00000000-0000-4000-8000-00000000000{number}", f"52:54:00:00:00:0{number}"
            paths = bare.make(workspace.home, name)
            paths.make_runtime()
            made = MachineRecord(name, "osx-kvm", uuid, mac, self.ssh[name], "2026-01-01T00:00:00+00:00")
            record.save(paths.record, made)

    def paths(self, name: str = "m") -> MachinePaths:
        return self.workspace.paths(name)

    def start(self, name: str = "m", *networks: str, **kept: object) -> None:
        """Start QEMU with these networks, or one of its own with SSH's forward, and say so as a start does."""
        ssh = f"tcp:127.0.0.1:{self.ssh[name]}-:22"
        words = [word for each in networks or (f"id=net0,hostfwd={ssh}",) for word in ("-netdev", f"user,{each}")]
        lifecycle.start(self.paths(name), bare.argv(self.paths(name), *words), accel="tcg")
        told = {"network": reach.as_kept(reach.Network(ports=(self.ssh[name],), services="10.0.2.100", **kept))}  # type: ignore[arg-type]
        (self.paths(name).directory / reach.STARTED).write_text(json.dumps(told))

    def add(self, *texts: str, name: str = "m", once: bool = False) -> dict[str, tuple[str, bool]]:
        return told(forwarding.add(name, texts, once=once, workspace=self.workspace))

    def remove(self, *texts: str, once: bool = False) -> dict[str, tuple[str, bool]]:
        return told(forwarding.remove("m", texts, once=once, workspace=self.workspace))

    def listed(self) -> dict[str, tuple[str, bool]]:
        return told(forwards.listed("m", workspace=self.workspace))


def told(found: Ways) -> dict[str, tuple[str, bool]]:
    """By whom each is, and whether it works; SSH's is left out."""
    return {way.forward: (way.origin, way.live) for way in found.forwards if way.origin != forwards.SSH}


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with bare.short_home() as home:
        (tmp_path / "pommel.toml").write_text("[machine.m]\n[machine.n]\n")
        yield Two(Workspace(home, tmp_path, {}))


def free(count: int = 1) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found.append(next_free(found[-1] + 1 if found else 24400))
    return found


def test_added_on_the_running_machine_kept_for_the_next_and_gone_when_removed(two: Two) -> None:
    two.start()
    one, other = free(2)
    tcp, udp, once = f"127.0.0.1:{one}:80/tcp", f"127.0.0.1:{one}:53/udp", f"127.0.0.1:{other}:81/tcp"
    assert two.add(f"{one}:80", f"{one}:53/udp") == {tcp: ("added", True), udp: ("added", True)}
    assert two.add(f"{other}:81", once=True)[once] == ("once", True)
    assert listens(one) and listens(other)
    assert two.add(f"{one}:80") == two.listed(), "the same again changes nothing"
    bare.end(two.paths().pidfile)
    assert two.listed() == {tcp: ("added", False), udp: ("added", False)}, "kill -9: what was added is kept"
    made = forwards.placed(two.workspace, two.workspace.spec("m"))
    assert list(map(str, made["forwards"])) == [tcp, udp]
    two.start("m", *[f"id=a,hostfwd={parse_forward(tcp).hostfwd}", f"id=b,hostfwd=tcp:127.0.0.1:{two.ssh['m']}-:22"])
    assert two.listed() == {tcp: ("added", True), udp: ("added", False)}
    assert two.add(f"{one}:53/udp")[udp] == ("added", True), "one that was lost works again"
    assert two.remove(f"{one}:80", once=True) == {tcp: ("added", False), udp: ("added", True)}
    assert two.remove(f"{one}:80", f"{one}:53/udp") == {}
    assert not listens(one)
    with pytest.raises(StateError, match="m has no forward") as gone:
        two.remove(f"{one}:80")
    assert "pommel forward m list" in (gone.value.hint or "")


def test_what_a_setting_or_the_boot_script_says_stands_until_it_is_changed_there(two: Two) -> None:
    one, other = free(2)
    said, script = f"127.0.0.1:{one}:80/tcp", f"127.0.0.1:{other}:81/tcp"
    (two.workspace.cwd / "pommel.toml").write_text(f'[machine.m]\nforwards = ["{one}:80"]\n[machine.n]\n')
    two.workspace = Workspace(two.workspace.home, two.workspace.cwd, {})
    ways = ",".join(f"hostfwd={parse_forward(text).hostfwd}" for text in (said, script))
    two.start("m", f"id=net0,hostfwd=tcp:127.0.0.1:{two.ssh['m']}-:22,{ways}", forwards=(said, script))
    assert two.listed() == {said: ("settings", True), script: ("boot script", True)}
    for text, where in ((f"{one}:80", "in the settings of m"), (f"{other}:81", "in the boot script")):
        with pytest.raises(UsageError, match=where) as stands:
            two.remove(text)
        assert "--once removes it from the running m" in (stands.value.hint or "")
    assert two.remove(f"{one}:80", once=True)[said] == ("settings", False)
    checked = {text: level for _, level, text, _ in forwards.checks(two.workspace, two.workspace.spec("m"))}
    assert checked[f"forward {said} is set, but does not work yet"] == "warn"
    assert checked[f"forward {script} works"] == "ok"
    with pytest.raises(StateError, match=f"m already uses this port for the forward {said}"):
        two.add(f"{one}:99")
    with pytest.raises(UsageError, match="used by m for SSH"):
        two.add(f"{two.ssh['m']}:80")
    with pytest.raises(UsageError, match="used by m for SSH"):
        two.remove(f"{two.ssh['m']}:22")
    added.save(two.paths(), added.Added((parse_forward(f"{one}:99"),)))
    with pytest.raises(ConfigError, match="use the same port") as both:
        forwards.placed(two.workspace, two.workspace.spec("m"))
    assert both.value.hint == f"pommel forward m remove 127.0.0.1:{one}:99/tcp"


def test_who_has_a_busy_port_is_named_before_anything_is_done(two: Two) -> None:
    two.start()
    (port,) = free()
    two.add(f"{port}:80", f"{port}:53/udp")
    for text in (f"{port}:81", f"{port}:53/udp", f"*:{port}:82"):
        with pytest.raises(MachineError, match="is the machine m's, which is running") as held:
            two.add(text, name="n")
        assert "pommel stop m" in (held.value.hint or "")
    assert forwards.claimed(two.workspace, "n", 2222) == {port: "m"} == forwards.claimed(two.workspace, "m", 2222)
    assert forwards.claimed(two.workspace, "m", port) == {}, "which is refused by name, and not moved"
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(MachineError, match=r"by .* \(pid \d+\)"):
        two.add(f"{busy.getsockname()[1]}:80")
    with pytest.raises(UsageError, match=r"192\.0\.2\.1 is not an address of this host"):
        two.add(f"192.0.2.1:{port + 1}:80")
    assert len(two.listed()) == 2 and not added.load(two.paths("n")).forwards
    assert two.add(f"127.0.0.2:{port}:83")[f"127.0.0.2:{port}:83/tcp"] == ("added", True), (
        "another address of this host"
    )


def test_an_address_of_ipv6_is_qemus_to_take_or_to_refuse(two: Two) -> None:
    two.start()
    (port,) = free()
    try:
        two.add(f"[::1]:{port}:80")
    except MachineError as refused:
        assert "can forward only from IPv4 addresses" in refused.message and "passt" in (refused.hint or "")
        assert not added.load(two.paths()).forwards
        with pytest.raises(MachineError, match="only from IPv4 addresses"):
            two.add(f"[::1]:{port}:80", name="n")  # which does not run, and is told now and not at its start
    except NotPermitted as missing:
        assert "this host has no ::1" in missing.message
    else:
        assert listens(port, "::1")


def test_a_machine_that_does_not_run_or_has_another_network_is_told_so(two: Two) -> None:
    (port,) = free()
    with pytest.raises(StateError, match="m is not running"):
        two.add(f"{port}:80", once=True)
    assert two.add(f"{port}:80") == {f"127.0.0.1:{port}:80/tcp": ("added", False)}
    lifecycle.start(two.paths(), bare.argv(two.paths()), accel="tcg")
    with pytest.raises(StateError, match="needs a user-mode network") as other:
        two.add(f"{port + 1}:80")
    assert "pommel ip m" in (other.value.hint or "")
    two.start("n", passt=True)
    with pytest.raises(StateError, match="can add forwards only when it starts"):
        two.add(f"{port + 1}:80", name="n", once=True)
    assert two.add(f"{port + 1}:80", name="n") == {f"127.0.0.1:{port + 1}:80/tcp": ("added", False)}
    (two.paths().directory / added.FILE).write_text('{"format": 2}')
    with pytest.raises(MachineError, match="its format is 2"):
        two.listed()


def test_services_of_this_host_lead_on_at_once_where_qemu_knows_the_port(two: Two) -> None:
    two.start(reverse=(7000,))
    said: list[str] = []

    def report(event: Progress) -> None:
        said.append(event.text)

    def add(*texts: str) -> list[tuple[str, bool]]:
        made = forwarding.add_reverse("m", texts, workspace=two.workspace, report=report)
        return [(each.service, each.live) for each in made.reverse]

    assert add("7000:80") == [("7000:127.0.0.1:80", True)] and not said
    assert add("7000:/run/x.sock", "7001:81") == [("7000:/run/x.sock", True), ("7001:127.0.0.1:81", False)]
    assert len(said) == 1 and "pommel restart m" in said[0] and "10.0.2.2:81" in said[0]
    assert [str(each) for each in added.leads(two.paths())] == ["7000:/run/x.sock", "7001:127.0.0.1:81"]
    left = forwarding.remove_reverse("m", ["7000:/run/x.sock"], workspace=two.workspace)
    assert [each.service for each in left.reverse] == ["7001:127.0.0.1:81"]
    assert [each.guest_port for each in added.leads(two.paths())] == [7001], "closed at once"
    with pytest.raises(PommelError, match="m has no reverse 1:127"):
        forwarding.remove_reverse("m", ["1:1"], workspace=two.workspace)
