"""OpenCore's configuration: what is missing is switched off, what is asked for is set, all else stays as it is."""

from __future__ import annotations

import copy
import plistlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pommel.errors import UpstreamError
from pommel.opencore import config as plist
from pommel.opencore.options import Options, Smbios

from .trees import BOOT_ARGS, FILES, MISSING, config, kext, path

THERE = [name.removeprefix("OC/") for name in FILES]


def boot_args(config: dict[str, Any]) -> str:
    return str(config["NVRAM"]["Add"][BOOT_ARGS]["boot-args"])


def test_entries_without_their_file_are_switched_off_and_no_others() -> None:
    before = config()
    after, missing = plist.disable_missing(before, THERE)
    assert [entry.name for entry in missing] == MISSING
    assert before == config(), "the original stays as it is"
    again, none = plist.disable_missing(after, THERE)
    assert (again, none) == (after, ())
    assert [entry["Enabled"] for entry in after["Kernel"]["Add"]] == [True, True, False, False, False]
    for entry in (*after["ACPI"]["Add"], *after["Kernel"]["Add"], *after["UEFI"]["Drivers"], *after["Misc"]["Tools"]):
        if entry.get("Path", entry.get("BundlePath")) in MISSING:
            entry["Enabled"] = True
    assert after == before


def test_what_is_said_of_a_missing_file() -> None:
    _, missing = plist.disable_missing(config(), THERE)
    assert str(missing[2]) == "Half.kext (Kernel/Add: there is no Kexts/Half.kext/Contents/MacOS/Half)"


def test_entries_with_nothing_in_them_are_missing() -> None:
    odd = {"Kernel": {"Add": [{"Enabled": True}]}, "ACPI": {"Add": [{"Enabled": True}]}}
    after, missing = plist.disable_missing(odd, THERE)
    assert [entry.name for entry in missing] == ["an entry without Path", "an entry without BundlePath"]
    assert after["Kernel"]["Add"] == [{"Enabled": False}]


def test_drivers_of_an_older_opencore_are_commented_out() -> None:
    older = {"UEFI": {"Drivers": ["OpenRuntime.efi", "#Off.efi", "Gone.efi"]}}
    after, missing = plist.disable_missing(older, THERE)
    assert after["UEFI"]["Drivers"] == ["OpenRuntime.efi", "#Off.efi", "#Gone.efi"]
    assert [entry.name for entry in missing] == ["Gone.efi"]


@given(st.lists(st.tuples(st.sampled_from("ABCDEFGH"), st.booleans())), st.sets(st.sampled_from("ABCDEFGH")))
@settings(max_examples=50, deadline=None)
def test_nothing_that_is_there_is_switched_off(entries: list[tuple[str, bool]], there: set[str]) -> None:
    drivers = [path(f"{name}.efi", on=on) for name, on in entries]
    kexts = [kext(f"{name}.kext", on=on) for name, on in entries]
    files = [*(f"drivers/{name}.EFI" for name in there), *(f"KEXTS/{n}.kext/contents/Info.plist" for n in there)]
    after, missing = plist.disable_missing({"UEFI": {"Drivers": drivers}, "Kernel": {"Add": kexts}}, files)
    wanted = [on and name in there for name, on in entries]
    assert [entry["Enabled"] for entry in after["UEFI"]["Drivers"]] == wanted
    assert [entry["Enabled"] for entry in after["Kernel"]["Add"]] == wanted
    assert len(missing) == 2 * sum(on and name not in there for name, on in entries)


@pytest.mark.parametrize(("shows", "policy"), [("recovery", 0x10F0203), ("macos", 0x10F0103), (None, None)])
def test_what_the_picker_shows_is_a_scan_policy(shows: str | None, policy: int | None) -> None:
    before = config()
    after, changes = plist.adjust(before, Options(shows=shows))
    found = after.get("Misc", {}).get("Security", {}).get("ScanPolicy")
    assert found == (policy if shows else before.get("Misc", {}).get("Security", {}).get("ScanPolicy"))
    places = [change.place for change in changes if not change.place.endswith("prev-lang:kbd")]
    assert places == (["Misc/Security/ScanPolicy"] if shows else [])
    languages = [change.after for change in changes if change.place.endswith("prev-lang:kbd")]
    assert languages == ([b"en-US:0"] if shows == "recovery" else []), "what is typed there is from a US keyboard"


