"""What pyobjc's wheels for macOS know, read as data on any system, and what a source file of ours uses of it.

The wheels are downloaded once by pip, into the tests' cache, and never imported: of each framework's `_metadata.py` the
syntax tree is read. It has all functions with their types, all constants, and those selectors whose types are special.
Selectors of plain objects and integers, and most classes, are in no file of a wheel; see PLAIN.
"""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from driver import cache_folder

PYTHON = "3.13"
PINNED = (
    "pyobjc-core==13.0",
    "pyobjc-framework-Cocoa==13.0",
    "pyobjc-framework-Quartz==13.0",
    "pyobjc-framework-ApplicationServices==13.0",
    "pyobjc-framework-CoreMedia==12.2.2",
    "pyobjc-framework-ScreenCaptureKit==12.2.2",
    "pyobjc-framework-Security==12.2.2",
    "pyobjc-framework-SystemConfiguration==12.2.2",
)
_COCOA = ("AppKit", "Foundation", "CoreFoundation")
# A module of pyobjc's, and the folders whose metadata its names come from (its `parents`).
FRAMEWORKS = {
    "Quartz": ("Quartz/CoreGraphics", "Quartz/CoreVideo", *_COCOA),
    "AppKit": _COCOA,
    "HIServices": ("HIServices", *_COCOA),
    "CoreMedia": ("CoreMedia", "CoreFoundation"),
    "ScreenCaptureKit": ("ScreenCaptureKit", "Foundation", "CoreFoundation"),
    "Security": ("Security", "CoreFoundation"),
    "SystemConfiguration": ("SystemConfiguration", "CoreFoundation"),
}
BRIDGE = {"autorelease_pool", "protocolNamed", "error"}

# Selectors and classes of plain types, which the metadata does not list. From Apple's documentation, by class.
PLAIN = {
    "SCShareableContent": {"displays"},
    "SCDisplay": {"displayID"},
    "SCContentFilter": {"alloc", "initWithDisplay:excludingWindows:"},
    "SCStream": {"alloc", "initWithFilter:configuration:delegate:"},
    "SCStreamConfiguration": {
        "alloc", "init", "setWidth:", "setHeight:", "setPixelFormat:", "setColorSpaceName:", "setQueueDepth:",
    },
    "NSError": {"code", "localizedDescription"},
    "NSCursor": {"currentSystemCursor", "image", "frameResizeCursorFromPosition:inDirections:"},
    "NSImage": {"TIFFRepresentation"},
    "NSApplication": {"sharedApplication"},
    "NSObject": {"alloc", "init"},
}  # fmt: skip


@cache
def wheels() -> Path:
    """The folder of the pinned wheels."""
    key = hashlib.sha256("\n".join((PYTHON, *PINNED)).encode()).hexdigest()[:16]
    folder = cache_folder() / f"pyobjc-{key}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as building:
            inside = Path(building) / "wheels"
            asked = ["--platform", "macosx_11_0_universal2", "--python-version", PYTHON, "--only-binary=:all:"]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            done = subprocess.run([*pip, *asked, "--dest", str(inside), *PINNED], capture_output=True, timeout=250)
            assert done.returncode == 0, done.stderr.decode()
            try:
                inside.rename(folder)
            except OSError:  # another test run was quicker
                assert folder.is_dir()
    return folder


