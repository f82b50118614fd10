"""The finished argv, against golden files.

When a rule changes on purpose:  UPDATE_GOLDEN=1 pytest tests/machine/test_golden.py && git diff tests/machine/golden
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pommel.machine.explain import as_json, as_shell, explain
from pommel.machine.rules import HostFacts, Overlaid

from .given import KNOBS, KVM, LAYOUTS, TCG, overlaid, placement, upstream_line

GOLDEN = Path(__file__).parent / "golden"


def same_as_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, "see this file's first lines"


def build(layout: str, facts: HostFacts, installer: str | None, knobs: dict[str, Any]) -> Overlaid:
    place = placement(installer=installer, firmware_code=f"/upstream/OVMF_{layout.upper()}.fd")
    return overlaid(upstream_line(layout), facts=facts, place=place, **knobs)


@pytest.mark.parametrize("knobs", [{}, KNOBS], ids=["plain", "knobs"])
@pytest.mark.parametrize("installer", [None, "/cache/BaseSystem.img"], ids=["installed", "installer"])
@pytest.mark.parametrize("facts", [KVM, TCG], ids=["kvm", "tcg"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_argv(layout: str, facts: HostFacts, installer: str | None, knobs: dict[str, Any]) -> None:
    done = build(layout, facts, installer, knobs)
    name = "-".join([layout, facts.accel, "installer" if installer else "installed", "knobs" if knobs else "plain"])
    same_as_golden(f"{name}.txt", as_shell(done.command_line) + "\n")


@pytest.mark.parametrize("facts", [KVM, TCG], ids=["kvm", "tcg"])
def test_explanation(facts: HostFacts) -> None:
    rows = explain(build("code_4m", facts, None, KNOBS))
    same_as_golden(f"explain-{facts.accel}.json", json.dumps(as_json(rows), indent=1) + "\n")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_knobs_give_what_the_textual_patch_gives_on_either_layout(layout: str) -> None:
    """The three values as a shell expands them once that patch is applied to the script."""
    words = build(layout, KVM, None, KNOBS).command_line.words
    flags = "+ssse3,+sse4.2,+popcnt,+avx,+aes,+xsave,+xsaveopt,+avx2,+fma,+bmi1,+bmi2,+smep,check"
    value = dict(itertools.pairwise(words))
    assert value["-cpu"] == f"Haswell-noTSX,kvm=on,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on,{flags}"
    assert value["-m"] == "16384"
    assert value["-smp"] == "12,cores=6,sockets=1"


def test_no_golden_file_is_left_over() -> None:
    wanted = {
        f"{layout}-{accel}-{disk}-{knobs}.txt"
        for layout in LAYOUTS
        for accel in ("kvm", "tcg")
        for disk in ("installed", "installer")
        for knobs in ("plain", "knobs")
    } | {"explain-kvm.json", "explain-tcg.json"}
    assert {path.name for path in GOLDEN.iterdir()} == wanted