def test_options_are_set_where_opencore_reads_them() -> None:
    before, rom = config(), bytes(range(6))
    smbios = Smbios("iMac19,1", "C02ABCDEFGHJ", "C02123456789ABCDE", "213FA768-A62C-4299-8598-47AA666E436F", rom)
    options = Options(timeout_s=5, resolution="1280x800", boot_args="-v", smbios=smbios)
    after, changes = plist.adjust(before, options)
    assert before == config()
    assert after["Misc"]["Boot"] == {"PickerMode": "External", "Timeout": 5}
    assert after["UEFI"]["Output"] == {"Resolution": "1280x800", "UIScale": -1}
    assert boot_args(after) == "-v"
    assert after["NVRAM"]["Delete"] == {BOOT_ARGS: ["boot-args"]}, "or what NVRAM has would stay"
    assert after["PlatformInfo"]["Generic"] == {
        "ROM": rom,
        "SystemProductName": "iMac19,1",
        "SystemSerialNumber": "C02ABCDEFGHJ",
        "MLB": "C02123456789ABCDE",
        "SystemUUID": "213FA768-A62C-4299-8598-47AA666E436F",
    }
    assert [str(change) for change in changes][:2] == [
        "Misc/Boot/Timeout: 45 → 5",
        "UEFI/Output/Resolution: 1920x1080@32 → 1280x800",
    ]
    assert "PlatformInfo/Generic/ROM: 0022412e3d4a → 000102030405" in map(str, changes)
    assert "PlatformInfo/Generic/MLB: nothing → C02123456789ABCDE" in map(str, changes)
    assert plist.adjust(after, options) == (after, ())


def test_no_option_changes_nothing() -> None:
    assert plist.adjust(config(), Options()) == (config(), ())


def test_added_boot_args_take_the_place_of_their_key() -> None:
    after, _ = plist.adjust(config(), Options(add_boot_args="vti=12 debug=0x100 -v"))
    assert boot_args(after) == "keepsyms=1 vti=12 debug=0x100 -v"
    after, _ = plist.adjust(config(), Options(boot_args="-x", add_boot_args="-v"))
    assert boot_args(after) == "-x -v"
    after, _ = plist.adjust({"NVRAM": {"Add": {BOOT_ARGS: {"boot-args": b"-v\0"}}}}, Options(add_boot_args="-x"))
    assert boot_args(after) == "-v -x"
    after, _ = plist.adjust({}, Options(add_boot_args="-x"))
    assert boot_args(after) == "-x"


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"ACPI": []}, "ACPI is not a dictionary but a list"),
        ({"Kernel": {"Add": {}}}, "Kernel/Add is not a list but a dictionary"),
        ({"Kernel": {"Add": [kext("Lilu.kext"), "Lilu.kext"]}}, "Kernel/Add/1 is not a dictionary but a text"),
        ({"UEFI": {"Drivers": [1]}}, "UEFI/Drivers/0 is not a dictionary but a number"),
        ({"UEFI": {"Drivers": [{"Enabled": 1}]}}, "UEFI/Drivers/0/Enabled is not true or false but a number"),
        ({"Misc": {"Tools": [{"Enabled": True, "Path": b"x"}]}}, "Misc/Tools/0/Path is not a text but data"),
        (
            {"Kernel": {"Add": [{"Enabled": True, "BundlePath": []}]}},
            "Kernel/Add/0/BundlePath is not a text but a list",
        ),
        ({"Kernel": {"Add": [kext("A.kext", 7)]}}, "Kernel/Add/0/ExecutablePath is not a text but a number"),
    ],
)
def test_a_value_of_another_type_is_named_by_its_key(odd: dict[str, Any], said: str) -> None:
    with pytest.raises(UpstreamError, match=f"cannot be used: {said}$"):
        plist.disable_missing(odd, [])


