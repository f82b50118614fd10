"""Push and pull of an image beside scp of its disk, on this host's loopback, in turn, and what a one-file change costs.

python bench/images.py [--mib 500] [--rounds 3]

The disk is an ext4 file system with files of this host's /usr, so it packs as a system disk does. The registry is Debian's
docker-registry, the other side of scp OpenSSH's sshd; both write to the same file system. A pull goes into an empty home,
checks every byte and settles it on the disk; scp does neither. The time of `save`, which packs once, is told apart.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from app.image.conftest import make_machine, workspace_of  # noqa: E402
from app.image.registries import free_port, registry  # noqa: E402
from machine.bare import short_home  # noqa: E402
from pommel.app.image import registries, saving  # noqa: E402
from pommel.image.names import ImageName, parse_remote  # noqa: E402
from waits import wait_until  # noqa: E402


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def run(*words: object, **more: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, **more)  # type: ignore[call-overload]


def system_disk(folder: Path, mib: int) -> Path:
    """An ext4 of 2 GiB with `mib` MiB of /usr's files, as raw."""
    files, taken = folder / "files", 0
    for path in sorted(Path("/usr").rglob("*")):
        if taken > mib << 20:
            break
        if path.is_file() and not path.is_symlink():
            target = files / path.relative_to("/usr")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            taken += path.stat().st_size
    raw = folder / "raw"
    run("mke2fs", "-q", "-t", "ext4", "-d", files, raw, "2G")
    shutil.rmtree(files)
    return raw


class Sshd:
    """OpenSSH's sshd on the loopback, for this user and one key."""

    def __init__(self, folder: Path) -> None:
        self.port, self.key = free_port(), folder / "key"
        for name in ("host", "key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
        shutil.copyfile(folder / "key.pub", folder / "authorized")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            "StrictModes no\nUsePAM no\nSubsystem sftp internal-sftp\nPidFile none\nPermitRootLogin yes\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self.child = subprocess.Popen(
            [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"],
            stderr=subprocess.DEVNULL,
        )

    def scp(self, source: Path, target: Path) -> None:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        run("scp", "-q", *options, "-i", self.key, "-P", self.port, source, f"{getpass.getuser()}@127.0.0.1:{target}")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--mib", type=int, default=500)
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pommel-bench-"))
    sshd = Sshd(folder)
    try:
        with short_home() as home, registry(folder / "registry") as served:
            here = workspace_of(home)
            paths = make_machine(here)
            (paths.directory / "disk-data.qcow2").unlink()
            raw = system_disk(folder, given.mib)
            run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, paths.disk)
            size = paths.disk.stat().st_size
            save_s = timed(lambda: saving.save("m", ImageName("m", "1"), workspace=here))
            wait_until(lambda: _answers(sshd, folder), 30)
            scp, push, pull, sent = [], [], [], 0
            for turn in range(given.rounds):
                remote = parse_remote(f"oci://{served.host}/r{turn}:1")
                scp.append(timed(lambda: sshd.scp(paths.disk, folder / "copied")))
                shutil.rmtree(served.storage, ignore_errors=True)  # what one round sent is not there for the next
                began = time.monotonic()
                sent = registries.push(ImageName("m", "1"), remote, workspace=here)["sent_bytes"]
                push.append(time.monotonic() - began)
                with short_home() as empty:
                    there = workspace_of(empty)
                    pull.append(timed(lambda r=remote, t=there: registries.pull(r, unsigned=True, workspace=t)))
            remote = parse_remote(f"oci://{served.host}/r{given.rounds - 1}:1")
            (folder / "new").write_bytes(os.urandom(1 << 20))
            run("debugfs", "-w", "-R", f"write {folder / 'new'} changed", raw, stderr=subprocess.DEVNULL)
            run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, paths.disk)
            again_s = timed(lambda: saving.save("m", ImageName("m", "2"), workspace=here))
            changed = registries.push(ImageName("m", "2"), parse_remote(str(remote)[:-1] + "2"), workspace=here)[
                "sent_bytes"
            ]
            mid = {name: statistics.median(each) for name, each in (("scp", scp), ("push", push), ("pull", pull))}
            print(json.dumps({
                "disk_bytes": size, "image_bytes": sent, "save_s": save_s, "save_again_s": again_s,
                **{f"{name}_s": [round(each, 2) for each in all_] for name, all_ in (("scp", scp), ("push", push), ("pull", pull))},
                "push_speed_of_scp": round(mid["scp"] / mid["push"], 2), "pull_speed_of_scp": round(mid["scp"] / mid["pull"], 2),
                "one_file_bytes": changed, "one_file_share": round(changed / sent, 4),
            }, indent=1))  # fmt: skip
    finally:
        sshd.child.kill()
        sshd.child.wait()
        shutil.rmtree(folder)


def _answers(sshd: Sshd, folder: Path) -> bool:
    (folder / "probe").write_bytes(b"x")
    try:
        sshd.scp(folder / "probe", folder / "probed")
    except subprocess.CalledProcessError:
        return False
    return True


if __name__ == "__main__":
    main()
