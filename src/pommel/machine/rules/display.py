"""Rules for what is seen, heard and typed: display, audio, monitor, serial port. Band: core, no I/O.

QEMU's text consoles matter here: whoever is on VNC may press Ctrl-Alt-2, and would stand before the monitor, which
can run programs on the host. So monitor, serial and parallel ports all go somewhere that is no text console.
"""

from __future__ import annotations

from pommel.machine.commandline import Argument
from pommel.machine.rules.sheet import Given, Sheet
from pommel.machine.suboptions import SubOptions, escape
from pommel.machine.upstream_files import unreadable

_SHOWN_ELSEWHERE = ("display", "vnc", "spice", "nographic", "sdl", "curses", "full-screen")
_SPICE_ONLY = ("spicevmc", "spiceport")
_CODECS = ("hda-duplex", "hda-micro", "hda-output", "usb-audio", "AC97", "ES1370", "sb16", "virtio-sound-pci")
_SERIAL = "serial-log"
_NO_CONSOLE = "keeps QEMU's text consoles out of reach of whoever sees the screen"


def display(sheet: Sheet, given: Given) -> Sheet:
    """Show the screen on one Unix socket; the graphics card stays."""
    found = sheet.line.find(*_SHOWN_ELSEWHERE)
    sheet = sheet.remove_all(found, "the screen is shown on Pommel's own socket")
    sheet = sheet.add("-display", "none", "no window: the machine outlives the desktop")
    # share=ignore: a viewer that asks for the screen alone must not throw the console out.
    # lock-key-sync=off: QEMU would take the case of a letter's keysym for the state of Caps Lock, and press it
    # in the guest to match (ui/vnc.c, do_key_event). We send physical keys; their keysyms say nothing of the sort.
    value = f"unix:{escape(given.placement.vnc)},share=ignore,lock-key-sync=off"
    sheet = sheet.add("-vnc", value, "the screen, for the console and any number of viewers")
    return _without_spice(sheet)


def _without_spice(sheet: Sheet) -> Sheet:
    for backend in sheet.line.find("chardev", where=lambda a: a.sub.head in _SPICE_ONLY):
        name = backend.sub.get("id")
        plugs = [a for a in sheet.line.find("device") if name is not None and a.sub.get("chardev") == name]
        sheet = sheet.remove_all([*plugs, backend], "belongs to SPICE, which is not used")
    return sheet


def audio(sheet: Sheet, given: Given) -> Sheet:
    """Let sound go nowhere: the machine outlives the desktop's sound server."""
    reason = "no sound server to depend on"
    for short in sheet.line.find("audio"):
        sheet = sheet.change(short, _silent(short.sub), reason)
    for backend in sheet.line.find("audiodev"):
        sheet = sheet.change(backend, _silent(backend.sub), reason)
    backends = [name for a in sheet.line.find("audiodev") if (name := a.sub.get("id"))]
    mute = sheet.line.find("device", where=lambda a: a.sub.head in _CODECS and not a.sub.has("audiodev"))
    if not mute:
        return sheet
    if not backends:
        backends = ["audio0"]
        sheet = sheet.add("-audiodev", "none,id=audio0", reason)
    for codec in mute:
        value = codec.sub.with_value("audiodev", backends[0])
        sheet = sheet.change(codec, value, "QEMU wants to be told which sound backend a device uses")
    return sheet


def _silent(backend: SubOptions) -> SubOptions:
    """Swap the driver for `none`; a driver's own settings go with it."""
    kept = [pair for pair in backend.pairs if pair[0] in ("id", "model")]
    return SubOptions("none", tuple(kept))


def monitor(sheet: Sheet, given: Given) -> Sheet:
    """Talk to QEMU over two QMP sockets instead of a terminal."""
    reason = "QMP instead of a monitor on the terminal; " + _NO_CONSOLE
    for talk in sheet.line.find("monitor", where=_is_terminal):
        sheet = sheet.change(talk, "none", reason)
    for talk in sheet.line.find("qmp", "qmp-pretty", where=_is_terminal):
        sheet = sheet.remove(talk, "there is no terminal to talk on")
    for backend in sheet.line.find("chardev", where=lambda a: a.sub.head in ("stdio", "vc")):
        name = backend.sub.get("id")
        if name is None:
            raise unreadable(sheet.line, "a -chardev without an id", "id=…", "chardev")
        sheet = sheet.change(backend, f"null,id={escape(name)}", "there is no terminal to talk on")
    if not sheet.line.find("monitor"):
        sheet = sheet.add("-monitor", "none", _NO_CONSOLE)
    place = given.placement
    sheet = sheet.add("-qmp", _socket(place.qmp), "orders: start, stop, snapshots, input")
    return sheet.add("-qmp", _socket(place.qmp_watch), "events, for whoever watches for long")


def serial(sheet: Sheet, given: Given) -> Sheet:
    """Keep what the guest writes to its first serial port."""
    # append=on: `-serial file:` would empty the log at each start, and write on past a hole once it is turned over.
    log = f"file,id={_SERIAL},path={escape(given.placement.serial_log)},append=on"
    reason = "the first serial port goes to the machine's log"
    backends = sheet.line.find("chardev", where=lambda a: a.sub.get("id") == _SERIAL)
    sheet = sheet.change(backends[0], log, reason) if backends else sheet.add("-chardev", log, reason)
    ports = sheet.line.find("serial")
    value = f"chardev:{_SERIAL}"
    sheet = sheet.change(ports[0], value, reason) if ports else sheet.add("-serial", value, reason)
    for port in ports[1:]:
        if _is_terminal(port):
            sheet = sheet.change(port, "null", "there is no terminal to write to")
    for port in sheet.line.find("parallel", where=_is_terminal):
        sheet = sheet.change(port, "none", _NO_CONSOLE)
    if not sheet.line.find("parallel"):
        sheet = sheet.add("-parallel", "none", _NO_CONSOLE)
    return sheet


def _is_terminal(talk: Argument) -> bool:
    where = (talk.value or "").removeprefix("mon:")
    return where in ("stdio", "-", "vc", "con:", "pty") or where.startswith("vc:")


def _socket(path: str) -> str:
    return f"unix:{escape(path)},server=on,wait=off"