def test_what_is_off_is_not_looked_at_and_no_enabled_is_off() -> None:
    odd = {"Kernel": {"Add": [{"BundlePath": 1}, {"Enabled": False, "BundlePath": b""}]}, "ACPI": {"Add": [{}]}}
    assert plist.disable_missing(odd, []) == (odd, ())


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (
            {"NVRAM": {"Add": {BOOT_ARGS: {"boot-args": 5}}}},
            f"NVRAM/Add/{BOOT_ARGS}/boot-args is not a text but a number",
        ),
        ({"NVRAM": {"Add": {BOOT_ARGS: {"boot-args": b"\xff"}}}}, "boot-args is not a text but data"),
        ({"NVRAM": {"Delete": {BOOT_ARGS: "boot-args"}}}, f"NVRAM/Delete/{BOOT_ARGS} is not a list but a text"),
        ({"NVRAM": []}, "NVRAM is not a dictionary but a list"),
    ],
)
def test_boot_args_that_cannot_be_added_to_are_named(odd: dict[str, Any], said: str) -> None:
    with pytest.raises(UpstreamError, match=said):
        plist.adjust(odd, Options(add_boot_args="-v"))


KEYS = st.sampled_from(("ACPI", "Kernel", "Misc", "UEFI", "NVRAM", "Add", "Delete", "Drivers", "Tools", "Boot", BOOT_ARGS,
    "Enabled", "Path", "BundlePath", "ExecutablePath", "boot-args", "Generic", "PlatformInfo"))  # fmt: skip


def structures(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    inner = st.recursive(
        leaves, lambda more: st.lists(more, max_size=3) | st.dictionaries(KEYS, more, max_size=4), max_leaves=20
    )
    return st.dictionaries(
        KEYS, st.dictionaries(KEYS, st.lists(inner, max_size=3) | inner, max_size=3) | inner, max_size=5
    )


@given(structures(st.booleans() | st.integers(-9, 9) | st.binary(max_size=3) | st.text("a#/\\", max_size=3)))
@settings(max_examples=200, deadline=None)
def test_any_structure_is_a_result_or_an_upstreams_error(odd: dict[str, Any]) -> None:
    options = Options(timeout_s=1, resolution="Max", add_boot_args="-v", smbios=Smbios(rom=b"123456"))
    try:
        given = plist.read(plistlib.dumps(odd, fmt=plistlib.FMT_BINARY), "config.plist")
        fitting, _ = plist.disable_missing(given, ["Kexts/a/Contents/Info.plist"])
        changed, _ = plist.adjust(fitting, options)
    except UpstreamError:
        return
    assert plist.read(plist.write(changed), "config.plist") == changed


def test_a_section_that_is_none_is_named() -> None:
    with pytest.raises(UpstreamError, match="Misc/Boot is not a dictionary"):
        plist.adjust({"Misc": {"Boot": 1}}, Options(timeout_s=1))


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=9) | st.text("ab <&\"'ü#", max_size=9)
    | st.floats(allow_nan=False) | st.datetimes().map(lambda when: when.replace(microsecond=0, fold=0)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abAB#", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text("zyxABC", min_size=1, max_size=3), VALUES, max_size=5))
@settings(max_examples=60, deadline=None)
def test_what_is_not_touched_keeps_value_type_and_place(rest: dict[str, Any]) -> None:
    before = {**rest, "Misc": {"Boot": {"Timeout": 1, "A": 2}}}
    after = plist.read(plist.write(plist.adjust(before, Options(timeout_s=2))[0]), "x")
    wanted = copy.deepcopy(before)
    wanted["Misc"]["Boot"]["Timeout"] = 2
    assert repr(after) == repr(wanted)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"bplist00" + tail))
@example(b"")
@example(b"<plist><dict><key>a</key></dict></plist>")
@example(b"<plist><dict>" + b"<key>a</key><dict>" * 5000)
@example(b"<?xml version='1.0'?><!DOCTYPE p [<!ENTITY e 'x'>]><plist><string>&e;</string></plist>")
@example(plistlib.dumps([1]))
@example(plistlib.dumps({"Label": "not OpenCore's"}))
@example(b"version https://git-lfs")
@settings(max_examples=100, deadline=None)
def test_what_is_no_configuration_is_an_upstreams_error(data: bytes) -> None:
    with pytest.raises(UpstreamError, match=r"^config\.plist is (not a |a git-lfs pointer, not )"):
        plist.read(data, "config.plist")


def test_boot_args_of_other_characters_than_text_has_are_refused() -> None:
    before = config()
    before["NVRAM"]["Add"][BOOT_ARGS]["boot-args"] = b"-v\x01"
    with pytest.raises(UpstreamError, match=rf"NVRAM/Add/{BOOT_ARGS}/boot-args is not a text but data"):
        plist.adjust(before, Options(add_boot_args="debug=1"))
