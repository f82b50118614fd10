"""Recipes for other systems: well-formed as far as that can be known here, of this version, and with what is needed."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from pommel import __version__
from pommel.host.needs import RUN_NEEDS

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "packages"
PKGBUILD, FLAKE = PACKAGES / "arch" / "PKGBUILD", PACKAGES / "flake.nix"
CONTAINERFILE, SERVE = PACKAGES / "container" / "Containerfile", PACKAGES / "container" / "serve"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIBRARIES = {Requirement(line).name for line in PROJECT["dependencies"]}
# As containers/common's Containerfile(5) has them.
INSTRUCTIONS = {
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD"),
    *("RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
}


def parsed(path: Path) -> None:
    for words in (["bash", "-n"], ["shellcheck"]):
        done = subprocess.run([*words, path], capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def variables(path: Path, *names: str) -> dict[str, list[str]]:
    """What bash has in a PKGBUILD's variables; in a shell that can do nothing else."""
    said = "; ".join(f'printf "%s\\0" {name} "${{{name}[@]}}" ""' for name in names)
    asked = ["env", "-i", "bash", "-r", "-c", f"source PKGBUILD; {said}"]
    told = subprocess.run(asked, cwd=path.parent, capture_output=True, text=True, check=True).stdout
    return {one[0]: one[1:] for one in (part.split("\0") for part in told.split("\0\0") if part)}


def test_arch() -> None:
    parsed(PKGBUILD)
    found = variables(PKGBUILD, "pkgver", "depends", "optdepends", "source", "arch")
    assert found["pkgver"] == [__version__]
    assert found["source"][0].endswith(f"/v{__version__}/pommel-{__version__}.tar.gz")
    assert {name for need in RUN_NEEDS if not need.optional for name in need.packages["pacman"]} <= set(
        found["depends"]
    )
    assert {line.partition(":")[0] for line in found["optdepends"]} >= {"bubblewrap", "git", "mtools"}
    assert re.search(r"^build\(\) \{$.*^package\(\) \{$", PKGBUILD.read_text(), re.MULTILINE | re.DOTALL)


def test_nix() -> None:
    done = subprocess.run(["nix-instantiate", "--parse", FLAKE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = FLAKE.read_text()
    assert f'version = "{__version__}";' in text
    listed = re.search(r"dependencies = with python\.pkgs; \[(.*?)\];", text, re.DOTALL)
    assert listed is not None
    assert set(listed[1].split()) == {name.replace(".", "-") for name in LIBRARIES}


def test_the_parser_for_nix_refuses(tmp_path: Path) -> None:
    wrong = tmp_path / "flake.nix"
    wrong.write_text(FLAKE.read_text().replace("};", "}", 1))
    assert subprocess.run(["nix-instantiate", "--parse", wrong], capture_output=True).returncode != 0


def test_the_library_that_nix_fetches_is_the_one_of_the_lock() -> None:
    text = FLAKE.read_text()
    version = re.search(r'pname = "simplejpeg";\s+version = "([^"]+)"', text)
    sha256 = re.search(r'sha256 = "([0-9a-f]{64})"', text)
    assert version is not None and sha256 is not None
    lock = (ROOT / "lock" / "run.txt").read_text()
    entry = re.search(rf"^simplejpeg=={re.escape(version[1])} .*?(?=^\S)", lock, re.MULTILINE | re.DOTALL)
    assert entry is not None and sha256[1] in entry[0]


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def test_the_containerfile_is_one() -> None:
    found = instructions(CONTAINERFILE)
    assert {name for name, _ in found} <= INSTRUCTIONS
    assert [name for name, _ in found][:2] == ["ARG", "FROM"]
    for name, words in found:
        if name == "COPY" and not words.startswith("$"):
            assert (ROOT / words.split()[0]).stat().st_mode & 0o100, words
        if name == "RUN":
            done = subprocess.run(["shellcheck", "-s", "sh", "-"], input=words, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in yaml.safe_load(words))
    assert ("EXPOSE", "8600") in found and ("VOLUME", "/var/lib/pommel") in found


def test_what_the_container_runs() -> None:
    parsed(SERVE)
    assert SERVE.stat().st_mode & 0o111 == 0o111
    done = subprocess.run([SERVE, "/bin/echo", "a b"], capture_output=True, text=True, check=True)
    assert done.stdout == "a b\n"


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    return found


def test_the_workflow_is_for_tags_and_publishes_for_them_alone(workflow: dict[Any, Any]) -> None:
    assert workflow[True] == {"push": {"tags": ["v*"]}, "workflow_dispatch": None}  # YAML 1.1 reads `on` so
    for name, job in workflow["jobs"].items():
        if name.startswith("publish"):
            assert job["if"] == "github.event_name == 'push'" or "publish-python" in job["needs"], name
            assert job["environment"], name


def test_each_job_may_write_what_it_publishes_and_nothing_else(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    allowed = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert allowed == {
        "publish-python": {"id-token": "write"},
        "publish-image": {"packages": "write"},
        "publish-files": {"contents": "write"},
    }
    for job in workflow["jobs"].values():
        checkouts = [step for step in job.get("steps", []) if step.get("uses", "").startswith("actions/checkout")]
        assert all(step["with"] == {"persist-credentials": False} for step in checkouts)
        assert "timeout-minutes" in job or "uses" in job


def test_the_workflow_names_what_is_there(workflow: dict[Any, Any]) -> None:
    jobs = workflow["jobs"]
    steps = [step for job in jobs.values() for step in job.get("steps", [])]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    commands = "\n".join(step.get("run", "") for step in steps)
    for path in re.findall(r"\b(?:tools|packages|lock|src)/[\w/.]*\w", commands):
        assert (ROOT / path).is_file(), path
    for job in jobs.values():
        assert set([job.get("needs", [])] if isinstance(job.get("needs"), str) else job.get("needs", [])) <= set(jobs)
        assert (ROOT / job["uses"]).is_file() if "uses" in job else True
    assert "workflow_call" in yaml.safe_load((ROOT / ".github" / "workflows" / "linux.yml").read_text())[True]


def test_the_tag_is_held_against_the_version(workflow: dict[Any, Any], tmp_path: Path) -> None:
    (step,) = [step for step in workflow["jobs"]["python"]["steps"] if "tag" in step.get("name", "")]
    for tag, status in ((f"v{__version__}", 0), ("v9.9.9", 1), (__version__, 1)):
        env = {"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
        assert subprocess.run(["bash", "-e", "-c", step["run"]], cwd=ROOT, env=env).returncode == status, tag
