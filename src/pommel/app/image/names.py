"""Names of images as users type them. Band: app."""

from __future__ import annotations

from pommel.errors import UsageError
from pommel.image.names import ImageName, Remote, parse_name, parse_remote
from pommel.paths import check_name


def given(text: str) -> ImageName:
    """The image name in NAME[:TAG]. UsageError: it is not valid."""
    return parse_name(text)


def given_remote(text: str) -> Remote:
    """The place at a registry in oci://…. UsageError: it is not valid."""
    return parse_remote(text)


def given_machine(text: str, image: str | None) -> tuple[str, ImageName]:
    """The machine in MACHINE[:TAG], and the name for its image: `image`, or else the machine's name.

    Raises:
        UsageError: a name is not valid; or there is a tag and also `image`.
    """
    name, colon, tag = text.partition(":")
    check_name(name)
    if image is None:
        return name, parse_name(text)
    if colon:
        raise UsageError(f"{text} names the tag {tag}, and --as another image", hint="give the tag with --as alone")
    return name, parse_name(image)
