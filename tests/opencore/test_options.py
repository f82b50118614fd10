"""Options: what OpenCore would not take is refused when it is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pommel.errors import ConfigError
from pommel.opencore.options import Options, Smbios


@pytest.mark.parametrize(
    "values",
    [
        {"timeout_s": -1},
        {"resolution": "big"},
        {"resolution": "1920x1080@33"},
        {"resolution": "1920x1080\n"},
        {"boot_args": "a\nb"},
        {"add_boot_args": "ü"},
        {"shows": "windows"},
    ],
)
def test_options_are_checked(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values)).removeprefix("add_")):
        Options(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"product_name": "iMac"},
        {"serial": "c02"},
        {"mlb": "C02 119700QXJG36J"},
        {"uuid": "213FA768"},
        {"uuid": "{213FA768-A62C-4299-8598-47AA666E436F}"},
        {"rom": b"12345"},
    ],
)
def test_smbios_is_checked(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Smbios(**values)


def test_every_option_counts_as_a_value() -> None:
    smbios = Smbios("iMac19,1", "C02ABCDEFGHJ", "C0212345678", "213FA768-A62C-4299-8598-47AA666E436F", b"123456")
    some = [
        Options(),
        Options(timeout_s=0),
        Options(resolution="Max"),
        Options(resolution="1280x800@32"),
        Options(boot_args=""),
        Options(add_boot_args="-v"),
        Options(smbios=smbios),
        Options(shows="recovery"),
        Options(shows="macos"),
        Options(smbios=Smbios(rom=b"abcdef")),
    ]
    assert len({json.dumps(options.as_values()) for options in some}) == len(some)
