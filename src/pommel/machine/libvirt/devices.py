"""USB, network, sound, screen, serial port and other devices as elements. Band: core, no I/O."""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import SubElement

from pommel.machine.commandline import Argument
from pommel.machine.libvirt.draft import Draft, lacks, other_keys, refused
from pommel.machine.libvirt.slots import default_card_slot, driver_of, has_display_of_its_board
from pommel.machine.libvirt.storage import raw_device

_USB_CONTROLLERS = {
    "qemu-xhci": "qemu-xhci",
    "nec-usb-xhci": "nec-xhci",
    "usb-ehci": "ehci",
    "piix3-usb-uhci": "piix3-uhci",
    "ich9-usb-ehci1": "ich9-ehci1",
}
_INPUTS = {"usb-kbd": "keyboard", "usb-tablet": "tablet", "usb-mouse": "mouse"}
_VIDEO = {
    "vmware-svga": "vmvga",
    "VGA": "vga",
    "qxl-vga": "qxl",
    "virtio-vga": "virtio",
    "bochs-display": "bochs",
    "cirrus-vga": "cirrus",
}
_VGA_WORDS = {"std": "vga", "vmware": "vmvga", "qxl": "qxl", "virtio": "virtio", "cirrus": "cirrus"}
_SOUND = {"ich9-intel-hda": "ich9", "intel-hda": "ich6"}
_CODECS = {"hda-duplex": "duplex", "hda-micro": "micro", "hda-output": "output"}
_NICS = ("virtio-net-pci", "vmxnet3", "e1000", "e1000e", "e1000-82545em", "rtl8139", "ne2k_pci", "pcnet")
_MAC = "52:54:00:12:34:56"  # QEMU's for the first network card without one
_PLACED_BY_ITSELF = "QEMU gives it a PCI slot by itself; say it with -device"


def write_devices(draft: Draft) -> None:
    """Write all devices but disks; what has no element stays raw.

    Raises:
        UsageError: an argument with which no equal domain can be written.
    """
    for argument in list(draft.waiting("net", "nic", "virtfs")):
        if argument.value != "none":
            raise refused(argument, _PLACED_BY_ITSELF)
        draft.own(argument, "a domain has none unless an element asks for it")
    _usb(draft)
    _networks(draft)
    _sound(draft)
    _screen(draft)
    _serial(draft)
    _balloon(draft)
    _host_devices(draft)
    for device in list(draft.waiting("device")):
        draft.raw(device, f"libvirt has no element for {driver_of(device)}", raw_device(draft, device))


def _usb(draft: Draft) -> None:
    buses: dict[str, int] = {}
    for device in list(draft.waiting("device")):
        model = _USB_CONTROLLERS.get(driver_of(device))
        if model is None or other_keys(device, "id", "bus", "addr"):
            continue
        index = len(buses)
        buses[device.sub.get("id") or f"usb{index}"] = index
        element = SubElement(draft.devices, "controller", type="usb", index=str(index), model=model)
        draft.alias(element, device.sub.get("id"))
        draft.address(element, device)
        draft.element(device, f"controller[@type='usb'][@index='{index}']")
    if not buses:  # libvirt would add one
        SubElement(draft.devices, "controller", type="usb", index="0", model="none")
    _inputs(draft, buses)


def _inputs(draft: Draft, buses: dict[str, int]) -> None:
    ports: Counter[str] = Counter()
    for device in draft.line.find("device"):
        bus = (device.sub.get("bus") or "").rpartition(".")[0]
        if not driver_of(device).startswith("usb-") or bus not in buses:
            continue
        ports[bus] += 1  # QEMU gives ports in the order of the line (hw/usb/bus.c, usb_claim_port)
        kind = _INPUTS.get(driver_of(device))
        if kind is None or other_keys(device, "bus", "id", "port") or draft.is_claimed(device):
            continue
        element = SubElement(draft.devices, "input", type=kind, bus="usb")
        draft.alias(element, device.sub.get("id"))
        port = device.sub.get("port") or str(ports[bus])
        SubElement(element, "address", type="usb", bus=str(buses[bus]), port=port)
        draft.element(device, f"input[@type='{kind}']")


