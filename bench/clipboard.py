"""The clipboard beside a loop of the old kind: how soon the other side can paste, what a picture costs, what idling costs.

    python bench/clipboard.py [COPIES]
    python bench/clipboard.py --growth 10000     so many copies the whole way, each both ways: what grows?

Same run, same real sshd on loopback, same two X servers (host and guest), in turn. The old kind is two polls each 500 ms,
`xclip -o` here and `ssh GUEST pbpaste` over a ControlMaster, the newer value pushed by `xclip -i` or `ssh GUEST pbcopy`.
The guests are the trial machine's pasteboard (shell scripts on xclip) and the Mac's stand-in in Node, which runs the same
JavaScript as osascript does but is no Mac. "Can paste" is: an X client (or the stand-in's other program) gets the text.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from clipboard.conftest import HERE, TRIAL_BIN, Clip, Mac, Sshd, descendants, programs, x_server
from pommel.clipboard.content import FORMS as ALL_FORMS
from pommel.clipboard.content import PNG, TEXT, URIS, content_of, text_of
from pommel.clipboard.engine import Side
from pommel.clipboard.host import Desktop, host_clipboard
from pommel.clipboard.sync import Settings, Sync, SyncState
from pommel.clipboard.uris import uri_list

FORMS = frozenset({TEXT, PNG})
IDLE_S = 20.0


async def until(true: Callable[[], Awaitable[object]], deadline_s: float = 20.0) -> None:
    deadline = time.perf_counter() + deadline_s
    while not await true():
        if time.perf_counter() > deadline:
            raise TimeoutError


@contextlib.contextmanager
def old_loop(ssh: list[str], display: str) -> Iterator[None]:
    """The loop of the old kind: two polls, then sleep 0.5."""
    script = """
last_host= last_guest=
while :; do
    host=$(xclip -selection clipboard -o 2>/dev/null)
    guest=$("$@" pbpaste 2>/dev/null)
    if [ "$host" != "$last_host" ]; then
        printf %s "$host" | "$@" pbcopy; last_host=$host last_guest=$host
    elif [ "$guest" != "$last_guest" ]; then
        printf %s "$guest" | xclip -selection clipboard -i >/dev/null 2>&1; last_host=$guest last_guest=$guest
    fi
    sleep 0.5