def contents(name: str) -> bytes:
    """A file of the wheels, by its path."""
    for wheel in sorted(wheels().glob("*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            if name in packed.namelist():
                return packed.read(name)
    raise FileNotFoundError(name)


@dataclass
class Metadata:
    """One framework: functions with the number of their arguments and of what they return, and what else has names."""

    functions: dict[str, tuple[int, int, bool]] = field(default_factory=dict)  # arguments, results, variadic
    values: dict[str, int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    selectors: dict[str, int | None] = field(default_factory=dict)  # selector: number of results, if known


@cache
def metadata(framework: str) -> Metadata:
    """All that can be had of a module of pyobjc's."""
    whole = Metadata()
    for part in map(_folder, FRAMEWORKS[framework]):
        whole.functions.update(part.functions)
        whole.values.update(part.values)
        whole.names.update(part.names)
        whole.selectors.update(part.selectors)
    return whole


@cache
def _folder(folder: str) -> Metadata:
    whole = Metadata()
    _read(ast.parse(contents(f"{folder}/_metadata.py")), whole)
    return whole


def _read(tree: ast.Module, whole: Metadata) -> None:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name("functions")], value=ast.Dict() as table):
                for name, about in _plain(table).items():
                    whole.functions[name] = _shape(about)
            case ast.Assign(targets=[ast.Name("constants" | "enums")], value=value):
                for one in str(_plain(value)).split("$"):
                    name, _, number = one.partition("@")
                    whole.names |= {name} - {""}
                    if re.fullmatch(r"-?\d+", number):
                        whole.values[name] = int(number)
            case ast.Call(ast.Attribute(ast.Name("misc"), "update"), [ast.Dict(keys=keys)]):
                whole.names |= {key.value for key in keys if isinstance(key, ast.Constant)}
            case ast.Call(ast.Name("r"), [ast.Constant(owner), ast.Constant(selector), about]):
                whole.selectors[selector.decode()] = _results(_plain(about))
                whole.names.add(owner.decode())
            case ast.Call(ast.Attribute(attr="registerNewKeywordsFromSelector"), [_, ast.Constant(selector)]):
                whole.selectors.setdefault(selector.decode(), None)


def _plain(node: ast.expr) -> Any:
    """The value of an expression as the metadata has them."""
    match node:
        case ast.Dict(keys, values):
            return {_plain(key): _plain(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.Tuple(parts) | ast.List(parts):
            return tuple(_plain(part) for part in parts)
        case ast.Call(ast.Name("sel32or64"), [_, value]) | ast.Call(ast.Name("selAorI"), [value, _]):
            return _plain(value)
        case ast.BinOp(text, ast.Mod(), values):
            return _plain(text) % _plain(values)
        case ast.UnaryOp(ast.USub(), ast.Constant(value)):
            return -value
        case ast.Constant(value):
            return value
    return None


def _shape(about: tuple[Any, ...]) -> tuple[int, int, bool]:
    kinds = parts_of(about[0])
    special = about[2] if len(about) > 2 else {}
    outs = {number for number, what in special.get("arguments", {}).items() if what.get("type_modifier") in ("o", "N")}
    outs |= {number for number, kind in enumerate(kinds[1:]) if kind.startswith((b"o", b"N"))}
    results = (kinds[0] != b"v") + len(outs)
    return len(kinds) - 1, results, bool(special.get("variadic"))


def _results(about: dict[str, Any]) -> int:
    outs = [what for what in about.get("arguments", {}).values() if what.get("type_modifier") in (b"o", "o", b"N")]
    return (about.get("retval", {}).get("type") != b"v") + len(outs)


def parts_of(encoding: bytes) -> list[bytes]:
    """The types in an encoding of Objective-C's: the result's, then the arguments'."""
    found, at = [], 0
    while at < len(encoding):
        end = _end(encoding, at)
        found.append(encoding[at:end])
        at = end
    return found


def _end(encoding: bytes, at: int) -> int:
    while encoding[at : at + 1] in (b"^", b"r", b"n", b"N", b"o", b"O", b"R", b"V"):
        at += 1
    first = encoding[at : at + 1]
    if first in (b"{", b"[", b"("):
        depth = 0
        while True:
            char = encoding[at : at + 1]
            depth += (char in (b"{", b"[", b"(")) - (char in (b"}", b"]", b")"))
            at += 1
            if depth == 0:
                return at
    return at + 2 if encoding[at : at + 2] == b"@?" else at + 1


# --- what a file uses ---


@dataclass(frozen=True)
class Use:
    """A name of a framework's in a source file; `arguments` and `unpacked` are None where they are not said."""

    framework: str
    name: str
    line: int
    arguments: int | None = None
    unpacked: int | None = None


@dataclass
class Used:
    """All of a file: names of frameworks, and methods that are called on objects of theirs."""

    names: list[Use] = field(default_factory=list)
    selectors: list[Use] = field(default_factory=list)


def used_in(source: str, aliases: dict[str, str] | None = None) -> Used:
    """Find them. `aliases` are further variables that hold a framework."""
    tree, found = ast.parse(source), Used()
    holders = {name: name for name in (*FRAMEWORKS, "objc")} | (aliases or {})
    unpacked = dict(_unpacked(tree))
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        framework = holders.get(_last_name(node.value))
        call = calls.get(id(node))
        arguments = len(call.args) if call is not None else None
        use = Use(framework or "", node.attr, node.lineno, arguments, unpacked.get(id(call)))
        if framework is not None:
            found.names.append(use)
        elif call is not None and node.attr.endswith("_") and not node.attr.startswith("_"):
            found.selectors.append(use)
    return found


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _unpacked(tree: ast.AST) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Call() as call):
                yield id(call), len(targets)


def wrongs(uses: Used) -> list[str]:
    """What is not as pyobjc has it."""
    return [*(one for use in uses.names for one in _wrong_name(use)), *(
        one for use in uses.selectors for one in _wrong_selector(use)
    )]  # fmt: skip


def _wrong_name(use: Use) -> Iterator[str]:
    where = f"line {use.line}: {use.framework}.{use.name}"
    if use.framework == "objc":
        if (
            use.name not in BRIDGE
            or use.name.encode() not in contents("objc/__init__.py") + contents("objc/_protocols.py") + _bridge_binary()
        ):
            yield f"{where} is not in the bridge"
        return
    known = metadata(use.framework)
    if use.name in known.functions:
        arguments, results, _ = known.functions[use.name]
        if use.arguments is not None and use.arguments != arguments:
            yield f"{where} takes {arguments} arguments, not {use.arguments}"
        if use.unpacked is not None and use.unpacked != results:
            yield f"{where} returns {results} values, not {use.unpacked}"
    elif use.name not in known.names and use.name not in PLAIN:
        yield f"{where} is nowhere in pyobjc's metadata"


def _wrong_selector(use: Use) -> Iterator[str]:
    selector, where = use.name.replace("_", ":"), f"line {use.line}: {use.name}"
    if use.arguments != selector.count(":"):
        yield f"{where} takes {selector.count(':')} arguments, not {use.arguments}"
    folders = {folder for framework in FRAMEWORKS for folder in FRAMEWORKS[framework]}
    known = {name: results for folder in folders for name, results in _folder(folder).selectors.items()}
    plain = {name for names in PLAIN.values() for name in names}
    if selector not in known and selector not in plain:
        yield f"{where} is no selector that is known"
    results = known.get(selector)
    if results is not None and use.unpacked is not None and use.unpacked != results:
        yield f"{where} returns {results} values, not {use.unpacked}"


@cache
def _bridge_binary() -> bytes:
    for wheel in sorted(wheels().glob("pyobjc_core*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            inside = [name for name in packed.namelist() if re.fullmatch(r"objc/_objc\.[^/]*\.so", name)]
            return packed.read(inside[0])
    raise FileNotFoundError("objc/_objc")
