"""Apple's catalogue of software updates: which full installers of macOS there are. Band: core, no I/O.

    catalogue      a property list, packed with gzip or not: products by id, each with packages and distributions
    distribution   XML with a script: the version, the build and the boards of one product (7 KB)

Only macOS 11 and later come as one InstallAssistant.pkg; earlier ones are left out. Facts: mist-cli,
installinstallmacos.py, gibMacOS. What the files say is a stranger's word: a URL counts only on Apple's hosts, is
asked for by HTTPS whatever it says, and a product with another one is left out.
"""

from __future__ import annotations

import contextlib
import datetime
import plistlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from pommel.errors import RecoveryError, UsageError
from pommel.recovery import catalog, service
from pommel.recovery.chunklist import TOTAL_BYTES_MAX

URL = (
    "https://swscan.apple.com/content/catalogs/others/index-26-15-14-13-12-10.16-10.15-10.14-10.13-10.12-10.11-10.10"
    "-10.9-mountainlion-lion-snowleopard-leopard.merged-1.sucatalog.gz"
)
HOSTS = frozenset({"swscan.apple.com", "swdist.apple.com", "swcdn.apple.com"})
CATALOG_BYTES_MAX = 32 << 20  # unpacked; Apple's have less than 10 MiB
DISTRIBUTION_BYTES_MAX = 1 << 20
PRODUCTS_MAX = 400
PACKAGE = "InstallAssistant.pkg"

_ID = re.compile(r"[0-9]{3}-[0-9]{5}(-[A-Z])?\Z")
_VALUE = r"</key>\s*<string>\s*([0-9A-Za-z.]{1,20})\s*</string>"
_VERSION_AT = re.compile(rf"<key>(?:VERSION|macOSProductVersion){_VALUE}")
_BUILD_AT = re.compile(rf"<key>(?:BUILD|macOSProductBuildVersion){_VALUE}")
_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}\Z")
_BUILD = re.compile(r"\d{2}[A-Z]\d{1,5}[a-z]?\Z")
_BOARDS_AT = re.compile(r"(?:supportedBoardIDs|boardI[dD]s)\s*=\s*\[")
_REFUSED_AT = re.compile(r"nonSupportedModels\s*=\s*\[")
_WORD = re.compile(r"""['"]([A-Za-z0-9,_-]{1,40})['"]""")
# The boards of the models that Pommel makes numbers for (acidanthera/OpenCorePkg, AppleModels).
BOARDS = {
    "MacBookPro15,1": "Mac-937A206F2EE63C01",
    "MacBookPro16,1": "Mac-E1008331FDC96864",
    "MacBookPro16,2": "Mac-5F9802EFE386AA28",
    "MacBookPro16,4": "Mac-A61BADE1FDAD7B05",
    "MacPro7,1": "Mac-27AD2F918AE68F61",
    "Macmini8,1": "Mac-7BA5B2DFE22DDD8C",
    "iMac18,3": "Mac-BE088AF8C5EB4FA2",
    "iMac19,1": "Mac-AA95B1DDAB278B95",
    "iMac20,1": "Mac-CFF7D910A743CAAF",
    "iMac20,2": "Mac-AF89B6D9451A490B",
    "iMacPro1,1": "Mac-7BA5B2D9E42DDD94",
}


@dataclass(frozen=True, slots=True)
class Product:
    """An installer as the catalogue has it: Apple's id, when it was published (ISO 8601), its files and size."""

    id: str
    posted: str
    distribution: str
    package: str
    integrity: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Details:
    """What a distribution says: version and build, the boards it is for (none said: all), and models it is not for."""

    version: str
    build: str
    boards: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()

    def suits(self, model: str) -> bool:
        """Whether it may be installed on a Mac of `model`, such as "iMac19,1", as far as Apple says it."""
        if model in self.refused:
            return False
        return not self.boards or BOARDS.get(model) in self.boards


@dataclass(frozen=True, slots=True)
class Installer:
    """An installer that Apple offers."""

    product: Product
    details: Details

    @property
    def name(self) -> str:
        """The macOS's name, such as "sonoma"; its version where it has none that Pommel knows."""
        return name_of(self.details.version)

    @property
    def order(self) -> tuple[tuple[int, ...], str]:
        """What the newest has the most of."""
        return numbers(self.details.version), self.product.posted


def parse_catalog(data: bytes, hosts: frozenset[str] = HOSTS, scheme: str = "https") -> tuple[Product, ...]:
    """Read a catalogue, packed or not; only installers in one package come back, the newest first.

    Raises:
        RecoveryError: it is no catalogue, or longer than allowed.
    """
    try:
        products = plistlib.loads(_unpacked(data), fmt=plistlib.FMT_XML)["Products"]
        found = list(_products(products, hosts, scheme))
    except (ExpatError, plistlib.InvalidFileException, zlib.error) as error:
        raise _odd(f"it cannot be read ({error})") from None
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise _odd("it does not list products") from None
    return tuple(sorted(found, key=lambda product: (product.posted, product.id), reverse=True)[:PRODUCTS_MAX])


