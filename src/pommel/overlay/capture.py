"""Reads an upstream's boot script by running it: its QEMU arguments are data. Band: shell.

The script runs with a stand-in for QEMU first on PATH, in a clean environment, without a terminal, in a copy of its
folder. The script is not parsed; the first complete call of QEMU is the result. What follows it (exit status, `pkill`,
`sleep`) is at most a note. The script gets a short time for it, and is then ended.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import tempfile
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pommel import texts
from pommel.errors import BuildError, UpstreamError
from pommel.overlay import complaints, layer, shown, standin
from pommel.overlay.facts import ProgramCall, ScriptFacts, facts_of
from pommel.overlay.sandbox import (
    ScriptPlace,
    bubblewrap,
    end_leftovers,
    isolated,
    left,
    qemus_named,
    what_escapes,
    write_filter,
)
from pommel.process import watched

_KEPT = ("HOME", "USER", "LOGNAME")  # a script may build its paths from these; it gets no other variables of ours
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHOWN = 2000  # characters of output in an error
_OUTPUT_MAX = 64 << 10  # bytes of output that are read back
_FILE_MAX_BLOCKS = 64 << 11  # 64 MiB in blocks of 512: a script that prints forever must not fill the disk
# Output goes to a file, because a pipe would stay open as long as any process that the script left in the background.
# timeout(1) is for the case that Pommel itself is killed meanwhile: then it ends a script with an endless loop.
_SHELL = 'ulimit -f "$2"; out=$1 limit=$3; shift 3; {filter} exec timeout -s KILL "$limit" "$@" > "$out" 2>&1'
_GRACE_S = 2.0  # timeout(1) ends the script this much later than Pommel itself would
_AFTER_S = 0.5  # a script's time after the start of QEMU: for its later commands on the host, and for notes
_LAST_S = 1.0  # the time in which the processes of a failed script may still start QEMU
_ROUNDS = 6  # the number of repeated runs because the script looked for a QEMU at a path that does not exist
_POLL_S = 0.005
# Checks whether the script waits for input: one in so many looks, and this many positive results.
_ASKS_EVERY, _ASKS_SEEN = 6, 3
_SCRIPT_MAX = 4 << 20
_READ_CALL = {"x86_64": "0", "aarch64": "63"}  # read(2), as in /proc/PID/syscall


@dataclass(frozen=True, slots=True)
class Captured:
    """The call that a boot script made. `argv` is without the program; `cwd` is the start of its relative paths.

    `created` are files that the script made in its folder, relative to it; they were removed. `facts` are its other
    actions on the host and around QEMU; `notes` are about what followed.
    """

    argv: tuple[str, ...]
    program: str
    cwd: Path
    output: str
    sandboxed: bool
    created: tuple[str, ...] = ()
    facts: ScriptFacts = field(default_factory=ScriptFacts)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScriptInput:
    """A script's input: arguments, variables, and the lines that answer its questions."""

    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    input: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Request:
    upstream: Path
    script: str
    text: str
    given: ScriptInput
    timeout_s: float
    real: Path | None
    hidden: Sequence[Path]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of the script: its exit status (None: it was ended), and whether it waits for an answer."""

    calls: list[ProgramCall]
    status: int | None
    output: str
    asks: bool
    created: tuple[str, ...]
    facts: ScriptFacts


_NOTHING = ScriptInput()


def capture(
    upstream: Path,
    script: str,
    *,
    given: ScriptInput = _NOTHING,
    timeout_s: float = 10.0,
    unsandboxed: bool = False,
    real: Path | None = None,
    scratch: Path | None = None,
    hidden: Sequence[Path] = (),
) -> Captured:
    """Run the upstream's boot script and return the QEMU command line that it would have run.

    `real` is the QEMU that answers its questions. Without bubblewrap it is run only if `unsandboxed` allows it.
    `scratch` is a folder for temporary files (default: the system's); it is empty afterwards. `hidden` are Pommel's own
    folders; in the sandbox they are empty, like home folders.

    Raises:
        UpstreamError: the script is missing, may not or cannot be run, or ends, waits or loops without a complete call.
        BuildError: there is not enough space for the copy in which it runs.
    """
    upstream = upstream.resolve()
    request = _Request(upstream, script, _checked(upstream, script), given, timeout_s, real, hidden)
    bwrap = bubblewrap()
    if bwrap is None and not unsandboxed:
        raise UpstreamError(
            f"{upstream / script} is a third-party program, and there is no bubblewrap to run it safely",
            hint="install bubblewrap, and allow user namespaces; only a start runs the script without it",
        )
    invented: list[Path] = []
    for _ in range(_ROUNDS):
        done = _in_scratch(request, bwrap, invented, scratch)
        looked_for = [] if done.calls or bwrap is None else _looked_for(done.output, upstream, invented)
        if not looked_for:
            break
        invented += looked_for
    _judge(request, done)
    call = done.calls[0]
    notes = _notes(request, done)
    return Captured(call.argv, call.program, call.cwd, done.output, bwrap is not None, done.created, done.facts, notes)


def _checked(upstream: Path, script: str) -> str:
    """The script's text, after the checks that it can run at all."""
    path = upstream / script
    if PurePosixPath(script).is_absolute() or ".." in PurePosixPath(script).parts:
        raise UpstreamError(f"the boot script {script} is not inside {upstream}")
    if not path.is_file():
        others = sorted(p.name for p in upstream.glob("*.sh")) if upstream.is_dir() else []
        there = "it has " + ", ".join(others) if others else "check that this is the right folder"
        raise UpstreamError(f"{upstream} has no boot script {script}", hint=f"set boot_script: {there}")
    data = texts.read_bytes(path, error=UpstreamError, most=_SCRIPT_MAX)
    if (takes_it_off := texts.unmarked(data, path)) is not None:  # the kernel looks for #! in the first two bytes
        raise UpstreamError(f"{path} begins with a byte order mark, so it cannot be run", hint=takes_it_off)
    if data.split(b"\n", 1)[0].endswith(b"\r"):
        raise UpstreamError(f"{path} has Windows line ends", hint=f"sed -i 's/\\r$//' {path}")
    return data.decode(errors="replace")


def _in_scratch(request: _Request, bwrap: str | None, invented: list[Path], scratch: Path | None) -> _Run:
    try:
        folder = Path(tempfile.mkdtemp(prefix="pommel-capture.", dir=scratch)).resolve()
        try:
            return _run(request, bwrap, invented, folder)
        finally:
            end_leftovers(folder)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as failure:
        raise BuildError(f"the boot script cannot be run in a copy of its folder: {failure}") from failure


def _run(request: _Request, bwrap: str | None, invented: list[Path], folder: Path) -> _Run:
    """Run the script once, with its whole environment in `folder`."""
    inside = folder / "real" if bwrap is not None and request.real is not None else request.real
    called = " ".join([request.text, *map(str, invented)])
    binaries = standin.plant(folder, called, real=inside, isolated=bwrap is not None)
    if bwrap is None:
        _refuse_escapes(request.upstream / request.script, request.text, binaries)
    copy = layer.lay(request.upstream, folder / "copy", request.script)
    _invent(copy.folder, request.upstream, invented, binaries / standin.QEMU)
    own = request.upstream if bwrap is not None else copy.folder
    command = [*_interpreter(request.text), str(own / request.script), *request.given.args]
    if bwrap is not None:
        write_filter(folder)
        command = _isolated(request, bwrap, command, copy.folder, folder, invented)
    status, asks = _watch(request, command, copy.folder, folder, _environment(binaries, request.given.env))
    calls, output = standin.calls(folder), _output(folder)
    facts = facts_of(
        calls[:1], standin.notes(folder, "effect"), standin.notes(folder, "wrapper"), output, request.given.env
    )
    return _as_named(_Run(calls, status, output, asks, copy.created(), facts), copy.folder, request.upstream)


def _isolated(
    request: _Request, bwrap: str, command: Sequence[str], copy: Path, folder: Path, invented: Sequence[Path]
) -> list[str]:
    bases = shown.hidden(request.hidden)
    programs = [Path(each) for each in _environment(folder, request.given.env)["PATH"].split(":")[1:]]
    view = shown.shown(
        bases,
        request.upstream,
        text=request.text,
        args=request.given.args,
        env=request.given.env,
        programs=[*programs, *([request.real.resolve().parent] if request.real else [])],
    )
    return isolated(
        bwrap,
        command,
        ScriptPlace(request.upstream, copy, folder),
        text=request.text,
        invented=[path for path in invented if path.is_absolute() and not path.is_relative_to(request.upstream)],
        real=request.real,
        view=view,
    )


def _watch(
    request: _Request, command: Sequence[str], cwd: Path, folder: Path, env: Mapping[str, str]
) -> tuple[int | None, bool]:
    """Run the script until it ends, its time is over, it waits for input, or it called QEMU some time ago."""
    limits = (str(_FILE_MAX_BLOCKS), f"{request.timeout_s + _GRACE_S:g}")
    shell = _SHELL.format(filter=f"exec 9<'{folder}/seccomp';" if (folder / "seccomp").exists() else "")
    words = ["/bin/sh", "-c", shell, "sh", str(folder / "output"), *limits, *command]
    reading, writing = os.pipe()
    try:
        os.write(writing, "".join(f"{line}\n" for line in request.given.input).encode())
        with watched(words, stdin=reading, env=env, cwd=cwd) as script:
            return _until(request, folder, reading, script.exit_status)
    finally:
        os.close(reading)
        os.close(writing)


def _until(
    request: _Request, folder: Path, reading: int, exit_status: Callable[[], int | None]
) -> tuple[int | None, bool]:
    began = time.monotonic()
    called, ended, asked, looks = None, None, 0, 0
    while (now := time.monotonic()) - began < request.timeout_s:
        status = exit_status()
        if called is None and (folder / "call.1").exists():
            called = now
        # A script may start QEMU in the background and end before the stand-in has written its record.
        ended = now if status is not None and ended is None else ended
        if ended is not None and (called is not None or not left(folder) or (status and now - ended > _LAST_S)):
            return status, False
        if called is not None and now - called > _AFTER_S:
            return None, False
        looks += 1
        if called is None and looks % _ASKS_EVERY == 0:
            # Several positive results are needed: one look may come between two reads of the available input.
            asked = asked + 1 if _waits_for_input(folder, reading) else 0
            if asked >= _ASKS_SEEN:
                return None, True
        time.sleep(_POLL_S)
    return None, False


def _waits_for_input(folder: Path, reading: int) -> bool:
    """Whether all input is read, and a process of the script reads from its standard input again."""
    unread = struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, bytes(4)))[0]
    return unread == 0 and any(_reads(pid, os.fstat(reading).st_ino) for pid in left(folder))


