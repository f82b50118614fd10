"""A real QEMU with a guest of one boot sector: it writes what is typed on the screen and to port 0xE9, and draws.

F1 shows 800×600 (32 bits a pixel, by the Bochs VBE registers), F2 1368×776 (a width that is no multiple of 16), F3 text
again (720×400); F4 fills 1.9 MB of the picture with noise that is new each time (all of 800×600, the upper half of 1368×776), F5 does
so until a key is pressed. Once it
listens it writes `R` to port 0xE9. In `as` syntax, shortened: mov $3,%ax; int $0x10; mov $'R',%al; out %al,$0xe9;
next: mov $0,%ah; int $0x16; cmp $0x3b00,%ax …; out %al,$0xe9; mov $0x0e,%ah; mov $7,%bx; int $0x10; jmp next.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from isolation import patient
from pommel import sockets

_BOOT = bytes.fromhex(
    "ea057c000031c08ed88ed0bc007cb80300cd10b052e6e9b400cd163d003b74263d003c74293d003d74153d003e745c3d"
    "003f744ce6e9b40ebb0700cd10ebd8b80300cd10ebd1bb2003b95802eb06bb5805b90803b8040031f6e86d00b8010089"
    "dee86500b8020089cee85d00b80300be2000e85400b80400be0100e84b00eb97e80d00b401cd1674f7eb8ce80200eb87"
    "8106d27c79378b16d27c31edb8050089ee52e824005ab800a08ec031ffb9008089d031f869c05562051936abe2f281c2"
    "01104583fd1e72d4c3bace01ef89f042efc301"
)

# Another one, for `-vga vmware`, whose adapter has a pointer of its own. It makes that 32×4 pixels with the hot spot at
# 5, 3: the pixel at n (0 to 127, row after row) is 0x030201 × n (24 bits of it), and transparent where `command` below has a bit. Each
# key makes the factor's red greater by 1. In `as` syntax, shortened (registers and commands: VMware's svga_reg.h):
#   mov $0x10,%al; call bar; and $~3,%al; mov %ax,ports        PCI 00:02.0, BAR0: a register's number, then its value
#   mov $0x18,%al; call bar; and $~15,%al; mov %eax,%ebp       BAR2: the FIFO, with %fs of 4 GiB (protected mode and back)
#   ID 0x90000002, WIDTH 640, HEIGHT 480, BITS_PER_PIXEL 32, ENABLE 1; fifo MIN 16, MAX 0x10000, NEXT_CMD, STOP 16;
#   CONFIG_DONE 1; mov $0x030201,%ebx
#   define: 12 words of command; xor %eax,%eax; 128 times: put %eax, add %ebx,%eax; NEXT_CMD; SYNC 1
#   mov $'R',%al; out %al,$0xe9; sti; mov $0,%ah; int $0x16; cli; add $0x010000,%ebx; jmp define
#   command: .long 19 (DEFINE_CURSOR), 0, 5, 3, 32, 4, 1, 32, 0xffffff0f, 0, 0x000000ff, 0xff00ff00
POINTER_BOOT = bytes.fromhex(
    "ea057c000031c08ed88ed0bc007cb010e8c60024fca3747db018e8bc0024f06689c5be287dac3cff740b660fb6c866ad"
    "e89500ebf0e8b600646766c7450010000000646766c745040000010067668d7d10e85b00b9140066b801000000e86800"
    "66bb01020300e88500be447db90c0066ade83100e2f96631c0b98000e826006601d8e2f8e82800b9150066b801000000"
    "e83500b052e6e9fbb400cd166681c300000100ebc164676689076683c704c36689f86629e86467668945086683f81075"
    "0664676689450cc366508b16747d6689c866ef42665866efc3baf80c660fb6c0660d0010008066efbafc0c66edc3fa66"
    "500f0116107d0f20c00c010f22c0ba08008ee224fe0f22c031d28ee26658c3900f00187d000066900000000000000000"
    "ffff00000092cf000002000090028002000003e001000007200000000101000000ff6690130000000000000005000000"
    "03000000200000000400000001000000200000000fffffff00000000ff00000000ff00ff0000"
)


class BareQemu:
    """One that runs. `vnc` and `qmp` are its sockets; what it tells is what happened since `forget`."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.vnc, self.qmp = folder / "vnc.sock", folder / "qmp.sock"
        self._process = process
        self._log, self._typed = folder / "log", folder / "typed"
        self._log_from = self._typed_from = 0

    def forget(self) -> None:
        """Begin anew to tell."""
        self._log_from = self._log.stat().st_size
        self._typed_from = self._typed.stat().st_size

    def typed(self) -> str:
        """What the guest has understood."""
        return self._typed.read_bytes()[self._typed_from :].decode("latin-1")

    def ready(self) -> bool:
        """Whether the guest listens."""
        return self._typed.exists() and self._typed.read_bytes().startswith(b"R")

    def input_log(self) -> list[str]:
        """What QEMU has handed to its input devices: "key shift +", "btn left -", "rel x 5" and so on."""
        text = self._log.read_bytes()[self._log_from :].decode(errors="replace")
        keys = r"input_event_key_qcode con -?\d+, key qcode (\w+), down (\d)"
        buttons = r"input_event_btn con -?\d+, button ([\w-]+), down (\d)"
        moves = r"input_event_(rel|abs) con -?\d+, axis (\w), value (\S+)"
        found = []
        for match in re.finditer(f"{keys}|{buttons}|{moves}", text):
            key, key_down, button, button_down, kind, axis, value = match.groups()
            if key:
                found.append(f"key {key} {'-+'[int(key_down)]}")
            elif button:
                found.append(f"btn {button} {'-+'[int(button_down)]}")
            else:
                found.append(f"{kind} {axis} {value}")
        return found

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def bare_qemu(*, paused: bool = False, boot: bytes = _BOOT, vga: str = "std") -> Iterator[BareQemu]:
    """Start one, wait until its guest listens (unless it is to stay paused), and kill it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="pm-"))
    (folder / "boot").write_bytes(boot.ljust(510, b"\0") + b"\x55\xaa")
    words = ["qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults", "-vga", vga, "-display", "none"]
    words += ["-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off"]
    words += ["-vnc", f"unix:{folder}/vnc.sock", "-debugcon", f"file:{folder}/typed", "-boot", "a"]
    words += ["-drive", f"file={folder}/boot,format=raw,if=floppy,snapshot=on", "-trace", "input_event_*"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*words, *(["-S"] if paused else [])], stdout=log, stderr=log)
    qemu = BareQemu(folder, process)
    try:
        _wait((lambda: sockets.listens(qemu.vnc)) if paused else qemu.ready)
        yield qemu
    finally:
        qemu.kill()
        shutil.rmtree(folder)


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + patient(30)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
