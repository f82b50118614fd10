"""The recipe of an installation without a person with the times of a guest that needs no hours. No tests here."""

from __future__ import annotations

import re

from pommel.app.recipe import files

# What a wait is for, in the recipe that ships, and how long it is in tests.
_TIMES = (
    (
        r"rest_s = 15, bright = \[0\.02, 1\.0\], after_s = 60",
        "rest_s = {settles}, bright = [{bright}, 1.0], after_s = {listens}",
    ),
    (r"first = \{ rest_s = 6 \}", "first = {{ rest_s = {opens} }}"),
    (r"changed = 0\.01, rest_s = 4", "changed = {changed}, rest_s = {opens}"),
    (r'\{ type = "\{line\}\\n" \}', r'{{ type = "{{line}}\n", pause_s = 0.02 }}'),
    (r'disk = "15G", disk_rest_s = 600, silent_s = 600', "{installed}"),
)


def recipe(
    *, settles: float, listens: float, installed: str, opens: float = 0.5, window: bool = False, **more: str
) -> str:
    """Its text: Recovery's picture is at rest for `settles` s and heard for `listens` s; `installed` is a condition.

    A Terminal has opened when the picture rests for `opens` s; `window`: it is as large as a Mac's, and not one letter.

    `more` replaces patterns by texts: each of them must be there.
    """
    text = files.text_of("macos-unattended")
    words = {"settles": settles, "listens": listens, "installed": installed, "opens": opens}
    words |= {"bright": 0.1, "changed": 0.01} if window else {"bright": 0.0, "changed": 0.0}
    for pattern, instead in (*((p, i.format(**words)) for p, i in _TIMES), *more.items()):
        text, count = re.subn(pattern, instead.replace("\\", r"\\"), text)
        assert count, pattern
    return text