def _reads(pid: int, pipe: int) -> bool:
    """Whether the process is in read(2) on descriptor 0, and this is our pipe."""
    try:
        words = Path(f"/proc/{pid}/syscall").read_text().split()
        return (
            words[:2] == [_READ_CALL.get(os.uname().machine), "0x0"] and Path(f"/proc/{pid}/fd/0").stat().st_ino == pipe
        )
    except OSError:
        return False


def _interpreter(text: str) -> list[str]:
    """The interpreter of a script without `#!`: bash, as at the prompt where people type its name."""
    if text.startswith("#!"):
        return []
    return [shutil.which("bash") or "/bin/sh"]


def _invent(copy: Path, upstream: Path, invented: Sequence[Path], program: Path) -> None:
    """Put the stand-in where the script looks for a QEMU in its own folder."""
    for path in (path for path in invented if path.is_relative_to(upstream)):
        place = copy / path.relative_to(upstream)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            shutil.copy(program, place)


def _looked_for(output: str, upstream: Path, known: Sequence[Path]) -> list[Path]:
    """Where the script looked for a missing QEMU, from its output: paths, and names that are not on PATH."""
    named = [Path(path) for path in qemus_named(output)]
    for word in (word.strip("‘’'\"`:") for word in output.split()):
        if not word.startswith("/") and standin.is_qemu(Path(word).name):
            named.append(upstream / word if "/" in word else Path(word))
    return [path for path in dict.fromkeys(named) if path not in known and not path.exists()]


