"""A machine that starts with its host and powers down with it: a real systemd boots three times, and nobody logs in."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.host.test_system_service import BOOT, SETTINGS
from booted import ADA, Host
from machine.test_units import unquoted
from pommel.process import run
from waits import wait_until

UNIT = "pommel-ada-m.service"
HOME, SAID = "/srv/vms/home", "/home/ada/said"
# Says R once it listens for the power button, P when that is pressed, and powers down: as machine/bare.py, and more.
GUEST = bytes.fromhex("fa ba0206b80001ef b052e6e9 ba0006edf6c40174f7 b80001ef b050e6e9 ba0406b80020ef f4ebfd")
SECTOR = GUEST.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512)
# A network and a disk that come late: without an order, the machine would be started before either. Nothing but the
# machine's unit wants the disk.
NETWORK = """[Unit]
DefaultDependencies=no
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sleep 1.5
"""
DISK = """[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sleep 1
ExecStop=sh -c "pgrep -c qemu-system >/var/left; ls /srv/vms >/var/seen; true"
"""
MOUNT = """[Unit]
DefaultDependencies=no
Conflicts=umount.target
Before=umount.target
Requires=late-disk.service
After=late-disk.service
[Mount]
What=/var/vms
Where=/srv/vms
Type=none
Options=bind
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with ada's machine m, on a disk that is mounted; its guest is of a few bytes."""
    with tempfile.TemporaryDirectory(prefix="pm-") as place:
        Path(place).chmod(0o755)
        found = Host(Path(place) / "root")
        vms, ada = found.root / "var/vms", found.root / "home/ada"
        (vms / "home").mkdir(parents=True)
        (found.root / "srv/vms").mkdir()
        (ada / "up").mkdir()
        (ada / "up/boot.sh").write_text(BOOT)
        (ada / "up/boot.sh").chmod(0o755)
        (ada / "up/BaseSystem.img").write_bytes(SECTOR)  # SeaBIOS looks at the first disk alone
        more = f'qemu_args = ["-debugcon", "file:{SAID}"]\n'
        (ada / "pommel.toml").write_text(SETTINGS.replace("../up", "up").replace("stop_timeout = 2", "") + more)
        run(["chown", "-R", f"{ADA}:{ADA}", vms / "home", ada])
        found.unit("late-network.service", NETWORK, wanted_by="network-online.target")
        found.unit("late-disk.service", DISK)
        found.unit("srv-vms.mount", MOUNT)
        try:
            yield found
        finally:
            found.close()


def make(host: Host) -> None:
    """Have ada make the machine, and give it a guest that listens for the power button."""
    host.pommel("up", "m", "--detach", "--headless", "--yes", "--wait-timeout", "1", status=None, POMMEL_HOME=HOME)
    host.pommel("stop", "m", "--force", POMMEL_HOME=HOME)
    disk, raw = host.root / "var/vms/home/machines/m/mac_hdd_ng.img", host.root / "var/sector"
    raw.write_bytes(SECTOR)
    run(["qemu-img", "convert", "-O", "qcow2", "-f", "raw", raw, disk])
    os.chown(disk, ADA, ADA)


def standing(host: Host) -> tuple[str, str, str]:
    """The state of the machine, and what systemd says of the unit, as ada is told."""
    told = json.loads(host.pommel("service", "status", "m", "--json", POMMEL_HOME=HOME).stdout)["service_units"]
    (unit,) = (each for each in told if each["scope"] == "system")
    state = json.loads(host.pommel("status", "m", "--json", POMMEL_HOME=HOME).stdout)["state"]
    return state, unit["starts"], unit["active"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root boots a systemd, and writes a unit for another user")
def test_it_starts_with_the_host_as_its_user_and_powers_down_with_it_each_time(host: Host) -> None:
    said = host.root / SAID[1:]

    host.boot()
    host.run("systemctl", "start", "srv-vms.mount")
    make(host)
    host.pommel("service", "install", "m", "--system", "--user", "ada", ada=False, POMMEL_HOME=HOME,
                POMMEL_CONFIG="/home/ada/pommel.toml")  # fmt: skip
    assert standing(host) == ("stopped", "enabled", "inactive")
    (mounts,) = (
        line for line in (host.root / "etc/systemd/system" / UNIT).read_text().splitlines() if "MountsFor" in line
    )
    assert f"{HOME}/machines/m" in unquoted(mounts.partition("=")[2])
    host.power_off()
    (host.root / "var/left").unlink()

    host.boot()
    wait_until(lambda: said.exists() and said.read_bytes() == b"R", 60)
    # The guest is quick: it may speak before Pommel has seen QEMU answer.
    wait_until(lambda: standing(host) == ("running", "enabled", "active"), 60, every_s=0.5)
    (qemu,) = host.pids("qemu-system-x86_64")
    assert os.stat(f"/proc/{qemu}").st_uid == ADA
    assert host.pids("systemd\0--user") == [] and host.run("who").stdout == "", "nobody logged in"
    begun = host.when(UNIT, "InactiveExit")
    assert begun >= max(host.when("network-online.target"), host.when("late-network.service"))
    assert begun >= host.when("srv-vms.mount") > 0
    host.power_off()
    assert said.read_bytes() == b"RP", "the guest was asked, and powered down by itself"
    assert (host.root / "var/left").read_text() == "0\n" and (host.root / "var/seen").read_text() == ""
    events = (host.root / "var/vms/home/machines/m/events.log").read_text()
    assert "crashed" not in events

    said.unlink()
    host.boot()
    wait_until(lambda: said.exists() and said.read_bytes() == b"R", 60)
    host.run("systemctl", "stop", UNIT)
    assert said.read_bytes() == b"RP" and standing(host) == ("stopped", "enabled", "inactive")
    host.run("systemctl", "start", UNIT)
    wait_until(lambda: said.read_bytes() == b"R", 60)
    host.pommel("service", "uninstall", "m", "--system", "--user", "ada", ada=False, POMMEL_HOME=HOME)
    assert not (host.root / "etc/systemd/system" / UNIT).exists()
    wait_until(lambda: standing(host)[0] == "running", 60, every_s=0.5, what="it goes on")
    host.pommel("stop", "m", POMMEL_HOME=HOME)
    assert host.run("systemctl", "is-enabled", UNIT, status=None).stdout.strip() in ("", "not-found")
    host.power_off()
