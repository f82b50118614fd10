"""The base image that tests of this room share with each other, and with every later run."""

from __future__ import annotations

import pytest

from driver import cache_folder
from pommel.progress import ignore
from pommel.trial.base import BaseImage, build_base


@pytest.fixture(scope="session")
def base() -> BaseImage:
    return build_base(cache_folder() / "trial", report=ignore)
