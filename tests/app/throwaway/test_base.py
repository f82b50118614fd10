"""What the word IMAGE means: a machine of this home, or an image that was saved or fetched."""

from __future__ import annotations

import pytest

from app.image.conftest import make_machine, same
from app.image.conftest import workspace as workspace
from pommel.app.image import saving
from pommel.app.throwaway import base, holding
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.image.names import parse_name
from pommel.machine import record


def test_an_image_is_made_a_machine_once_and_clones_of_it_are_thrown_away(workspace: Workspace) -> None:
    make_machine(workspace)
    saving.save("m", parse_name("mac:fresh"), workspace=workspace)
    assert base.describe(workspace, "mac:fresh") == "the image mac:fresh"
    assert workspace.home.names() == ["m"], "to describe makes nothing"
    name = base.resolve(workspace, "mac:fresh")
    assert base.resolve(workspace, "mac:fresh") == name != "m"
    with holding.held(workspace, name) as paths:
        assert record.load(paths.record).clone_of == name
        same(workspace.paths("m"), paths)
    assert set(workspace.home.names()) == {"m", name}


def test_a_machine_comes_before_an_image_of_its_name_and_a_tag_means_the_image(workspace: Workspace) -> None:
    make_machine(workspace)
    saving.save("m", parse_name("m"), workspace=workspace)
    assert base.resolve(workspace, "m") == base.describe(workspace, "m") == "m"
    assert base.resolve(workspace, "m:latest").startswith("image-")


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("nothing", UsageError, "there is no machine called"),
        ("nothing:here", StateError, "there is no image nothing:here"),
        ("oci://host/x:1", UsageError, "cannot be an image's name"),
        ("../m", UsageError, "name"),
    ],
)
def test_what_is_not_there_is_said(workspace: Workspace, text: str, kind: type[Exception], said: str) -> None:
    for look in (base.resolve, base.describe):
        with pytest.raises(kind, match=said):
            look(workspace, text)
