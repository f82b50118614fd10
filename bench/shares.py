"""Folders in a guest: Pommel's share beside QEMU's own smb= (quickemu's way), 9p and scp.

python bench/shares.py [ROUNDS] [MEGABYTES]

The trial machine, in a home of its own that is removed at the end; every way in turn in one boot. The guest drops its caches before it reads.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = 100
# In the guest, in a folder: writes, reads again after the caches are dropped, makes and lists small files.
WORK = """
import os, sys, time
folder, megabytes, small = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
block, name = os.urandom(1 << 20), folder + "/big"
def drop():
    os.sync()
    open("/proc/sys/vm/drop_caches", "w").write("3")
t = time.perf_counter()
with open(name, "wb") as file:
    for _ in range(megabytes):
        file.write(block)
    file.flush()
    os.fsync(file.fileno())
write = megabytes / (time.perf_counter() - t)
drop()
t = time.perf_counter()
with open(name, "rb", buffering=0) as file:
    while file.read(1 << 20):
        pass
read = megabytes / (time.perf_counter() - t)
os.mkdir(folder + "/small")
t = time.perf_counter()
for number in range(small):
    with open(f"{folder}/small/{number}", "w") as file:
        file.write("x" * 100)
create = small / (time.perf_counter() - t)
drop()
t = time.perf_counter()
for each in os.scandir(folder + "/small"):
    each.stat()
listed = time.perf_counter() - t
for number in range(small):
    os.remove(f"{folder}/small/{number}")
os.rmdir(folder + "/small")
os.remove(name)
print(write, read, create, listed)
"""
MOUNT = """
set -e
for card in /sys/class/net/e*; do
    [ "$(cat $card/address)" != 52:54:00:00:33:01 ] || second=${card##*/}
done
ip address add 10.0.33.15/24 dev $second 2>/dev/null || true
ip link set $second up
mkdir -p /mnt/q /mnt/p
mount -t cifs //10.0.33.4/qemu /mnt/q -o ip=10.0.33.4,username=guest,password=,nosharesock,soft
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 bench /mnt/p
"""


def main(rounds: int, megabytes: int) -> None:
    """Measure each way `rounds` times and print the medians."""
    with tempfile.TemporaryDirectory(prefix="pm-") as root:
        bench = Bench(Path(root))
        try:
            bench.begin()
            ways = {"Pommel's share (SMB)": "/mnt/work", "QEMU's smb= (SMB)": "/mnt/q", "9p, mapped-xattr": "/mnt/p"}
            found: dict[str, list[list[float]]] = {way: [] for way in (*ways, "pommel scp")}
            for number in range(rounds):
                for way, folder in ways.items():
                    found[way].append(bench.inside(folder, megabytes))
                    print(number, way, found[way][-1], file=sys.stderr)
                found["pommel scp"].append(bench.copied(megabytes))
            print(f"load {os.getloadavg()[0]:.1f}; {megabytes} MiB, {SMALL} small files, medians of {rounds} rounds")
            print("| way | write MiB/s | read MiB/s | small files made/s | list of them, s |\n|---|---|---|---|---|")
            for way, rows in found.items():
                print(
                    f"| {way} | "
                    + " | ".join(f"{statistics.median(each):.2f}" for each in zip(*rows, strict=True))
                    + " |"
                )
        finally:
            bench.pommel("stop", "trial", "--force", check=False)


class Bench:
    """A home with a trial machine that has all of the ways."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = os.environ | {"POMMEL_HOME": str(root / "home")}
        for name in ("home", "work", "qemu", "nine", "cwd"):
            (root / name).mkdir()
        shared = Path.home() / ".cache" / "pommel-tests" / "trial"  # a base image that the tests have built
        if shared.is_dir():
            (root / "home" / "trial").symlink_to(shared)
        words = [
            *("-netdev", f"user,id=second,net=10.0.33.0/24,smb={root / 'qemu'}"),
            *("-device", "virtio-net-pci,netdev=second,mac=52:54:00:00:33:01"),
            *("-fsdev", f"local,id=nine,path={root / 'nine'},security_model=mapped-xattr"),
            *("-device", "virtio-9p-pci,fsdev=nine,mount_tag=bench"),
        ]
        (root / "cwd" / "pommel.toml").write_text(
            f'[machine.trial]\nupstream = "trial"\nssh_user = "root"\nshares = ["{root / "work"}"]\nqemu_args = {json.dumps(words)}\n'
        )

    def pommel(self, *words: str, text: str = "", check: bool = True) -> str:
        """Run `pommel WORDS`."""
        line = [sys.executable, "-P", "-m", "pommel", *words]
        done = subprocess.run(
            line, env=self.env, cwd=self.root / "cwd", input=text, stdout=subprocess.PIPE, text=True, check=check
        )
        return done.stdout

    def begin(self) -> None:
        """Boot, and mount all of them."""
        self.pommel("up", "trial", "--headless", "--wait", "ssh", "--wait-timeout", "900")
        self.pommel("share", "trial", "--mount")
        self.pommel("ssh", "trial", "--", "sh", "-s", text=MOUNT)
        self.pommel("ssh", "trial", "--", "cat > work.py", text=WORK)

    def inside(self, folder: str, megabytes: int) -> list[float]:
        """What the guest gets of a folder."""
        told = self.pommel("ssh", "trial", "--", f"python3 work.py {folder} {megabytes} {SMALL}")
        return [float(word) for word in told.split()]

    def copied(self, megabytes: int) -> list[float]:
        """The same by scp: out of the guest is a write there, into it a read; each with its login."""
        big, small = self.root / "big", self.root / "small"
        big.write_bytes(os.urandom(megabytes << 20))
        small.mkdir(exist_ok=True)
        for number in range(SMALL):
            (small / str(number)).write_text("x" * 100)
        times = []
        for words in ((str(big), "trial:big"), ("trial:big", str(big)), ("-r", str(small), "trial:")):
            began = time.perf_counter()
            self.pommel("scp", *words)
            times.append(time.perf_counter() - began)
        return [megabytes / times[1], megabytes / times[0], SMALL / times[2], float("nan")]


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["3"])[0]), int((sys.argv[2:] or ["32"])[0]))
