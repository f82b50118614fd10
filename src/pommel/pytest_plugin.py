"""Fixtures of pytest for tests that need a machine of their own. Band: face, like `cli`; pytest loads it by itself.

[tool.pytest.ini_options]
pommel_image = "trial"

def test_it(pommel_machine):
    assert pommel_machine.run("uname").text == "Linux"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from pommel.errors import PommelError

if TYPE_CHECKING:
    from pommel.app.throwaway.lending import ThrowawayMachine


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the setting for the machine or image to clone."""
    helps = "the stopped machine, or the image NAME:TAG, of which pommel_machine is a clone"
    parser.getgroup("pommel").addoption("--pommel-image", metavar="IMAGE", help=helps)
    parser.addini("pommel_image", helps)


@pytest.fixture(scope="session")
def pommel_machines(pytestconfig: pytest.Config) -> Callable[..., AbstractContextManager[ThrowawayMachine]]:
    """A function for a `with` block: `with pommel_machines() as machine`, or with an image and `memory`."""
    from pommel.app.throwaway.lending import throwaway

    def make(image: str | None = None, *, memory: str | None = None) -> AbstractContextManager[ThrowawayMachine]:
        chosen = image or pytestconfig.getoption("pommel_image") or pytestconfig.getini("pommel_image")
        if not chosen:
            raise PommelError(
                "it is not said of which machine pommel_machine is a clone",
                hint='pytest --pommel-image NAME, or pommel_image = "NAME" in the settings of pytest',
            )
        return throwaway(chosen, memory=memory)

    return make


@pytest.fixture
def pommel_machine(
    pommel_machines: Callable[..., AbstractContextManager[ThrowawayMachine]],
) -> Iterator[ThrowawayMachine]:
    """A running machine for this test only; it is deleted after the test."""
    try:
        with pommel_machines() as machine:
            yield machine
    except PommelError as failure:
        said = f"{failure.message}\nhint: {failure.hint}" if failure.hint else failure.message
    else:
        return
    pytest.fail(said, pytrace=False)  # outside of the `except`: inside, pytest would print the error twice
