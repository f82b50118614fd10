from __future__ import annotations

import json
import shlex

from pommel.machine.explain import ArgumentRow, as_json, as_shell, explain

from .given import TCG, line_with, overlaid, upstream_line


def row(rows: tuple[ArgumentRow, ...], beginning: str) -> ArgumentRow:
    (found,) = (row for row in rows if row.argument.startswith(beginning))
    return found


def test_each_argument_has_one_row_and_removed_ones_follow() -> None:
    done = overlaid(facts=TCG)
    rows = explain(done)
    standing = [row.argument for row in rows if row.state != "removed"]
    assert standing == [argument.text for argument in done.command_line.arguments]
    assert [row.state for row in rows[len(standing) :]] == ["removed", "removed"]


def test_states() -> None:
    rows = explain(overlaid(facts=TCG, qemu_args=("-device", "usb-mouse")))
    assert row(rows, "-machine") == ArgumentRow("-machine q35", "upstream", "unchanged from the upstream", "kept")
    accel = row(rows, "-accel")
    assert (accel.origin, accel.state, accel.before) == ("upstream + accelerator", "changed", "-enable-kvm")
    assert accel.reason == TCG.accel_reason
    assert row(rows, "-pidfile").origin == "process"
    assert row(rows, "-pidfile").state == "added"
    assert row(rows, "-device usb-mouse").origin == "qemu_args"
    gone = row(rows, "-drive id=InstallMedia")
    assert (gone.origin, gone.state) == ("disks", "removed")
    assert "no recovery image" in gone.reason


def test_before_is_the_upstreams_own_text_after_several_changes() -> None:
    rows = explain(overlaid(facts=TCG, cpu="Haswell-noTSX"))
    (upstream,) = upstream_line().find("cpu")
    assert row(rows, "-cpu").before == upstream.text


def test_json() -> None:
    rows = explain(overlaid())
    assert json.loads(json.dumps(as_json(rows))) == as_json(rows)
    assert set(as_json(rows)[0]) == {"argument", "origin", "reason", "state", "before"}


def test_shell_text_gives_the_same_words_back() -> None:
    line = overlaid(line_with("-append", "a 'quoted' $HOME\n*")).command_line
    text = as_shell(line)
    assert tuple(shlex.split(text.replace("\\\n", ""))) == line.argv
    assert text.startswith("qemu-system-x86_64 \\\n  -accel kvm \\\n")
