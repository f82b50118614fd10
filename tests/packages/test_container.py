"""The container's image: built by buildah, on the clean root of the tests in place of Debian's image, and Pommel run from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isolation import patient
from pommel import __version__

from .clean_root import archive
from .conftest import ROOT, dependencies

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's buildah needs ids and drivers of its own"),
]
RECIPE = ROOT / "packages" / "container"
Buildah = Callable[..., str]


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """buildah with a store of its own, which is emptied at the end."""
    folder = tmp_path_factory.mktemp("store")
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], check=True, capture_output=True, text=True).stdout.strip()
    env = {
        **os.environ,
        "STORAGE_DRIVER": "vfs" if kind.startswith("overlay") else "overlay",
    }  # one takes no other below it

    def call(*words: str | Path) -> str:
        whole = ["buildah", "--root", folder / "root", "--runroot", folder / "run", *words]
        done = subprocess.run(whole, env=env, capture_output=True, text=True, timeout=patient(200))
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    yield call
    call("rm", "--all")
    call("rmi", "--all", "--force")


@pytest.fixture(scope="module")
def container(buildah: Buildah, deb: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A container of the image that the recipe makes, from this checkout's files and this Python's package."""
    base = buildah("from", "scratch").strip()
    buildah("add", "--quiet", base, archive([*dict.fromkeys(dependencies(deb)), "man-db"]), "/")
    buildah("commit", "--quiet", "--rm", base, "localhost/base")
    context = tmp_path_factory.mktemp("context")
    shutil.copytree(RECIPE, context / "packages" / "container")
    (context / "dist").mkdir()
    shutil.copy(deb, context / "dist" / "pommel_0_amd64.deb")
    arguments = ["--build-arg", "BASE=localhost/base", "--build-arg", "DEB=dist/pommel_*.deb"]
    recipe = context / "packages" / "container" / "Containerfile"
    buildah("build", "--isolation", "chroot", *arguments, "--tag", "pommel", "--file", recipe, context)
    return buildah("from", "localhost/pommel").strip()


def test_pommel_runs_from_it(buildah: Buildah, container: str) -> None:
    run = ("run", "--isolation", "chroot", container, "--")
    assert buildah(*run, "pommel-serve", "pommel", "--version") == f"pommel {__version__}\n"
    planned = buildah(*run, "pommel", "up", "trial", "--dry-run")
    assert "/var/lib/pommel/machines/trial" in planned and "would  start trial" in planned


def test_it_says_what_it_needs(buildah: Buildah, container: str) -> None:
    told = json.loads(buildah("inspect", "--type", "image", "localhost/pommel"))["OCIv1"]["config"]
    assert list(told["ExposedPorts"]) == ["8600/tcp"]
    assert list(told["Volumes"]) == ["/var/lib/pommel"]
    assert (told["Entrypoint"], told["Cmd"], told["StopSignal"]) == (["pommel-serve"], ["trial"], "SIGTERM")
