"""The names of a copy's forms on Linux desktops: X11 targets and Wayland MIME types. Band: core, no I/O.

Both use the same names; X11 also has a few older ones (ICCCM 2.6.2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from pommel.clipboard import compound_text
from pommel.clipboard.content import AVIF, BMP, GIF, HTML, JPEG, PNG, RTF, TEXT, TIFF, URIS, WEBP, Content
from pommel.clipboard.uris import from_gnome, to_gnome

# From KDE; password managers use it on every desktop. Its value is "secret".
SECRET_HINT = "x-kde-passwordManagerHint"  # noqa: S105
FILES = "x-special/gnome-copied-files"
# From KDE, in addition to text/uri-list: "1" for files that were cut.
CUT = "application/x-kde-cutselection"

# Form -> its names, the best first.
NAMES: dict[str, tuple[str, ...]] = {
    TEXT: ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain;charset=UTF-8", "STRING", "text/plain"),
    HTML: ("text/html",),
    RTF: ("text/rtf", "application/rtf"),
    PNG: ("image/png",),
    TIFF: ("image/tiff",),
    JPEG: ("image/jpeg", "image/jpg"),
    WEBP: ("image/webp",),
    AVIF: ("image/avif",),
    BMP: ("image/bmp", "image/x-bmp", "image/x-MS-bmp"),
    GIF: ("image/gif",),
    # The file managers' own form comes first, because it also says whether the files were cut.
    URIS: (FILES, "text/uri-list"),
}
_COMPOUND = "COMPOUND_TEXT"
# Names to ask for text, the best first: COMPOUND_TEXT before STRING, which is Latin-1 and may have lost characters. The
# answer to TEXT names its own encoding.
TEXTS = (*NAMES[TEXT][:3], _COMPOUND, *NAMES[TEXT][3:], "TEXT")
_BY_ITS_TYPE = frozenset(("STRING", "TEXT", _COMPOUND))
KNOWN = (*(name for names in NAMES.values() for name in names), _COMPOUND, "TEXT", CUT, SECRET_HINT)
_PICTURES = (PNG, TIFF, WEBP, AVIF, JPEG, BMP, GIF)  # the best first
# Targets that are no forms of a copy: general ones, and commands to the owner (ICCCM 2.6.2, 2.6.3).
_NO_KIND = frozenset(
    ("TARGETS", "TIMESTAMP", "MULTIPLE", "SAVE_TARGETS", "DELETE", "INSERT_SELECTION", "INSERT_PROPERTY")
)


def chosen(offered: Collection[str], forms: Collection[str]) -> list[tuple[str, str]]:
    """The (form, name) pairs to ask for, in the order of NAMES.

    A picture only if there is no text, because office programs offer a picture of every selection. If there are files,
    only the files.
    """
    names_of = {**NAMES, TEXT: TEXTS}
    found = {
        form: next(name for name in names if name in offered)
        for form, names in names_of.items()
        if form in forms and any(name in offered for name in names)
    }
    if URIS in found:
        return [(URIS, found[URIS])]
    for picture in [form for form in _PICTURES if form in found][0 if TEXT in found else 1 :]:
        del found[picture]
    return list(found.items())


def kinds(names: Iterable[str]) -> list[str]:
    """The names that are forms of a copy."""
    return [name for name in names if name not in _NO_KIND]


def received(name: str, data: bytes, kind: str = "") -> bytes:
    """Convert the data of target `name`, with the owner's type `kind`, to the form's bytes.

    Raises:
        UnknownCharset: it is compound text with characters of an unsupported set.
    """
    if name in _BY_ITS_TYPE:
        name = kind if kind in (*_BY_ITS_TYPE, "UTF8_STRING") and kind != "TEXT" else name
        # Some owners end their old text with a NUL, like a C string.
        data = data.rstrip(b"\0")
    if name == _COMPOUND:
        return compound_text.decoded(data).encode()
    if name == "STRING":
        return data.decode("latin-1").encode()
    if name == FILES:
        return from_gnome(data)
    return data


Offer = Callable[[], bytes]


def offers(content: Content) -> dict[str, Offer]:
    """The names under which a copy is offered, with functions that make the bytes on request."""
    made: dict[str, Offer] = {}
    for form, data in content.forms:
        for name in _names(form, data):
            made[name] = _offer(name, data)
    return made


def _names(form: str, data: bytes) -> Iterable[str]:
    if form != TEXT:
        return NAMES[form]
    try:
        data.decode().encode("latin-1")
    except UnicodeEncodeError:
        return (*(name for name in NAMES[TEXT] if name != "STRING"), "TEXT")
    return (*NAMES[TEXT], "TEXT")


def _offer(name: str, data: bytes) -> Offer:
    if name == "STRING":
        return lambda: data.decode().encode("latin-1")
    if name == FILES:
        return lambda: to_gnome(data)
    return lambda: data
