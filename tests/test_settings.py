"""Settings: what is accepted, where a value comes from, and what an error says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel import settings
from pommel.config import read_file
from pommel.errors import ConfigError
from pommel.settings import ConfigFile, Setting, Value, format_size, resolve

SETTINGS = (
    Setting("cores", settings.parse_positive, 2, "CPU cores per socket"),
    Setting("memory", settings.parse_size, 4 << 30, "RAM size, such as 8G"),
    Setting("accel", settings.choice("auto", "kvm", "tcg"), "auto", "the accelerator"),
    Setting("ssh_port", settings.parse_port, None, "host port"),
)


def toml(tmp_path: Path, text: str) -> ConfigFile:
    path = tmp_path / "pommel.toml"
    path.write_text(text)
    return read_file(path)


def refusal(parse: Any, raw: Any) -> str:
    with pytest.raises(ValueError, match=r".") as told:
        parse(raw)
    return str(told.value)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        ("8G", 8 << 30),
        ("8g", 8 << 30),
        ("8 GB", 8 << 30),
        ("8GiB", 8 << 30),
        ("1.5G", 1536 << 20),
        ("512M", 512 << 20),
        ("1T", 1 << 40),
        (" 2048K ", 2 << 20),
    ],
)
def test_sizes(raw: str, size: int) -> None:
    assert settings.parse_size(raw) == size


@pytest.mark.parametrize("raw", ["8", "8B", "G", "", "-8G", "8X", "8G8G", "8 G B", "1e3G", 8, 8.5, True, None, ["8G"]])
def test_what_is_no_size(raw: Any) -> None:
    assert "a unit" in refusal(settings.parse_size, raw)


def test_a_size_that_is_too_small() -> None:
    assert refusal(settings.parse_size, "1023K") == "at least 1M"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1 << 10, "1 KiB"), (1536, "1.5 KiB"), (80 << 30, "80 GiB"), (1 << 50, "1024 TiB")],
)
def test_sizes_as_a_person_writes_them(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(1, 4096), st.sampled_from("MGT"))
def test_a_whole_size_is_read_as_it_is_written(number: int, unit: str) -> None:
    size = settings.parse_size(f"{number}{unit}")
    if number < 1024:
        assert settings.parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("parse", "raw", "value"),
    [
        (settings.parse_positive, 3, 3),
        (settings.parse_positive, "3", 3),
        (settings.parse_port, 65535, 65535),
        (settings.parse_port, " 22 ", 22),
        (settings.parse_seconds, 0, 0.0),
        (settings.parse_seconds, "1.5", 1.5),
        (settings.parse_bool, True, True),
        (settings.parse_bool, " No ", False),
        (settings.parse_bool, "1", True),
        (settings.parse_text, "a b", "a b"),
        (settings.parse_texts, ["-device", "a b"], ("-device", "a b")),
        (settings.parse_texts, "-device  usb-mouse", ("-device", "usb-mouse")),
        (settings.parse_texts, [], ()),
        (settings.parse_flags, ["+avx2", "-hle"], ("+avx2", "-hle")),
        (settings.parse_flags, "+avx2,-hle +sse4.2", ("+avx2", "-hle", "+sse4.2")),
        (settings.choice("a", "b"), "b", "b"),
    ],
)
def test_values(parse: Any, raw: Any, value: Any) -> None:
    assert parse(raw) == value


@pytest.mark.parametrize(
    ("parse", "raws"),
    [
        (settings.parse_positive, [0, -1, 1.5, True, "x", "", None, "1.0", [], "9999999999"]),
        (settings.parse_port, [0, 65536, -1, "http", True, None]),
        (settings.parse_seconds, [-1, "nan", "inf", "soon", None, [], False, 1e6]),
        (settings.parse_bool, ["", "maybe", 1, 0, None, [], "truely"]),
        (settings.parse_text, ["", "  ", 1, None, []]),
        (settings.parse_texts, [1, [1], None, {"a": 1}]),
        (settings.parse_flags, ["avx2", ["avx2"], ["+avx2", 1], ["+a,+b"], ["+"], ["+avx2\n"], None, 5]),
        (settings.choice("a", "b"), ["c", "", None, 1, []]),
    ],
)
def test_refused_values(parse: Any, raws: list[Any]) -> None:
    for raw in raws:
        assert refusal(parse, raw), raw


def test_a_choice_names_the_nearest() -> None:
    assert refusal(settings.choice("auto", "kvm", "tcg"), "kvn") == "one of auto, kvm, tcg (did you mean kvm?)"


# --- a value and its source ------------------------------------------------------------------------------------------


def test_the_last_source_wins_and_each_says_where(tmp_path: Path) -> None:
    file = toml(tmp_path, '[machine.a]\ncores = 3\n[machine.b]\ncores = 4\nmemory = "6G"\n')
    where = f"{tmp_path}/pommel.toml:4"
    assert resolve(SETTINGS, file, "c", env={})["cores"] == Value(2, "default")
    assert resolve(SETTINGS, file, "c", env={}, defaults={"cores": 7})["cores"] == Value(7, "default")
    assert resolve(SETTINGS, file, "b", env={}, defaults={"cores": 7})["cores"] == Value(4, "file", where)
    env = {"POMMEL_CORES": "5"}
    assert resolve(SETTINGS, file, "b", env=env)["cores"] == Value(5, "environment", "POMMEL_CORES")
    flags = {"cores": "6", "memory": None, "ssh_port": 22}
    found = resolve(SETTINGS, file, "b", env=env, flags=flags)
    assert found["cores"] == Value(6, "flag", "--cores")
    assert found["memory"] == Value(6 << 30, "file", f"{tmp_path}/pommel.toml:5")
    assert found["ssh_port"] == Value(22, "flag", "--ssh-port")
    assert list(found) == [setting.key for setting in SETTINGS]


def test_an_unknown_key_names_file_line_and_the_nearest(tmp_path: Path) -> None:
    file = toml(tmp_path, "# memory\n[machine.a]\ncores = 1\n\nmemroy = '4G'\n")
    with pytest.raises(ConfigError, match=r"pommel\.toml:5: unknown key 'memroy' in \[machine.a\]") as told:
        resolve(SETTINGS, file, "a", env={})
    assert told.value.hint == "did you mean memory? known keys: accel, cores, memory, ssh_port"
    assert resolve(SETTINGS, file, "other", env={})["cores"].source == "default", "another machine's errors wait"


@pytest.mark.parametrize(
    ("text", "env", "flags", "said"),
    [
        ("memory = 8", {}, {}, r"pommel\.toml:2: memory must be a size with a unit.*, not 8"),
        ("accel = 'hvf'", {}, {}, r"pommel\.toml:2: accel must be one of auto, kvm, tcg, not 'hvf'"),
        ("cores = true", {}, {}, "cores must be a whole number from 1 up, not True"),
        ("", {"POMMEL_CORES": "many"}, {}, "POMMEL_CORES must be a whole number from 1 up, not 'many'"),
        ("", {}, {"ssh_port": 70000}, "--ssh-port must be a port from 1 to 65535, not 70000"),
    ],
)
def test_a_bad_value_names_its_place(
    tmp_path: Path, text: str, env: dict[str, str], flags: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        resolve(SETTINGS, toml(tmp_path, f"[machine.a]\n{text}\n"), "a", env=env, flags=flags)
    assert told.value.hint in {setting.help for setting in SETTINGS}


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("[machine.a]", "cores = 1"),
        ("[ machine . 'a' ]  # mine", "  cores=1"),
        ('[machine."a"]', '"cores" = 1'),
    ],
)
def test_lines_are_found_in_other_spellings(tmp_path: Path, header: str, key: str) -> None:
    file = toml(tmp_path, f"# cores = 0\n[machine.z]\ncores = 9\n\n{header}\n# cores\n{key}\n")
    assert file.where("a", "cores").endswith("pommel.toml:7")


def test_a_key_in_a_spelling_we_do_not_find_is_at_least_in_its_table(tmp_path: Path) -> None:
    file = toml(tmp_path, "\n[machine]\na = {cores = 1}\n")
    assert resolve(SETTINGS, file, "a", env={})["cores"].value == 1
    assert file.where("a", "cores").endswith("pommel.toml:1")