def _as_named(done: _Run, copy: Path, upstream: Path) -> _Run:
    """Replace the copy's paths in the results by the upstream's own."""

    def named(text: str) -> str:
        return text.replace(str(copy), str(upstream))

    calls = [
        replace(call, program=named(call.program), cwd=Path(named(str(call.cwd))), argv=tuple(map(named, call.argv)))
        for call in done.calls
    ]
    return replace(done, calls=calls, output=named(done.output))


def _refuse_escapes(path: Path, text: str, binaries: Path) -> None:
    line = what_escapes(text)
    if line is not None:
        raise UpstreamError(
            f"{path} does not use QEMU from PATH, so running it could start a machine: {line}",
            hint="install bubblewrap, and allow user namespaces; then it can be run safely",
        )
    if not os.access(binaries / standin.QEMU, os.X_OK):
        raise UpstreamError(
            f"programs cannot be run from {binaries.parent.parent}, because it is mounted noexec",
            hint="set TMPDIR to a folder from which programs can run",
        )


def _environment(binaries: Path, given: Mapping[str, str]) -> Mapping[str, str]:
    kept = {key: value for key in _KEPT if (value := os.environ.get(key)) is not None}
    # The user's own PATH comes after ours: on NixOS, for example, there is nothing in the usual folders.
    users = [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
    path = dict.fromkeys([str(binaries), *users, *_USUAL_PATH.split(":")])
    found = {**kept, "LC_ALL": "C.UTF-8", "TERM": "dumb", **given}
    first = [str(binaries), *given["PATH"].split(":")] if "PATH" in given else path
    return {**found, "PATH": ":".join(first)}


def _judge(request: _Request, done: _Run) -> None:
    script = request.script
    if len(done.calls) > 1 and done.calls[0].argv != done.calls[1].argv:
        both = "".join(f"\n  {call.program} {' '.join(call.argv)[:200]}" for call in done.calls)
        raise UpstreamError(f"{script} calls QEMU more than once:{both}{_output_shown(done.output)}")
    if done.calls:
        name = PurePosixPath(done.calls[0].program).name
        if standin.is_foreign(name):
            raise UpstreamError(f"{script} starts {name}, but macOS machines need {standin.QEMU}")
        return
    if done.asks:
        told = _output_shown(done.output)
        prompt = complaints.prompt_of(request.text)
        if prompt is not None and prompt not in done.output:
            told = f" to: {prompt.strip()}{told}"
        raise UpstreamError(f"{script} asks a question and waits for the answer{told}", hint=complaints.prompt_hint())
    if done.status is None:
        raise UpstreamError(
            f"{script} did not start QEMU in {request.timeout_s:g} s{_output_shown(done.output)}",
            hint=complaints.timeout_hint(request.timeout_s),
        )
    hint = complaints.hint(done.output, request.text, request.given.args)
    if done.status != 0:
        raise UpstreamError(f"{script} {complaints.ending(done.status)}{_output_shown(done.output)}", hint=hint)
    raise UpstreamError(
        f"{script} never calls {standin.QEMU}{_output_shown(done.output)}",
        hint=hint or "set boot_script to the upstream's script that starts the machine",
    )


def _notes(request: _Request, done: _Run) -> tuple[str, ...]:
    found = []
    if done.status:
        found.append(f"after the start of QEMU {request.script} {complaints.ending(done.status)}")
    if len(done.calls) > 1:
        found.append(f"{request.script} starts QEMU again when it ends; to do this with Pommel: pommel start --watch")
    return tuple(found)


def _output(folder: Path) -> str:
    try:
        with (folder / "output").open("rb") as out:
            out.seek(max(0, out.seek(0, os.SEEK_END) - _OUTPUT_MAX))
            return out.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _output_shown(output: str) -> str:
    text = output.strip()
    if not text:
        return "; it printed nothing"
    return "; it printed:\n" + (text if len(text) <= _SHOWN else "…" + text[-_SHOWN:])
