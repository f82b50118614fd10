"""machine.json: strict in, whole out."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import MachineError, StateError
from pommel.machine import record
from pommel.machine.identity import new_identity
from pommel.machine.record import MachineRecord
from pommel.machine.smbios import MODELS, new_apple_identity

IDENTITY = new_identity(bytes(range(19)))
RECORD = MachineRecord(
    name="trial",
    upstream="trial",
    uuid=IDENTITY.uuid,
    mac=IDENTITY.mac,
    ssh_port=2222,
    created="2026-01-02T03:04:05Z",
    base="abc",
)
TEXT = st.text(min_size=1).filter(lambda text: text.isprintable())


@given(upstream=TEXT, port=st.integers(1, 65535), base=st.none() | TEXT, random=st.binary(min_size=19, max_size=19))
def test_what_is_rendered_is_parsed(upstream: str, port: int, base: str | None, random: bytes) -> None:
    made = new_identity(random)
    kept = replace(RECORD, upstream=upstream, ssh_port=port, base=base, uuid=made.uuid, mac=made.mac)
    assert record.parse(record.render(kept)) == kept


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "machine.json"
    record.save(path, RECORD)
    record.save(path, replace(RECORD, ssh_port=2223))
    assert record.load(path) == replace(RECORD, ssh_port=2223)
    assert [entry.name for entry in path.parent.iterdir()] == ["machine.json"]
    assert json.loads(path.read_text()) == {"format": 1, **asdict(RECORD), "ssh_port": 2223}


def test_base_may_be_left_out() -> None:
    document = {"format": 1, **asdict(RECORD)}
    del document["base"]
    assert record.parse(json.dumps(document)).base is None


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no machine at"):
        record.load(tmp_path / "machine.json")


APPLE = new_apple_identity("iMacPro1,1", bytes(range(16)), uuid=IDENTITY.uuid, mac=IDENTITY.mac)
NUMBERS = {"model": APPLE.model, "serial": APPLE.serial, "mlb": APPLE.mlb, "rom": APPLE.rom}


@given(
    model=st.sampled_from(sorted(MODELS)),
    random=st.binary(min_size=16, max_size=16),
    golden=st.booleans(),
    word=st.none() | st.booleans(),
    clone_of=st.none() | st.just("a-base.1"),
    encrypted=st.none() | st.just("5b1f0d0e-1f4e-4a5e-8d3f-0123456789ab"),
)
def test_what_a_mac_is_told_of_itself_is_kept(
    model: str, random: bytes, golden: bool, word: bool | None, clone_of: str | None, encrypted: str | None
) -> None:
    made = new_apple_identity(model, random, uuid=IDENTITY.uuid, mac=IDENTITY.mac)
    numbers = {"model": made.model, "serial": made.serial, "mlb": made.mlb, "rom": made.rom}
    kept = replace(RECORD, **numbers, golden=golden, installed=word, clone_of=clone_of, encrypted=encrypted)
    assert record.parse(record.render(kept)) == kept
    assert kept.apple == made


def test_an_older_record_lacks_what_is_new() -> None:
    new = {*NUMBERS, "clone_of", "golden", "installed", "macos", "recovery", "config", "encrypted"}
    document = {key: value for key, value in asdict(RECORD).items() if key not in new}
    old = record.parse(json.dumps({"format": 1, **document}))
    assert old == RECORD
    assert (old.apple, old.clone_of, old.golden, old.installed) == (None, None, False, None)


def changed(**changes: Any) -> str:
    document = {"format": 1, **asdict(RECORD)} | changes
    return json.dumps({key: value for key, value in document.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "does not contain a JSON object"),
        (changed(format=2), "format is 2, but this Pommel supports 1"),
        (changed(format=True), "format is True"),
        (changed(format=...), "format is None"),
        (changed(colour="red"), "unknown key 'colour'"),
        (changed(mac=...), "'mac' is missing"),
        (changed(mac="52:54:00:zz:00:00"), "no MAC address"),
        (changed(mac="52:54:00:00:00:00\n"), "no MAC address"),
        (changed(uuid="6"), "no UUID"),
        (changed(uuid=RECORD.uuid.upper()), "no UUID"),
        (changed(ssh_port=0), "no port"),
        (changed(ssh_port=65536), "no port"),
        (changed(ssh_port="2222"), "no port"),
        (changed(ssh_port=True), "no port"),
        (changed(name=""), "no text"),
        (changed(upstream=None), "no text"),
        (changed(base=7), "no text"),
        (changed(golden=None), "golden is None, not true or false"),
        (changed(golden=1), "not true or false"),
        (changed(installed="yes"), "installed is 'yes', not true or false"),
        (changed(clone_of="../x"), "cannot be a machine's name"),
        (changed(clone_of=""), "no text"),
        (changed(encrypted=True), "no text"),
        (changed(encrypted="yes"), "encrypted is 'yes', no UUID"),
        (changed(serial=APPLE.serial), "model, serial, mlb, rom are needed together, but there is only serial"),
        (changed(**NUMBERS | {"model": "a Mac"}), "no model such as"),
        (changed(**NUMBERS | {"serial": "short"}), "it is not 12 of"),
        (changed(**NUMBERS | {"mlb": APPLE.mlb[:-1] + "?"}), "it is not 17 characters"),
        (changed(**NUMBERS | {"rom": "abcdef012345"}), "not 12 hexadecimal digits"),
        (changed(**NUMBERS | {"rom": APPLE.rom + "\n"}), "not 12 hexadecimal digits"),
        (changed(**NUMBERS | {"rom": None}), "are needed together"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "machine.json"
    path.write_text(text)
    with pytest.raises(MachineError) as failure:
        record.load(path)
    assert said in failure.value.message and str(path) in failure.value.message
    assert failure.value.hint


def test_a_newer_pommels_record_says_to_update(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(changed(format=2))
    with pytest.raises(MachineError) as failure:
        record.load(tmp_path / "machine.json")
    assert failure.value.hint == "a newer Pommel created this machine: update this Pommel"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_bytes(b"\xff")
    with pytest.raises(MachineError, match="cannot be read"):
        record.load(tmp_path / "machine.json")


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be written"):
        record.save(tmp_path / "file" / "machine.json", RECORD)


@given(st.text())
def test_any_text_is_accepted_or_refused(text: str) -> None:
    try:
        record.parse(text)
    except ValueError as refusal:
        assert str(refusal)
