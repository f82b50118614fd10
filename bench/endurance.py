"""Nothing is lost, whatever is killed: `kill -9` at random moments, and a look at all that is there after each.

    python bench/endurance.py [--kills 1000] [--seed S] [--seconds N] [--steps N] [--keep FOLDER]

Small machines with a real QEMU under TCG and disks of 8 MiB, driven by the real `pommel` commands: start, stop, sleep,
wake, snapshot save, load and delete (with memory and without), clone (linked and full), resize, compact, add, rename,
delete, adopt, golden, console. In each, one process is killed at a random moment: the command itself, at one of its
changes of files or after a random time; the command with its children; a child of it; QEMU; the console. And at times
the command after that.

After each kill: no process is left that is neither a machine's QEMU nor its console. `list`, `status` and `info` tell
what is there. After the next command: the machines, their snapshots and disks are those before the operation or those
after it; no file lies about that nothing names; `qemu-img check` finds no damage; every disk is of one moment, and all
disks and the NVRAM of a machine are of the same; the guest's memory fits its disk. What is told to be lost is printed
with the seed and the step that repeat it; then the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from endurance.walk import WALK_STEPS, walks


def main() -> int:
    """Kill, and tell what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None, help="of the first walk; the next has the next number")
    parser.add_argument("--seconds", type=float, default=None, help="end after so long, whatever was done")
    parser.add_argument("--steps", type=int, default=WALK_STEPS, help="of a walk")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the files that a loss left")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    tally = walks(
        seed,
        kills=args.kills,
        seconds=args.seconds,
        steps=args.steps,
        tell=lambda s: print(s, flush=True),
        keep=args.keep,
    )
    print(f"{tally.total} kills in {tally.steps} operations, {time.monotonic() - began:.0f} s")
    for kind, count in sorted(tally.kills.items()):
        print(f"  {kind:24} {count}")
    print("killed: " + ", ".join(f"{what} {count}" for what, count in sorted(tally.met.items())))
    if args.verbose:
        for text, count in tally.refused.most_common():
            print(f"  refused {count}: {text}")
    print(f"losses: {len(tally.losses)}")
    for loss in dict.fromkeys(tally.losses):
        print(f"  {loss}\n    again: python bench/endurance.py --seed {loss.split()[1]} --steps {loss.split()[3][:-1]}")
    return 1 if tally.losses else 0


if __name__ == "__main__":
    sys.exit(main())
