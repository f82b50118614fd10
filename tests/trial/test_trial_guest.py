"""The guest on a real QEMU: what it must be like to stand in for a Mac."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest

from pommel.trial.base import BaseImage
from waits import wait_until

from .machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PICKED = (0, 0, 0x98)  # the bar of the second entry
DESKTOP, PLACE = (0x2F, 0x5D, 0x7C), (640, 700)
LEFT_TITLE, RIGHT_TITLE = (60, 91), (700, 91)  # an upper edge: the focused title is a gradient
BOOT_S = 60.0  # what issue 2 asks for; a loaded machine gets twice that before the test gives up


@pytest.fixture(scope="module")
def machine(base: BaseImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("trial"), base, name="first.trial")
    made.start()
    yield made
    made.close()


def test_it_comes_up(machine: Machine) -> None:
    wait_until(machine.answers, 2 * BOOT_S, every_s=0.5)
    ssh_s = machine.seconds()
    wait_until(lambda: machine.pixel(*LEFT_TITLE) not in (None, (0, 0, 0)), 2 * BOOT_S, every_s=0.5)
    machine.wait_for_pixel(PLACE, DESKTOP, BOOT_S)
    print(f"power-on to ssh {ssh_s} s, to the desktop {machine.seconds()} s")
    # The host key was known before the first boot, and so was the machine's name.
    assert machine.ssh("hostname; whoami").split() == [b"first-trial", b"trial"]
    assert machine.ssh("whoami", user="root") == b"root\n"
    assert machine.ssh("systemctl --failed --plain --no-legend", user="root") == b""


def test_keys_go_to_the_focused_terminal_and_a_click_moves_focus(machine: Machine) -> None:
    wait_until(lambda: machine.ssh("pgrep -c xterm || true").strip() == b"2", BOOT_S)
    machine.type(*"touch", "spc", *"left", "ret")
    wait_until(lambda: b"left" in machine.ssh("ls"), 20)
    left = machine.pixel(*LEFT_TITLE)
    machine.click(1000, 300)
    wait_until(lambda: machine.pixel(*RIGHT_TITLE) == left != machine.pixel(*LEFT_TITLE), 20)
    machine.type(*"echo", "spc", "shift+4", "0", "shift+dot", *"right", "ret")
    wait_until(lambda: machine.ssh("cat right 2>/dev/null || true") == b"bash\n", 20)


def test_the_pasteboard_is_the_desktops_clipboard_byte_for_byte(machine: Machine) -> None:
    for data in (b"", "grüße\n\ttab".encode(), b"no newline", os.urandom(400_000)):
        machine.ssh("pbcopy", input=data)
        assert machine.ssh("pbpaste") == data
    machine.ssh("printf typed | DISPLAY=:0 XAUTHORITY=$HOME/.Xauthority xclip -selection clipboard >/dev/null 2>&1")
    assert machine.ssh("pbpaste") == b"typed"


def test_it_is_a_real_login_session(machine: Machine) -> None:
    session = machine.ssh("loginctl show-seat seat0 -p ActiveSession --value").decode().strip()
    told = machine.ssh(f"loginctl show-session {session} -p Type -p Name -p Active -p Remote -p Class").decode()
    assert set(told.split()) == {"Type=x11", "Name=trial", "Active=yes", "Remote=no", "Class=user"}
    user = machine.ssh("systemctl --user show-environment").decode()
    assert "DISPLAY=:0" in user and "XAUTHORITY=/home/trial/.Xauthority" in user
    machine.ssh("systemd-run --user --wait --quiet python3 -c 'import ctypes, socket, ssl'")


def test_the_disk_is_as_large_as_asked_for(machine: Machine) -> None:
    size = int(machine.ssh("df -B1M --output=size / | tail -1"))
    assert 7400 < size <= 8192


def test_it_takes_no_passwords(machine: Machine) -> None:
    told = machine.ssh("sshd -T", user="root").decode()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no"} <= set(told.splitlines())
    shadow = machine.ssh("cat /etc/shadow", user="root").decode()
    assert not [line for line in shadow.splitlines() if not re.match(r"[^:]+:[*!]", line)]


def test_the_power_button_turns_it_off_and_the_picker_starts_the_base_system(machine: Machine) -> None:
    machine.qmp("system_powerdown")
    wait_until(lambda: machine.qemu.poll() is not None, 60)
    assert machine.qemu.returncode == 0
    # The same NVRAM and disk again: in the picker, Up leaves Trial HD for Trial Base System.
    machine.start()
    wait_until(lambda: (machine.root / "qmp").exists(), 10)
    wait_until(lambda: machine.pixel(900, 210) == PICKED, 60)
    machine.type("up", "ret")

    def told() -> bool:
        machine.type(
            *"systemctl",
            "spc",
            *"is",
            "minus",
            *"system",
            "minus",
            *"running",
            "shift+dot",
            "slash",
            *"dev",
            "slash",
            *"tty",
            "shift+s",
            "0",
            "ret",
        )
        time.sleep(2)
        return b"maintenance" in (machine.root / "serial.log").read_bytes()

    wait_until(told, 90, every_s=3)
    machine.type("ctrl+c", *"poweroff", "ret")
    wait_until(lambda: machine.qemu.poll() is not None, 60)
