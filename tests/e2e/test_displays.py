"""Two displays of a size of their own on the trial machine: told by the adapter, taken by the guest's driver, shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driver import Shell
from e2e.conftest import up
from isolation import patient
from waits import wait_until

pytestmark = pytest.mark.e2e
SETTINGS = '[machine.trial]\ndisplay = "virtio-gpu"\ndisplays = 2\n'
# What the guest's kernel knows of the adapter's outputs: state, and the first of its sizes.
LOOK = 'for each in /sys/class/drm/card*-*; do echo "$(cat $each/status) $(head -1 $each/modes)"; done'


@pytest.fixture
def machine() -> Iterator[Shell]:
    shell = Shell(share_base=True)
    shell.config(SETTINGS + 'resolution = "1600x900"\n')
    yield shell
    shell.close()


def sizes(shell: Shell, *words: str) -> list[str]:
    return [f"{each['width']}x{each['height']}" for each in shell.json("display", "trial", *words)["screens"]]


def guest(shell: Shell, command: str) -> list[str]:
    return shell.run("ssh", "trial", "--", command).stdout.splitlines()


def test_a_guest_takes_the_size_that_it_is_told_and_shows_it_on_both(machine: Shell) -> None:
    up(machine, "trial", "--detach")
    assert sizes(machine) == ["1600x900", "1600x900"]
    assert guest(machine, "cat /sys/class/graphics/fb0/virtual_size") == ["1600,900"]
    assert guest(machine, LOOK) == ["connected 1600x900"] * 2
    first, second = (machine.cwd / name for name in ("1.png", "2.png"))
    for number, path in ((1, first), (2, second)):
        assert machine.json("screenshot", "trial", str(path), "--display", str(number))["width"] == 1600

    # While it runs: QEMU tells the guest's driver, which has another size for its outputs at once.
    machine.config(SETTINGS)
    machine.run("display", "trial", "--resolution", "1280x720")
    wait_until(lambda: guest(machine, LOOK) == ["connected 1280x720"] * 2, patient(30), 1.0)
    assert sizes(machine) == ["1280x720", "1280x720"]
    machine.run("stop", "trial", "--force")
    assert not list(machine.root.rglob("vnc*.sock")), "the socket of the second display goes with the machine"