def parse_distribution(data: bytes) -> Details:
    """Read a product's distribution.

    Raises:
        RecoveryError: it does not say which macOS it is.
    """
    if len(data) > DISTRIBUTION_BYTES_MAX:
        raise _odd("a distribution is longer than allowed")
    text = data.decode("utf-8", errors="replace")
    version, build = _VERSION_AT.search(text), _BUILD_AT.search(text)
    if not (version and build and _VERSION.match(version[1]) and _BUILD.match(build[1])):
        raise _odd("a distribution names no version or no build")
    return Details(version[1], build[1], _listed(_BOARDS_AT, text), _listed(_REFUSED_AT, text))


def choose(offered: Sequence[Installer], which: str, model: str | None = None) -> Installer:
    """The newest installer that `which` means: a name ("sonoma"), a number ("14", "14.7.1") or a build ("23H222").

    Raises:
        UsageError: it means no macOS, or `model` is unknown.
        RecoveryError: Apple offers none, or none for that model.
    """
    check_words(which, model)
    found = [each for each in offered if means(which, each.details.version, each.details.build)]
    if not found:
        raise RecoveryError(
            f"Apple offers no full installer of macOS {which}", hint="see which there are: pommel installer list"
        )
    suiting = [each for each in found if model is None or each.details.suits(model)]
    if not suiting:
        raise RecoveryError(
            f"no installer of macOS {which} is for a {model}", hint="choose another macOS, or another model"
        )
    return max(suiting, key=lambda each: each.order)


def check_words(which: str, model: str | None = None) -> None:
    """See that a person's words can mean an installer, before Apple is asked.

    Raises:
        UsageError: they cannot.
    """
    means(which, "0", "")
    if model is not None and model not in BOARDS:
        raise UsageError(f"the model {model!r} is unknown", hint=f"one of {', '.join(BOARDS)}")


def means(which: str, version: str, build: str) -> bool:
    """Whether a person means this macOS by `which`.

    Raises:
        UsageError: it is neither a version, a build nor the name of a macOS.
    """
    word = which.strip()
    if _BUILD.match(word.upper()) or _BUILD.match(word):
        return build.lower() == word.lower()
    if _VERSION.match(word):
        return version == word or version.startswith(f"{word}.")
    return catalog.find(word).covers(version)


def name_of(version: str) -> str:
    """The name of the macOS with this version; the version itself if the name is unknown."""
    return next((known.name for known in catalog.VERSIONS if known.covers(version)), version)


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, for comparison."""
    return tuple(int(word) for word in version.split("."))


def is_product(word: str) -> bool:
    """Whether `word` has the shape of Apple's product ids, such as "012-92138"."""
    return _ID.match(word) is not None


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        if len(data) > CATALOG_BYTES_MAX:
            raise _odd("it is longer than allowed")
        return data
    engine = zlib.decompressobj(wbits=31)
    made = engine.decompress(data, CATALOG_BYTES_MAX + 1)
    if len(made) > CATALOG_BYTES_MAX:
        raise _odd("it is longer than allowed")
    if not engine.eof:
        raise _odd("it is cut off")
    return made


def _products(products: dict[str, Any], hosts: frozenset[str], scheme: str) -> Iterator[Product]:
    for key, product in products.items():
        with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
            if is_product(key) and product["ExtendedMetaInfo"]["InstallAssistantPackageIdentifiers"]:
                yield _product(key, product, hosts, scheme)


def _product(key: str, product: dict[str, Any], hosts: frozenset[str], scheme: str) -> Product:
    """One product. LookupError, TypeError, ValueError, AttributeError: it is none that can be used."""
    (package,) = [each for each in product["Packages"] if each["URL"].endswith(f"/{PACKAGE}")]
    posted, size = product["PostDate"], package["Size"]
    if not isinstance(posted, datetime.datetime) or not isinstance(size, int) or not 0 < size <= TOTAL_BYTES_MAX:
        raise ValueError
    languages = product["Distributions"]
    return Product(
        id=key,
        posted=posted.isoformat(),
        distribution=_url(languages.get("English") or languages["en"], ".dist", hosts, scheme),
        package=_url(package["URL"], f"/{PACKAGE}", hosts, scheme),
        integrity=_url(package["IntegrityDataURL"], ".integrityDataV1", hosts, scheme),
        size_bytes=size,
    )


def _url(url: str, suffix: str, hosts: frozenset[str], scheme: str) -> str:
    """`url` by `scheme`. ValueError: it does not lie on one of `hosts`, or its path has tricks."""
    try:
        service.check_url(url, suffix, hosts)
    except RecoveryError as error:
        raise ValueError(error.message) from None
    parts = urlsplit(url)
    return f"{scheme}://{parts.netloc}{parts.path}"


def _listed(where: re.Pattern[str], text: str) -> frozenset[str]:
    """The words of the first array of the script that is called so; empty: there is none."""
    found = where.search(text)
    if found is None:
        return frozenset()
    end = text.find("]", found.end())
    return frozenset(_words(text[found.end() : end])) if end >= 0 else frozenset()


def _words(text: str) -> Iterable[str]:
    return _WORD.findall(text)


def _odd(why: str) -> RecoveryError:
    return RecoveryError(
        f"Apple's software catalogue cannot be used: {why}",
        hint="check whether a proxy is between this host and Apple",
    )
