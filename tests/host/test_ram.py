"""How much memory a host has."""

from __future__ import annotations

from pathlib import Path

from pommel.host import ram


def test_what_programs_can_still_get(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    1024 kB\n")
    assert ram.available_bytes(tmp_path / "meminfo") == 1 << 20
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\n")
    assert ram.available_bytes(tmp_path / "meminfo") is None


def test_this_host_has_more_than_is_free() -> None:
    available = ram.available_bytes()
    assert available is not None and 0 < available < ram.total_bytes()
