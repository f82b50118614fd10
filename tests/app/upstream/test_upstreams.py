"""The managed upstream's checkout: whether it can be written to, said before anything is done in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import isolation
from pommel.app.upstream import bootstrap, upstreams
from pommel.app.workspace import Workspace
from pommel.errors import NotPermitted
from pommel.paths import Home

NOBODY = 65534


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """This user's home, in which a `sudo pommel` has been at work; this process is that user for a while."""
    isolation.let_others_in(tmp_path)
    home = Home(tmp_path / "h", tmp_path / "h" / "run", tmp_path / "c")
    checkout = home.upstream("osx-kvm")
    (checkout / ".git" / "objects" / "5a").mkdir(parents=True)
    (checkout / ".git" / "index").touch()
    (tmp_path / "pommel.toml").touch()
    for path in (home.root, checkout.parent, checkout, checkout / ".git", checkout / ".git" / "objects"):
        os.chown(path, NOBODY, NOBODY)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield Workspace(home, tmp_path, {})
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_checkout_with_something_of_roots_in_it(workspace: Workspace) -> None:
    checkout = workspace.checkout(workspace.file)
    for act in (
        lambda: upstreams.must_take(workspace, workspace.file),
        lambda: bootstrap.bootstrap(workspace),
        lambda: bootstrap.bootstrap(workspace, update=True),
    ):
        with pytest.raises(NotPermitted, match=r"\.git/objects/5a cannot be written: it belongs to root") as refusal:
            act()
        assert f"sudo chown -R {NOBODY} {checkout}" in str(refusal.value.hint)


def test_one_that_is_all_theirs(workspace: Workspace) -> None:
    checkout = workspace.checkout(workspace.file)
    (checkout / ".git" / "objects" / "5a").rmdir()  # the folder is theirs, and that root made a file in it is nothing
    assert upstreams.must_take(workspace, workspace.file) == checkout
