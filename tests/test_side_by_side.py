"""Tests in two workers, by the real pytest-xdist: a file is one worker's, and so are all that boot machines, and the packages."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from isolation import patient

CONFTEST = """
import sys
sys.path.insert(0, {tests!r})
from side_by_side import pytest_collection_modifyitems, pytest_make_parametrize_id, pytest_xdist_make_scheduler

import pytest
@pytest.fixture
def trial():
    pass
"""
# The bytes are others in each worker, as those with the time in them may be: the tests must be the same for all that.
BODY = """
import os
import time
from pathlib import Path
import pytest
{mark}
@pytest.mark.parametrize("data", [os.urandom(9), b"x"])
@pytest.mark.parametrize("number", range(2))
def test_it(number, data, worker_id{shared}):
    with Path({told!r}).open("a") as out:
        out.write(f"{{worker_id}} {{Path(__file__).stem}}\\n")
    time.sleep(0.05)
"""
FILES = {
    "test_a": ("", ""),
    "test_b_shares": ("e2e", ", trial"),
    "test_c": ("", ""),
    "test_d_boots": ("e2e", ""),
    "tests/packages/test_e": ("", ""),
    "tests/packages/test_f": ("", ""),
}


def test_a_file_is_one_workers_and_so_are_all_that_boot_machines(tmp_path: Path) -> None:
    told = tmp_path / "told"
    (tmp_path / "conftest.py").write_text(CONFTEST.format(tests=str(Path(__file__).parent)))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = e2e\n")
    for name, (mark, shared) in FILES.items():
        text = BODY.format(mark=f"pytestmark = pytest.mark.{mark}" if mark else "", shared=shared, told=str(told))
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    words = ["-n", "2", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:asyncio"]
    done = subprocess.run([sys.executable, "-P", "-m", "pytest", *words], cwd=tmp_path, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=patient(60), check=False)  # fmt: skip
    assert "24 passed" in done.stdout, done.stdout + done.stderr
    ran = [line.split() for line in told.read_text().splitlines()]
    workers, order = defaultdict(set), dict.fromkeys(file for _, file in ran if FILES.get(file, ("",))[0])
    for worker, file in ran:
        workers[file].add(worker)
    assert all(len(each) == 1 for each in workers.values()), workers
    assert workers["test_b_shares"] == workers["test_d_boots"] != workers["test_a"], workers
    assert workers["test_e"] == workers["test_f"], "what they share is built once"
    assert list(order) == ["test_d_boots", "test_b_shares"], "the machine that files share is not up beside others"
