"""Rules for screen, sound and input: display, audio, monitor, serial port. Band: core, no I/O.

QEMU's text consoles are a risk: a VNC client can press Ctrl-Alt-2 and would then reach the monitor, which can run
programs on the host. So monitor, serial and parallel ports are all connected to something other than a text console.
"""

from __future__ import annotations

from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.suboptions import SubOptions, escape
from pommel.machine.upstream_files import unreadable

_SHOWN_ELSEWHERE = ("display", "vnc", "spice", "nographic", "sdl", "curses", "full-screen")
_SPICE_ONLY = ("spicevmc", "spiceport")
_CODECS = ("hda-duplex", "hda-micro", "hda-output", "usb-audio", "AC97", "ES1370", "sb16", "virtio-sound-pci")
_SERIAL = "serial-log"
_NO_CONSOLE = "users who see the screen cannot reach QEMU's text consoles"


def display(sheet: Sheet, given: RuleInput) -> Sheet:
    """Show the screen on one Unix socket; the display adapter is not changed."""
    for shown in sheet.line.find(*_SHOWN_ELSEWHERE):
        sheet = _shown(sheet, shown, given)
    sheet = sheet.add("-display", "none", "no window: the machine keeps running without the desktop")
    # share=ignore: a viewer that asks for exclusive access must not disconnect the console.
    # lock-key-sync=off: QEMU would derive the state of Caps Lock from the case of a letter's keysym, and press the key
    # in the guest to match (ui/vnc.c, do_key_event). We send physical keys; their keysyms do not show that state.
    value = f"unix:{escape(given.placement.vnc)},share=ignore,lock-key-sync=off"
    sheet = sheet.add("-vnc", value, "the screen, for the console and any number of viewers")
    return sheet if "spice" in given.spec.keep else _without_spice(sheet)


def _shown(sheet: Sheet, shown: Argument, given: RuleInput) -> Sheet:
    """Remove an option that shows the screen; a server in `keep` stays."""
    server = {"vnc": "vnc", "spice": "spice"}.get(shown.name)
    if shown.name == "display" and (shown.value or "").startswith("vnc="):
        server = "vnc"
    if server is not None and server in given.spec.keep:
        if shown.name != "display":
            return sheet
        return sheet.change(shown, (shown.value or "").removeprefix("vnc="), f"kept: {server}", option="-vnc")
    if server is None or shown.value in ("none", None):
        return sheet.remove(shown, "the screen is shown on Pommel's own socket")
    return taken_out(sheet, shown, server)


def _without_spice(sheet: Sheet) -> Sheet:
    for backend in sheet.line.find("chardev", where=lambda a: a.sub.head in _SPICE_ONLY):
        name = backend.sub.get("id")
        plugs = [a for a in sheet.line.find("device") if name is not None and a.sub.get("chardev") == name]
        sheet = sheet.remove_all([*plugs, backend], "part of SPICE, which is not used")
    return sheet


def audio(sheet: Sheet, given: RuleInput) -> Sheet:
    """Turn sound off: the machine must run longer than the desktop's sound server."""
    reason = "no dependency on a sound server"
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
        sheet = sheet.change(codec, value, "QEMU needs to know which sound backend a device uses")
    return sheet


def _silent(backend: SubOptions) -> SubOptions:
    """Replace the driver by `none`, without the driver's own settings."""
    kept = [pair for pair in backend.pairs if pair[0] in ("id", "model")]
    return SubOptions("none", tuple(kept))


def monitor(sheet: Sheet, given: RuleInput) -> Sheet:
    """Control QEMU over two QMP sockets instead of a terminal, and close other access."""
    sheet = _debuggers(sheet, given)
    reason = "QMP instead of a monitor on the terminal; " + _NO_CONSOLE
    for talk in sheet.line.find("monitor", where=_is_terminal):
        sheet = sheet.change(talk, "none", reason)
    for talk in sheet.line.find("monitor", where=is_open):
        if "monitor" not in given.spec.keep:
            sheet = taken_out(sheet, talk, "monitor", instead="none")
    for talk in sheet.line.find("qmp", "qmp-pretty", where=_is_terminal):
        sheet = sheet.remove(talk, "there is no terminal for it")
    for talk in sheet.line.find("qmp", "qmp-pretty", where=is_open):
        if "qmp" not in given.spec.keep:
            sheet = taken_out(sheet, talk, "qmp")
    sheet = _backends(sheet, given)
    if not sheet.line.find("monitor"):
        sheet = sheet.add("-monitor", "none", _NO_CONSOLE)
    place = given.placement
    sheet = sheet.add("-qmp", _socket(place.qmp), "orders: start, stop, snapshots, input")
    return sheet.add("-qmp", _socket(place.qmp_watch), "events, for long connections")


def _debuggers(sheet: Sheet, given: RuleInput) -> Sheet:
    """Remove the gdb stub, with which anybody who reaches it can read and write the guest's memory."""
    if "gdb" not in given.spec.keep:
        for stub in sheet.line.find("gdb", "s"):
            sheet = taken_out(sheet, stub, "gdb")
    for wait in sheet.line.find("incoming"):
        sheet = sheet.remove(wait, "a started machine runs at once, and does not wait for a migration")
    return sheet