def _networks(draft: Draft) -> None:
    if slot := default_card_slot(draft.line):
        card = SubElement(draft.devices, "interface", type="user")
        SubElement(card, "mac", address=_MAC)
        SubElement(card, "model", type="e1000e")
        SubElement(card, "address", type="pci", domain="0x0000", bus="0x00", slot=slot, function="0x0")
    for device in list(draft.waiting("device")):
        if driver_of(device) not in _NICS:
            continue
        back = next((n for n in draft.waiting("netdev") if n.sub.get("id") == device.sub.get("netdev")), None)
        if back is None:
            continue
        kind = back.sub.head
        known = {"user": ("id",), "bridge": ("id", "br")}.get(kind or "")
        if known is None or (more := other_keys(back, *known)):
            why = f"libvirt has no such network as {kind}" if known is None else lacks(more)
            draft.raw(back, why)
            draft.raw(device, why, raw_device(draft, device))
            continue
        if more := other_keys(device, "netdev", "id", "mac", "bus", "addr"):
            draft.raw(back, lacks(more))
            draft.raw(device, lacks(more), raw_device(draft, device))
            continue
        element = SubElement(draft.devices, "interface", type=kind or "user")
        SubElement(element, "mac", address=device.sub.get("mac") or _MAC)
        if kind == "bridge":
            SubElement(element, "source", bridge=back.sub.get("br") or "br0")
        SubElement(element, "model", type=driver_of(device).removesuffix("-net-pci"))
        draft.alias(element, device.sub.get("id"))
        draft.address(element, device)
        draft.element(back, "interface")
        draft.element(device, "interface")


def _sound(draft: Draft) -> None:
    backs = {each.sub.get("id"): each for each in draft.waiting("audiodev")}
    cards = [each for each in draft.waiting("device") if driver_of(each) in _SOUND]
    codecs = [each for each in draft.waiting("device") if driver_of(each) in _CODECS]
    if len(cards) != 1 or len(codecs) != 1 or len(backs) != 1:
        return
    (card,), (codec,), (back,) = cards, codecs, backs.values()
    if other_keys(card, "id", "bus", "addr") or other_keys(codec, "id", "bus", "audiodev"):
        return
    if back.sub.head != "none" or other_keys(back, "id") or codec.sub.get("audiodev") != back.sub.get("id"):
        return
    SubElement(draft.devices, "audio", id="1", type="none")
    element = SubElement(draft.devices, "sound", model=_SOUND[driver_of(card)])
    SubElement(element, "codec", type=_CODECS[driver_of(codec)])
    SubElement(element, "audio", id="1")
    draft.alias(element, card.sub.get("id"))
    draft.address(element, card)
    draft.element(card, "sound")
    draft.element(codec, "sound/codec")
    draft.element(back, "audio")


def _screen(draft: Draft) -> None:
    _graphics(draft)
    asked = draft.line.find("vga")
    for argument in asked:
        draft.element(argument, "video")
    word = asked[-1].value if asked else None
    if word in _VGA_WORDS:
        _video(draft, _VGA_WORDS[word], asked[-1])
        return
    if word not in (None, "none"):
        raise refused(asked[-1], "libvirt has no such display")
    if has_display_of_its_board(draft.line):
        video = SubElement(draft.devices, "video")
        SubElement(video, "model", type="vga")
        SubElement(video, "address", type="pci", domain="0x0000", bus="0x00", slot="0x1", function="0x0")
        return
    first = next((each for each in draft.waiting("device") if driver_of(each) in _VIDEO), None)
    if first is None or other_keys(first, "id", "bus", "addr", "xres", "yres"):
        SubElement(SubElement(draft.devices, "video"), "model", type="none")
        return
    _video(draft, _VIDEO[driver_of(first)], first)
    draft.element(first, "video")


