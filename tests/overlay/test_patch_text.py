"""Reading what a patch touches, against diffs that a real git wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlay.repos import sh
from pommel.errors import ConfigError
from pommel.overlay.patch_text import read_patch

NAMES = ["plain", "with space", 'quo"te', "naïve", "tab\there", "deep/er/file", "-dash", "a b/a b"]


def test_every_kind_of_change_that_git_writes(tmp_path: Path) -> None:
    sh(tmp_path, "init", "--quiet")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "a b").mkdir()
    for name in [*NAMES, "gone", "moved", "mode"]:
        (tmp_path / name).write_text("".join(f"{name} {n}\n-- looks like a header\n" for n in range(20)))
    sh(tmp_path, "add", "--all")
    sh(tmp_path, "commit", "--quiet", "-m", "x")
    for name in NAMES:
        lines = (tmp_path / name).read_text().splitlines(keepends=True)
        (tmp_path / name).write_text("".join(["++ new\n", *lines[2:30], *lines[31:-1], "no end of line"]))
    (tmp_path / "gone").unlink()
    (tmp_path / "moved").rename(tmp_path / "moved to")
    (tmp_path / "mode").chmod(0o755)
    (tmp_path / "new").write_text("x\n")
    sh(tmp_path, "add", "--all")
    text = sh(tmp_path, "diff", "--cached", "-M") + "\n"
    found = read_patch("x.patch", text)
    assert set(found.paths) == {*NAMES, "gone", "moved", "moved to", "mode", "new"}
    assert {name for name, _ in found.hunks} == {*NAMES, "gone", "new"}
    assert [line for name, line in found.hunks if name == "plain"] == [1, 28, 37]


def test_the_shape_that_diff_writes() -> None:
    text = "--- a/x.sh\t2026-02-09 10:00:00\n+++ b/x.sh\t2026-02-09 10:00:01\n@@ -3 +3 @@ f() {\n-a\n+b\n"
    assert read_patch("x.patch", text).paths == ("x.sh",)
    assert read_patch("x.patch", text).hunks == (("x.sh", 3),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no file"),
        ("hello\n", "names no file"),
        ("--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n", "x.patch:1: '../x' is not a file inside"),
        ("--- /dev/null\n+++ b//etc/cron.d/x\n@@ -0,0 +1 @@\n+b\n", "'/etc/cron.d/x' is not a file inside"),
        ("--- /dev/null\n+++ /etc/x\n@@ -0,0 +1 @@\n+b\n", "'/etc/x' is not a file inside"),
        ("--- a/.git/config\n+++ b/.git/config\n@@ -1 +1 @@\n-a\n+b\n", "belongs to git"),
        ('--- "a/\\056\\056/x"\n+++ b/x\n', "'../x' is not a file inside"),
        ("diff --git a/x b/x\nrename from x\nrename to ../y\n", "'../y'"),
        ("diff --git a/x b/x\nnew file mode 120000\n", "symbolic links"),
        ("diff --git a/x b/x\nindex 1..2\nGIT binary patch\nliteral 3\n", "binary file"),
        ("--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n-b\n", "x.patch:3: the hunk of line 3 is incomplete"),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n--- a/y\n", "is incomplete"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_patch("x.patch", text)
    assert said in caught.value.message


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["--- a/x", "+++ b/y", "@@ -1,2 +1 @@", "-a", "+b", " c", "diff --git a/x b/x", "", '"\\'])
    )
)
def test_any_text_is_read_or_refused_by_name(lines: list[str]) -> None:
    try:
        found = read_patch("x.patch", "\n".join(lines))
    except ConfigError as refused:
        assert "x.patch" in refused.message
    else:
        assert set(found.paths) <= {"x", "y"}
        assert {name for name, _ in found.hunks} <= set(found.paths)


def test_a_hunk_of_a_number_without_end_is_no_fault_of_ours() -> None:
    text = f"--- a/x\n+++ b/x\n@@ -{'9' * 5000} +1 @@\n+y\n"
    assert read_patch("a.patch", text).paths == ("x",)
