"""What the page has of others is byte by byte what their packages have, and their licences are with it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from driver import cache_folder
from pommel.console.files import static_files
from pommel.locks import hold

ROOT = Path(__file__).parents[2]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendored", ROOT / "tools" / "vendored.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["vendored"] = made
    spec.loader.exec_module(made)
    return made


def test_each_file_is_its_packages() -> None:
    vendored = tool()
    # Kept between runs: npm has checked the packages by the hashes of this lock file.
    lock = (ROOT / "lock" / "page" / "package-lock.json").read_bytes()
    folder = cache_folder() / "page"
    with hold(folder.with_suffix(".lock"), busy="somebody else fetches them", wait_s=300):
        folder.mkdir(exist_ok=True)
        if not (folder / "whole").exists() or (folder / "whole").read_bytes() != lock:
            vendored.fetch(folder)
            (folder / "whole").write_bytes(lock)
    assert vendored.differing(folder / "node_modules") == []


def test_what_is_not_ours_has_its_licence() -> None:
    folder = ROOT / "src" / "pommel" / "console" / "static"
    for name in static_files():
        if name.endswith(".mjs"):
            assert "Permission is hereby granted" in (folder / name).with_suffix(".LICENSE").read_text()
