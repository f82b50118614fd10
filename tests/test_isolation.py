"""The tests' own isolation: a desktop full of settings around them, and a busy host."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import isolation

HOSTILE = {
    "DISPLAY": ":77", "WAYLAND_DISPLAY": "wayland-7", "XAUTHORITY": "/nowhere", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
    "XDG_RUNTIME_DIR": "/nowhere", "XDG_CONFIG_HOME": "/nowhere", "XDG_DATA_HOME": "relative", "XDG_SESSION_TYPE": "wayland",
    "SSH_AUTH_SOCK": "/nowhere", "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22", "GIT_DIR": "/nowhere", "GIT_AUTHOR_NAME": "x",
    "LC_ALL": "de_DE.ISO-8859-1", "LANG": "tr_TR.UTF-8", "LANGUAGE": "de", "POMMEL_HOME": "/nowhere", "POMMEL_MEMORY": "nonsense",
    "PYTHONPATH": "/nowhere", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "COLUMNS": "20", "NO_COLOR": "1",
    "FORCE_COLOR": "1", "BASH_ENV": "/nowhere", "CDPATH": "/", "TZ": "Asia/Kathmandu", "BROWSER": "false", "GTK_MODULES": "x",
}  # fmt: skip
GITCONFIG = (
    "[commit]\n\tgpgsign = true\n[core]\n\thooksPath = /nowhere\n\tautocrlf = true\n[init]\n\tdefaultBranch = x\n"
)


def test_nothing_of_the_desktop_is_left(tmp_path: Path) -> None:
    found = isolation.clean(
        {**HOSTILE, "PATH": "/bin", "HOME": "/home/me", "https_proxy": "p", "POMMEL_TEST_CACHE": "/c"}, tmp_path
    )
    assert found.keys() & HOSTILE.keys() == {"LANG"}
    assert found["LANG"] == "C.UTF-8" and found["HOME"] == str(tmp_path)
    assert (found["PATH"], found["https_proxy"], found["POMMEL_TEST_CACHE"]) == ("/bin", "p", "/c")
    assert isolation.clean({"HOME": "/home/me"}, tmp_path)["POMMEL_TEST_CACHE"] == "/home/me/.cache/pommel-tests"


def test_what_is_compiled_is_kept_though_not_beside_the_sources(tmp_path: Path) -> None:
    said = {"PYTHONDONTWRITEBYTECODE": "1"}
    found = isolation.clean(said, tmp_path)
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert Path(found["PYTHONPYCACHEPREFIX"]).is_relative_to(sys.prefix)
    assert isolation.clean({**said, "PYTHONPYCACHEPREFIX": "/own"}, tmp_path)["PYTHONPYCACHEPREFIX"] == "/own"
    assert "PYTHONPYCACHEPREFIX" not in isolation.clean({}, tmp_path)
    (tmp_path / "module.py").write_text("")
    env = {**os.environ, **isolation.clean({**said, "PYTHONPYCACHEPREFIX": str(tmp_path / "kept")}, tmp_path)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-c", "import module"], cwd=tmp_path, env=env, check=True)
    assert list((tmp_path / "kept").rglob("module.*.pyc")) and not (tmp_path / "__pycache__").exists()


def test_these_tests_are_isolated() -> None:
    assert os.environ["HOME"] == str(Path.home()) and "pommel-tests-home-" in os.environ["HOME"]
    assert not os.environ.keys() & {"DISPLAY", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "POMMEL_HOME", "LC_ALL"}
    told = subprocess.run(
        ["git", "config", "--list", "--show-origin"], capture_output=True, text=True, cwd="/", check=False
    )
    assert told.stdout == ""


def test_a_hostile_desktop_changes_nothing(tmp_path: Path) -> None:
    """Rooms that ask git, ssh, the locale or the session, in the middle of all that."""
    if os.environ.get("POMMEL_TEST_HOSTILE"):
        pytest.skip("this is it")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  ProxyJump nowhere\n  RemoteCommand false\n")
    (tmp_path / ".gitconfig").write_text(GITCONFIG)
    rooms = [
        "test_isolation.py",
        "overlay/test_patch_text.py",
        "overlay/test_git.py",
        "app/upstream/test_config_repo.py",
        "test_ssh.py",
        "test_progress.py",
    ]
    words = ["-q", "-p", "no:cacheprovider", *(str(Path(__file__).parent / room) for room in rooms)]
    done = subprocess.run(
        [sys.executable, "-E", "-m", "pytest", *words],
        env={"PATH": os.environ["PATH"], **HOSTILE, "HOME": str(tmp_path), "POMMEL_TEST_HOSTILE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(("load", "factor"), [(0.1, 1.0), (2.0, 1.0), (6.0, 3.0), (500.0, isolation.MOST_PATIENT)])
def test_a_busy_host_is_waited_for(monkeypatch: pytest.MonkeyPatch, load: float, factor: float) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert isolation.patient(20) == 20 * factor


def hasty(tree: ast.AST) -> Iterator[int]:
    """The lines in which `asyncio.timeout` has a limit that is neither `patient` nor expected to pass."""
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def expected(node: ast.AST) -> bool:
        while (node := above.get(node, tree)) is not tree and not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef
        ):
            if isinstance(node, ast.With | ast.AsyncWith):
                caught = [item.context_expr for item in node.items]
            elif isinstance(node, ast.Try):
                caught = [handler.type for handler in node.handlers if handler.type]
            else:
                continue
            if any("TimeoutError" in ast.unparse(one) for one in caught):
                return True
        return False

    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.timeout":
            limit = ast.unparse(node)
            if "patient(" not in limit and not expected(node):
                yield node.lineno


def test_every_wait_of_the_tests_is_patient() -> None:
    room = Path(__file__).parent
    found = [
        f"{path.relative_to(room)}:{line}" for path in room.rglob("*.py") for line in hasty(ast.parse(path.read_text()))
    ]
    assert found == [], "write asyncio.timeout(patient(…)): a busy host is no fault"


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("async with asyncio.timeout(5): pass", [2]),
        ("async with x, asyncio.timeout(LIMIT_S): pass", [2]),
        ("async with asyncio.timeout(patient(5)): pass", []),
        ("with pytest.raises(TimeoutError):\n    async with asyncio.timeout(0.5): pass", []),
        ("try:\n    async with asyncio.timeout(0.5): pass\n  except TimeoutError: pass", []),
        ("try:\n    async with asyncio.timeout(0.5): pass\n  except OSError: pass", [3]),
    ],
)
def test_which_waits_are_hasty(body: str, lines: list[int]) -> None:
    assert list(hasty(ast.parse(f"async def f():\n  {body}"))) == lines