done
"""
    env = {**os.environ, "DISPLAY": display}
    child = subprocess.Popen(["sh", "-c", script, "old", *ssh], env=env, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(child.pid, 9)
        child.wait()


@contextlib.asynccontextmanager
async def ours(sshd: Sshd, display: str) -> AsyncIterator[Sync]:
    async with host_clipboard(Desktop("x11", display)) as host:
        sync = Sync(sshd.ssh, host)
        running = asyncio.ensure_future(sync.run())
        while sync.snapshot.state is not SyncState.SYNCING:
            await asyncio.sleep(0.01)
        try:
            yield sync
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class Watch:
    """What an X client that copies and pastes in-process sees: no xclip to start, so no start to count."""

    def __init__(self, display: str) -> None:
        self._display = display

    async def __aenter__(self) -> Watch:
        self._stack = contextlib.AsyncExitStack()
        self._clipboard = await self._stack.enter_async_context(
            host_clipboard(Desktop("x11", self._display), forms=FORMS | {URIS})
        )
        self._sequence = (await self._clipboard.next_change()).sequence
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def copy(self, text: bytes, form: str = TEXT) -> float:
        await self._clipboard.write(content_of({form: text}) if form != TEXT else text_of(text), 1 << 60)
        return time.perf_counter()

    async def paste(self, text: bytes, form: str = TEXT) -> float:
        while True:
            change = await asyncio.wait_for(self._clipboard.next_change(), 20)
            if change.content.get(form) == text:
                return time.perf_counter()


async def latencies(source: Watch, target: Watch, copies: int, name: str) -> list[float]:
    taken = []
    for number in range(copies):
        text = f"{name} {number} {time.time()}".encode()
        copied = await source.copy(text)
        taken.append((await target.paste(text) - copied) * 1000)
        # Not in step with anybody's polling.
        await asyncio.sleep(0.05 + (number * 37 % 100) / 200)
    return taken


def row(name: str, taken: list[float]) -> None:
    ordered = sorted(taken)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    print(f"{name:52} {statistics.median(ordered):8.1f} {p95:8.1f}", flush=True)


async def mac_latencies(sshd: Sshd, mac: Mac, display: str, copies: int) -> None:
    async with ours(sshd, display), Watch(display) as here:
        to_guest, to_host = [], []
        for number in range(copies):
            text = f"mac {number}".encode()
            copied = await here.copy(text)
            while mac.items()[:1] != [{"public.utf8-plain-text": text}]:
                await asyncio.sleep(0.0005)
            to_guest.append((time.perf_counter() - copied) * 1000)
            await asyncio.sleep(0.05 + (number * 37 % 100) / 1000)
            mac.copy({"public.utf8-plain-text": text + b"!"})
            copied = time.perf_counter()
            await here.paste(text + b"!")
            to_host.append((time.perf_counter() - copied) * 1000)
            await asyncio.sleep(0.05)
        row("Mac's stand-in: host to guest", to_guest)
        row("Mac's stand-in: guest to host", to_host)


def scp_of(sshd: Sshd) -> list[str]:
    scp = ["scp", "-q", *(word if word != "-p" else "-P" for word in sshd.ssh[1:-2])]
    return [word for at, word in enumerate(scp) if not (word == "-l" or scp[at - 1] == "-l")]


async def pictures(sshd: Sshd, mac: Mac, display: str, root: Path, clip: Clip) -> None:
    data = os.urandom(10 << 20)
    (root / "picture").write_bytes(data)
    scp = scp_of(sshd)
    by_scp, by_clip, back = [], [], []
    async with ours(sshd, display) as sync:
        for number in range(5):
            began = time.perf_counter()
            target = f"{sshd.target.user}@127.0.0.1:{root}/copied"
            done = await asyncio.create_subprocess_exec(*scp, str(root / "picture"), target)
            assert await done.wait() == 0
            by_scp.append((time.perf_counter() - began) * 1000)
            taken = sync.snapshot.to_guest
            began = time.perf_counter()
            await asyncio.to_thread(clip.copy, data[:-1] + bytes([number]), "image/png")
            while sync.snapshot.to_guest == taken:
                await asyncio.sleep(0.001)
            by_clip.append((time.perf_counter() - began) * 1000)
        for number in range(5):
            changed = data[:-2] + bytes([number, 7])
            taken = sync.snapshot.to_host
            began = time.perf_counter()
            copying = asyncio.ensure_future(asyncio.to_thread(mac.copy, {"public.png": changed}))
            while sync.snapshot.to_host == taken:
                await asyncio.sleep(0.001)
            assert await asyncio.to_thread(clip.paste, "image/png") == changed
            back.append((time.perf_counter() - began) * 1000)
            await copying
    row("10 MB: scp", by_scp)
    row("10 MB picture: host to guest (Mac's stand-in)", by_clip)
    row("10 MB picture: guest to host (with the stand-in's own)", back)


def cpu_s(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def io_bytes(pids: list[int]) -> int:
    """What these have read and written, network and pipes alike: no less than what SSH carried."""
    told = [dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines()) for pid in pids]
    return sum(int(one["rchar"]) + int(one["wchar"]) for one in told)


async def idle(sshd: Sshd, display: str, syncs: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(syncs):
            await stack.enter_async_context(ours(sshd, display))
        await asyncio.sleep(2)
        clients = [pid for pid in descendants(os.getpid()) if name_of(pid) == "ssh"]
        here = [os.getpid(), *clients]
        before, bytes_before = cpu_s(here), io_bytes(clients)
        living, reaped = ours_below(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        await asyncio.sleep(IDLE_S)
        # One that came and went has been reaped by us, and had page faults.
        new = len(ours_below() - living) + (resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt > reaped)
        print(
            f"idle, {syncs} synced: host CPU {(cpu_s(here) - before) / IDLE_S * 100:.2f} %, "
            f"processes started {new}, at most {(io_bytes(clients) - bytes_before) / IDLE_S / syncs:.0f} B/s over each SSH",
            flush=True,
        )


def ours_below() -> set[int]:
    """What we started on the host's side: not the guests' sshd and all that is below it."""
    guests = {one for pid in descendants(os.getpid()) if name_of(pid) == "sshd" for one in [pid, *descendants(pid)]}
    return set(descendants(os.getpid())) - guests


async def files(sshd: Sshd, mac: Mac, display: str, root: Path) -> None:
    """A 40 MB file, and a folder of a thousand small ones, beside scp -r of the same."""
    big, many = root / "big file", root / "many files"
    big.write_bytes(os.urandom(40 << 20))
    many.mkdir()
    for number in range(1000):
        (many / f"{number}").write_bytes(os.urandom(2000))
    scp = [*scp_of(sshd), "-r"]
    given = Settings(files=root / "host-files")
    async with host_clipboard(Desktop("x11", display), forms=frozenset(ALL_FORMS)) as host:
        sync = Sync(sshd.ssh, host, given)
        running = asyncio.ensure_future(sync.run())
        while sync.snapshot.state is not SyncState.SYNCING:
            await asyncio.sleep(0.01)
        other = Clip(display)
        # Not a tie with what follows.
        while mac.items()[:1] != [{"public.utf8-plain-text": b"at the beginning"}]:
            await asyncio.sleep(0.01)
        for source in (big, many):
            by_scp, there, back = [], [], []
            for turn in range(3):
                began = time.perf_counter()
                subprocess.run([*scp, source, f"{sshd.target.user}@127.0.0.1:{root}/copied{turn}"], check=True)
                by_scp.append(time.perf_counter() - began)
                subprocess.run(["rm", "-rf", root / f"copied{turn}"], check=True)
                count = sync.snapshot.to_guest
                began = time.perf_counter()
                other.copy(uri_list([os.fsencode(source)]), "text/uri-list")
                while sync.snapshot.to_guest == count:
                    await asyncio.sleep(0.0005)
                there.append(time.perf_counter() - began)
                count = sync.snapshot.to_host
                mac.copy({"public.file-url": uri_list([os.fsencode(source)]).strip()})
                while sync.snapshot.to_host == count:
                    await asyncio.sleep(0.0005)
                began = time.perf_counter()
                await asyncio.to_thread(other.paste, "text/uri-list")
                back.append(time.perf_counter() - began)
            told = [f"{statistics.median(one) * 1000:.0f} ms" for one in (by_scp, there, back)]
            print(f"{source.name}: scp -r {told[0]}, host to guest {told[1]}, paste from guest {told[2]}", flush=True)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def growth(sshd: Sshd, mac: Mac, display: str, copies: int) -> None:
    """Copies the whole way, to the guest and back: resident memory and descriptors of each process on the way."""
    async with ours(sshd, display) as sync, host_clipboard(Desktop("x11", display)) as other:
        clients = [pid for pid in descendants(os.getpid()) if name_of(pid) in ("ssh", "node")]
        began = time.perf_counter()
        for number in range(copies + 1):
            text = f"copy {number}".encode()
            await other.write(text_of(text), 1 << 60)
            while mac.items()[:1] != [{"public.utf8-plain-text": text}]:
                await asyncio.sleep(0.0005)
            mac.copy({"public.utf8-plain-text": text + b"!"})
            while (held := sync._engine.holds(Side.HOST)) is None or held.text != text + b"!":
                await asyncio.sleep(0.0005)
            if number in (0, copies // 10, copies // 2, copies):
                told = [f"{name_of(pid)} {size_of(pid)}" for pid in (os.getpid(), *clients)]
                print(f"after {number} copies each way: {', '.join(told)}", flush=True)
        print(f"{copies} copies each way took {time.perf_counter() - began:.0f} s; counted {sync.snapshot}", flush=True)


def size_of(pid: int) -> str:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return f"{pages * 4 / 1024:.1f} MiB {len(os.listdir(f'/proc/{pid}/fd'))} fds"


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


async def main() -> None:
    copies = int(sys.argv[-1]) if len(sys.argv) > 1 else 60
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        here, there = stack.enter_context(x_server()), stack.enter_context(x_server())
        path = programs(root / "posix", "xclip", "mktemp", "timeout", "grep", "rm")
        Path(path, "python3").symlink_to(Path(sys.executable).resolve())
        for name in ("pbcopy", "pbpaste"):
            shutil.copy(TRIAL_BIN / name, path)
            Path(path, name).chmod(0o755)
        (root / "posix-ssh").mkdir()
        posix = Sshd(root / "posix-ssh", {"PATH": path, "DISPLAY": there})
        stack.callback(posix.close)
        mac_path = programs(root / "mac", "node")
        Path(mac_path, "osascript").write_text(f'#!/bin/sh\nexec node "{HERE}/mac.js" "$@"\n')
        Path(mac_path, "osascript").chmod(0o755)
        (root / "mac-ssh").mkdir()
        macs = Sshd(root / "mac-ssh", {"PATH": f"{mac_path}:/usr/bin", "MAC_PASTEBOARD": str(root / "board")})
        stack.callback(macs.close)
        mac = Mac(macs, root / "board")
        clip = Clip(here)
        Clip(there)

        if sys.argv[1:2] == ["--growth"]:
            await growth(macs, mac, here, copies)
            return
        print(f"{f'copy -> can paste, {copies} copies':52} {'p50 ms':>8} {'p95 ms':>8}")
        master = [
            *posix.ssh[:-2],
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={root}/%C",
            "-o",
            "ControlPersist=60",
        ]
        master += posix.ssh[-2:]
        subprocess.run([*master, "true"], check=True)
        for name, direction in (("host to guest", (here, there)), ("guest to host", (there, here))):
            with old_loop(master, here):
                async with Watch(direction[0]) as source, Watch(direction[1]) as target:
                    await asyncio.sleep(2)
                    row(f"old loop: {name}", await latencies(source, target, max(10, copies // 3), name))
            async with ours(posix, here), Watch(direction[0]) as source, Watch(direction[1]) as target:
                await asyncio.sleep(0.5)
                row(f"trial machine's kind: {name}", await latencies(source, target, copies, name))
        subprocess.run([*master[:-2], "-O", "exit", *master[-2:]], stderr=subprocess.DEVNULL)
        await mac_latencies(macs, mac, here, copies)
        await pictures(macs, mac, here, root, clip)
        await files(macs, mac, here, root)
        await idle(macs, here, 1)
        await idle(macs, here, 10)


if __name__ == "__main__":
    asyncio.run(main())
