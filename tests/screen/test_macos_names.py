"""Every name, constant and number of arguments of pyobjc's that Pommel uses, against pyobjc's wheels for macOS."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import macos_metadata as pyobjc
from pommel.screen.sinks import macos_keys
from pommel.screen.sources.macos_cursors import CORNERS
from pommel.wire.keymap import KEYBOARD

from . import mac

SRC = Path(__file__).parents[2] / "src" / "pommel"
SEAM = ("sources/macos_frameworks.py", "sources/macos_pixels.py", "sinks/macos_events.py")
ALIASES: dict[str, dict[str, str]] = {
    **{f"screen/{name}": {"_quartz": "Quartz"} for name in SEAM},
    "session/peer_macos.py": {"_security": "Security"},
    "session/sessions.py": {"framework": "SystemConfiguration"},
}


@pytest.mark.parametrize("name", ALIASES)
def test_all_that_is_used_is_there(name: str) -> None:
    uses = pyobjc.used_in((SRC / name).read_text(), ALIASES[name])
    assert uses.names
    assert pyobjc.wrongs(uses) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Quartz.CGEventPostt(0, event)", "nowhere in pyobjc's metadata"),
        ("Quartz.CGEventPost(0)", "takes 2 arguments, not 1"),
        ("status, ids = self.Quartz.CGGetActiveDisplayList(9, None, None)", "returns 3 values, not 2"),
        ("self._quartz.kCGNoSuchTap", "nowhere in pyobjc's metadata"),
        ("stream.addStreamOutput_type_error_(a, b, c)", "no selector that is known"),
        ("stream.addStreamOutput_type_sampleHandlerQueue_error_(a, b, c)", "takes 4 arguments, not 3"),
        ("objc.protocolsNamed('x')", "not in the bridge"),
        ("ScreenCaptureKit.SCStreamer.alloc()", "nowhere in pyobjc's metadata"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(source: str, said: str) -> None:
    wrong = pyobjc.wrongs(pyobjc.used_in(source, {"_quartz": "Quartz"}))
    assert len(wrong) == 1
    assert said in wrong[0]


@pytest.mark.parametrize(
    ("encoding", "kinds"),
    [
        (b"v^{__CGEvent=}Q^T", [b"v", b"^{__CGEvent=}", b"Q", b"^T"]),
        (b"{CGRect={CGPoint=dd}{CGSize=dd}}I", [b"{CGRect={CGPoint=dd}{CGSize=dd}}", b"I"]),
        (b"i@Io^@", [b"i", b"@", b"I", b"o^@"]),
        (b"^{CGDisplayStream=}IQQi^{__CFDictionary=}@@?", [
            b"^{CGDisplayStream=}", b"I", b"Q", b"Q", b"i", b"^{__CFDictionary=}", b"@", b"@?",
        ]),
        (b"v^[4d]", [b"v", b"^[4d]"]),
    ],
)  # fmt: skip
def test_encodings(encoding: bytes, kinds: list[bytes]) -> None:
    assert pyobjc.parts_of(encoding) == kinds


def test_the_cursors_positions_are_there() -> None:
    assert CORNERS.keys() <= pyobjc.metadata("AppKit").names


def test_the_protocols_are_in_the_wheel() -> None:
    wheel = next(pyobjc.wheels().glob("*screencapturekit*.whl"))
    import zipfile

    with zipfile.ZipFile(wheel) as packed:
        binary = packed.read(next(name for name in packed.namelist() if name.endswith(".so")))
    source = (SRC / "screen/sources/macos_pixels.py").read_text()
    named = re.findall(r'"(SCStream\w+)"', source)
    assert set(named) == {"SCStreamOutput", "SCStreamDelegate"}
    methods = [name for name in re.findall(r"def (stream_\w+_)\(", source)]
    assert len(methods) == 2
    for name in (*named, *(method.replace("_", ":") for method in methods)):
        assert b"\0" + name.encode() + b"\0" in binary


def test_no_selector_is_listed_that_nobody_uses() -> None:
    source = "".join((SRC / "screen" / name).read_text() for name in SEAM)
    listed = {selector.replace(":", "_") for selectors in pyobjc.PLAIN.values() for selector in selectors}
    assert {one for one in listed if one not in source} == set()


def test_nothing_outside_the_seam_calls_a_framework() -> None:
    calls = {
        str(path.relative_to(SRC)): [use.name for use in pyobjc.used_in(path.read_text()).names]
        for path in (SRC / "screen").rglob("*.py")
        if str(path.relative_to(SRC / "screen")) not in SEAM
    }
    assert {name: used for name, used in calls.items() if used} == {}


# --- our own tables ---


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("CAPS", "AlphaShift"),
        ("SHIFT", "Shift"),
        ("CONTROL", "Control"),
        ("OPTION", "Alternate"),
        ("COMMAND", "Command"),
        ("KEYPAD", "NumericPad"),
        ("FN", "SecondaryFn"),
    ],
)
def test_flags(ours: str, theirs: str) -> None:
    assert getattr(macos_keys, ours) == pyobjc.metadata("Quartz").values[f"kCGEventFlagMask{theirs}"]


def test_every_key_with_flags_is_a_key_of_the_keyboard() -> None:
    codes = {key.mac for key in KEYBOARD}
    assert set(macos_keys._OWN_FLAGS) | set(macos_keys._MODIFIERS) <= codes


# --- the stand-in tells no lies about names ---

STAND_INS = {"Quartz": mac.Quartz, "HIServices": mac.HIServices, "CoreMedia": mac.CoreMedia, "AppKit": mac.AppKit}


@pytest.mark.parametrize("framework", STAND_INS)
def test_the_stand_in_has_the_right_names_and_numbers(framework: str) -> None:
    known = pyobjc.metadata(framework)
    for name, value in vars(STAND_INS[framework]).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(value):
            arguments = len(inspect.signature(value).parameters) - 1
            expected, _, variadic = known.functions[name]
            assert arguments == expected, (name, variadic)
        elif isinstance(value, int):
            assert known.values[name] == value, name
        else:
            assert name in known.names, name


def test_the_stand_in_of_screen_capture_kit() -> None:
    with mac.mac() as it:
        kit = it.modules["ScreenCaptureKit"]
        known = pyobjc.metadata("ScreenCaptureKit")
        for name, value in vars(kit).items():
            assert name in known.names or name in pyobjc.PLAIN, name
            if isinstance(value, int):
                assert known.values[name] == value, name


def results(function: Any) -> int:
    """How many values a function of the stand-in returns, by its annotation."""
    said = ast.parse(str(inspect.signature(function).return_annotation), mode="eval").body
    if isinstance(said, ast.Subscript) and isinstance(said.value, ast.Name) and said.value.id == "tuple":
        return len(said.slice.elts) if isinstance(said.slice, ast.Tuple) else 1
    return 0 if isinstance(said, ast.Constant) and said.value is None else 1


@pytest.mark.parametrize(
    "name", [name for name, value in vars(mac.Quartz).items() if name.startswith("C") and inspect.isfunction(value)]
)
def test_the_stand_in_returns_as_many_values(name: str) -> None:
    assert results(vars(mac.Quartz)[name]) == pyobjc.metadata("Quartz").functions[name][1]
