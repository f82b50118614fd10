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


def changed(**changes: Any) -> str:
    document = {"format": 1, **asdict(RECORD)} | changes
    return json.dumps({key: value for key, value in document.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no JSON object"),
        (changed(format=2), "format is 2, and this Pommel knows 1"),
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
    assert failure.value.hint == "a newer Pommel made this machine: update this one"


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