def _video(draft: Draft, model: str, argument: Argument) -> None:
    video = SubElement(draft.devices, "video")
    kind = SubElement(video, "model", type=model, heads="1", primary="yes")
    if argument.sub.get("xres") and argument.sub.get("yres"):
        SubElement(kind, "resolution", x=argument.sub.get("xres") or "", y=argument.sub.get("yres") or "")
    draft.alias(video, argument.sub.get("id"))
    draft.address(video, argument)


def _graphics(draft: Draft) -> None:
    for argument in list(draft.waiting("vnc")):
        if not (argument.sub.head or "").startswith("unix:"):
            draft.raw(argument, "its address is not a Unix socket")
            continue
        graphics = SubElement(draft.devices, "graphics", type="vnc")
        if policy := argument.sub.get("share"):
            graphics.set("sharePolicy", policy)
        SubElement(graphics, "listen", type="socket")
        more = other_keys(argument, "share")
        why = f"; {lacks(more)}" if more else ""
        draft.element(argument, "graphics", f"the socket is libvirt's own: virsh domdisplay{why}")


def _serial(draft: Draft) -> None:
    for argument in list(draft.waiting("serial")):
        name = (argument.value or "").removeprefix("chardev:")
        back = next((each for each in draft.waiting("chardev") if each.sub.get("id") == name), None)
        if back is None or back.sub.head != "file" or other_keys(back, "id", "path", "append"):
            continue
        serial = SubElement(draft.devices, "serial", type="file")
        append = "on" if back.sub.is_on("append") else "off"
        SubElement(serial, "source", path=back.sub.get("path") or "", append=append)
        target = SubElement(serial, "target", type="isa-serial", port="0")
        SubElement(target, "model", name="isa-serial")
        draft.element(back, "serial")
        draft.element(argument, "serial")
        return


def _balloon(draft: Draft) -> None:
    balloon = next((each for each in draft.waiting("device") if driver_of(each) == "virtio-balloon-pci"), None)
    known = {"deflate-on-oom": "autodeflate", "free-page-reporting": "freePageReporting"}
    if balloon is None or other_keys(balloon, "id", "bus", "addr", *known):
        SubElement(draft.devices, "memballoon", model="none")
        return
    element = SubElement(draft.devices, "memballoon", model="virtio")
    for key, attribute in known.items():
        if balloon.sub.has(key):
            element.set(attribute, "on" if balloon.sub.is_on(key) else "off")
    draft.alias(element, balloon.sub.get("id"))
    draft.address(element, balloon)
    draft.element(balloon, "memballoon")


def _host_devices(draft: Draft) -> None:
    for device in list(draft.waiting("device")):
        if driver_of(device) != "vfio-pci":
            continue
        host = device.sub.get("host") or ""
        domain, bus, rest = ("0000:" + host if host.count(":") == 1 else host).split(":") if host else ("", "", "")
        slot, _, function = rest.partition(".")
        if (
            other_keys(device, "host", "id", "bus", "addr", "multifunction")
            or not function
            or device not in draft.slots
        ):
            why = "libvirt has no attribute for all of it, and then does not raise the limit of locked memory"
            draft.raw(device, why, raw_device(draft, device))
            continue
        element = SubElement(draft.devices, "hostdev", mode="subsystem", type="pci", managed="no")
        source = SubElement(element, "source")
        place = {"domain": f"0x{domain}", "bus": f"0x{bus}", "slot": f"0x{slot}", "function": f"0x{function}"}
        SubElement(source, "address", place)
        draft.alias(element, device.sub.get("id"))
        draft.address(element, device)
        if device.sub.is_on("multifunction"):
            element[-1].set("multifunction", "on")
        draft.element(device, "hostdev")
