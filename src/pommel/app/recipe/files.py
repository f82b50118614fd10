"""Find, read and check recipe files. Band: app."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pommel import recipe as room
from pommel import texts
from pommel.errors import ConfigError, UsageError
from pommel.recipe import reading
from pommel.recipe.model import Condition, Recipe
from pommel.screen.frame import Frame
from pommel.wire import keymap

CALLS = ("start", "start-recovery", "start-installed", "stop", "power-button", "end")
# Further calls that only `pommel up NAME --unattended` has; see `app.unattended.installing`.
UNATTENDED_CALLS = (
    "unattended-install",
    "unattended-again",
    "unattended-macos",
    "unattended-provision",
    "unattended-first-start",
)
_DATA = Path(room.__file__).parent / "data"
_PNG_MAX = 32 << 20
_PIXELS_MAX = 1 << 26
_HINT = "give a file that ends with .toml, or the name of one that comes with Pommel: pommel recipe list"


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and its file. `name` is its path, or the name of a bundled recipe."""

    name: str
    path: Path
    recipe: Recipe


def bundled() -> list[str]:
    """The names of the recipes that come with Pommel."""
    return sorted(path.stem for path in _DATA.glob("*.toml"))


def text_of(name: str) -> str:
    """The text of a recipe that comes with Pommel, so that the user can copy and change it.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in bundled():
        near = difflib.get_close_matches(name, bundled(), n=1)
        raise UsageError(
            f"no recipe called {name!r} comes with Pommel",
            hint=f"did you mean {near[0]}?" if near else f"there are: {', '.join(bundled())}",
        )
    return (_DATA / f"{name}.toml").read_text(encoding="utf-8")


def load(file: str, *, calls: Collection[str] = (*CALLS, *UNATTENDED_CALLS)) -> LoadedRecipe:
    """Read and check a recipe: a file, or one that comes with Pommel. Its reference pictures are read too.

    Raises:
        UsageError: there is no such file or name.
        ConfigError: it cannot be used; the message has file, line and state.
    """
    if file in bundled() and not Path(file).exists():
        path, name = _DATA / f"{file}.toml", file
    else:
        path = Path(file)
        name = str(path.absolute())
        if not path.exists():
            raise UsageError(f"there is no recipe {file}", hint=_HINT)
    rules = reading.RecipeRules(keymap.parse_chord, keymap.untypable, calls)
    found = LoadedRecipe(name, path, reading.parse(texts.read_text(path), file, rules))
    for condition in conditions(found.recipe):
        if condition.like is not None:
            picture(found, condition.like.file)
    return found


def conditions(recipe: Recipe) -> list[Condition]:
    """All conditions of a recipe."""
    found = [condition for state in recipe.states for condition in (state.first, state.until) if condition is not None]
    return found + [branch.when for state in recipe.states for branch in state.branches]


def picture(loaded: LoadedRecipe, file: str) -> Frame:
    """Read a reference picture, a PNG file beside the recipe, as `pommel screenshot` makes it.

    Raises:
        ConfigError: it cannot be read, is not a PNG file, or is too large.
    """
    import io

    import numpy as np
    from PIL import Image

    path = loaded.path.parent / file
    data = texts.read_bytes(path, most=_PNG_MAX)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as found:
            if found.width * found.height > _PIXELS_MAX:
                raise ConfigError(f"the picture {path} has more than {_PIXELS_MAX} pixels")
            pixels = np.asarray(found.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as failure:
        raise ConfigError(
            f"the picture {path} is not a PNG that can be read: {failure}", hint="pommel screenshot NAME FILE makes one"
        ) from None
    return Frame(pixels[:, :, [2, 1, 0, 3]])