def _backends(sheet: Sheet, given: RuleInput) -> Sheet:
    """Connect the character devices of terminals, and those that listen, to null, so that their users still work."""
    for backend in sheet.line.find("chardev", where=lambda a: a.sub.head in ("stdio", "vc") or is_open(a)):
        name = backend.sub.get("id")
        if name is None:
            raise unreadable(sheet.line, "a -chardev without an id", "id=…", "chardev")
        nothing = f"null,id={escape(name)}"
        if not is_open(backend):
            sheet = sheet.change(backend, nothing, "there is no terminal for it")
        elif (use := _use_of(sheet.line, name)) not in given.spec.keep:
            sheet = taken_out(sheet, backend, use, instead=nothing)
    return sheet


def _use_of(line: CommandLine, name: str) -> str:
    """The use of a character device, by the names of `keep`."""
    for talk in line.find("mon"):
        if talk.sub.get("chardev") == name or talk.sub.head == name:
            return "qmp" if talk.sub.get("mode") == "control" else "monitor"
    uses = {"monitor": "monitor", "qmp": "qmp", "qmp-pretty": "qmp", "gdb": "gdb"}
    users = line.find(*uses, where=lambda a: (a.value or "").partition(",")[0] == f"chardev:{name}")
    return uses[users[0].name] if users else "serial"


def is_open(talk: Argument) -> bool:
    """Whether others can reach QEMU through it: it listens on a port, or on a socket in a folder that is not ours.

    A connection to another process's socket (a helper such as virtiofsd or swtpm) is not open; but a monitor always is.
    """
    if talk.name == "chardev":
        return talk.sub.head == "udp" or (talk.sub.head == "socket" and talk.sub.is_on("server"))
    where = (talk.value or "").removeprefix("mon:")
    scheme = where.partition(":")[0]
    if scheme in ("tcp", "telnet", "websocket", "tn3270", "unix"):
        return talk.name in ("monitor", "qmp", "qmp-pretty") or SubOptions.parse(where).is_on("server")
    return scheme == "udp"


def _is_open_by(line: CommandLine, port: Argument) -> bool:
    """Whether a port is open itself, or through the character device that it names."""
    name = (port.value or "").removeprefix("chardev:")
    named = line.find("chardev", where=lambda a: a.sub.get("id") == name) if name != port.value else ()
    return is_open(port) or any(map(is_open, named))


def taken_out(sheet: Sheet, port: Argument, name: str, *, instead: str | None = None) -> Sheet:
    """Remove a port that others can reach, or replace it by `instead`; `keep` with `name` keeps it."""
    reason = f'others could connect to it; keep = ["{name}"] keeps it'
    if port.written:
        sheet = sheet.warn(f'{port.text} is removed, because others could connect to it; keep = ["{name}"] keeps it')
    return sheet.remove(port, reason) if instead is None else sheet.change(port, instead, reason)


def serial(sheet: Sheet, given: RuleInput) -> Sheet:
    """Write the output of the guest's first serial port to a log."""
    ports, kept = sheet.line.find("serial"), "serial" in given.spec.keep
    if not (ports and kept and _is_open_by(sheet.line, ports[0])):
        sheet = _logged(sheet, ports[0] if ports else None, given)
    else:
        sheet = sheet.warn(f"the machine's serial log stays empty: {ports[0].text} is kept")
    for port in ports[1:]:
        if _is_terminal(port):
            sheet = sheet.change(port, "null", "there is no terminal for output")
        elif is_open(port) and not kept:
            sheet = taken_out(sheet, port, "serial", instead="null")
    for port in sheet.line.find("parallel", "debugcon"):
        if _is_terminal(port):
            sheet = sheet.change(port, "none" if port.name == "parallel" else "null", _NO_CONSOLE)
        elif is_open(port) and not kept:
            sheet = taken_out(sheet, port, "serial", instead="null")
    if not sheet.line.find("parallel"):
        sheet = sheet.add("-parallel", "none", _NO_CONSOLE)
    return sheet


def _logged(sheet: Sheet, port: Argument | None, given: RuleInput) -> Sheet:
    # append=on: `-serial file:` would empty the log at each start, and after a rotation it would leave a hole in the
    # file.
    log = f"file,id={_SERIAL},path={escape(given.placement.serial_log)},append=on"
    reason = "the first serial port goes to the machine's log"
    backends = sheet.line.find("chardev", where=lambda a: a.sub.get("id") == _SERIAL)
    sheet = sheet.change(backends[0], log, reason) if backends else sheet.add("-chardev", log, reason)
    value = f"chardev:{_SERIAL}"
    if port is None:
        return sheet.add("-serial", value, reason)
    if port.written and is_open(port):
        sheet = sheet.warn(f'{port.text} goes to the machine\'s log instead; keep = ["serial"] keeps it')
    return sheet.change(port, value, reason)


def _is_terminal(talk: Argument) -> bool:
    where = (talk.value or "").removeprefix("mon:")
    return where in ("stdio", "-", "vc", "con:", "pty") or where.startswith("vc:")


def _socket(path: str) -> str:
    return f"unix:{escape(path)},server=on,wait=off"
