from __future__ import annotations

from pommel.screen import rfb_requests as ask
from pommel.screen.actions import BACK, FORWARD
from pommel.screen.geometry import Rect


def test_the_bytes_are_those_of_the_rfc() -> None:
    assert ask.set_pixel_format().hex() == "000000002018000100ff00ff00ff100800000000"
    assert ask.set_encodings((0, -223)).hex() == "0200000200000000ffffff21"
    assert ask.update_request(Rect(1, 2, 640, 480), incremental=True).hex() == "030100010002028001e0"
    assert ask.update_request(Rect(0, 0, 1, 1), incremental=False).hex() == "03000000000000010001"
    assert ask.key_event(0xFF0D, True).hex() == "040100000000ff0d"
    assert ask.qemu_key_event(0x1E, 0x61, False).hex() == "ff000000000000610000001e"
    assert ask.pointer_event(300, 200, ask.LEFT | ask.WHEEL_UP).hex() == "0509012c00c8"
    assert ask.pointer_event(300, 200, ask.LEFT | BACK).hex() == "0501012c00c8"
    assert ask.pointer_event(300, 200, ask.LEFT | BACK | FORWARD, extended=True).hex() == "0581012c00c803"
    assert ask.movement_event(-1, 2, 0).hex() == "05007ffe8001"
    assert ask.movement_event(-99999, 99999, 0).hex() == "05000000ffff"


def test_everything_announced_is_understood() -> None:
    assert set(ask.ENCODINGS) == {0, 1, -223, -308, -239, -314, -257, -258, -261, -316}
