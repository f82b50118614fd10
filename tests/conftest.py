"""Fixtures that more than one room uses."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from driver import Shell

# How long an example takes says how busy this machine is, not whether the code is right.
settings.register_profile("pommel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pommel")

# Who starts the tests in the background of a script has them ignore Ctrl-C, and all that they start with them; and
# what happens at a Ctrl-C is among the things that are tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def shell() -> Iterator[Shell]:
    """An empty home and the `pommel` command in it."""
    made = Shell()
    yield made
    made.close()
