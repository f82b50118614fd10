"""A bare QEMU for the tests that want one; a file's tests share it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from pommel.screen import hands

from .bare_qemu import BareQemu, bare_qemu


@pytest.fixture(scope="module")
def machine() -> Iterator[BareQemu]:
    with bare_qemu() as running:
        yield running


@pytest.fixture
async def qemu(machine: BareQemu) -> AsyncIterator[BareQemu]:
    """It shows text, no key is down, and it tells only what this test did."""
    await hands.press(machine.vnc, "f3")
    machine.forget()
    yield machine
