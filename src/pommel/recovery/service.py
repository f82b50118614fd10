"""The requests to Apple's recovery service, and the meaning of its replies. Band: core, no I/O.

    GET  /                                    -> Set-Cookie: session=...
    POST /InstallationPayload/RecoveryImage   -> KEY: value lines, seven of them required
    GET  the URLs in the reply                   with Cookie: AssetToken=...

Protocol as in acidanthera/OpenCorePkg, Utilities/macrecovery/macrecovery.py. Randomness and time are arguments.
A reply is not trusted: its URLs are checked here, and the files at them are checked with the chunklist.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from pommel.errors import RecoveryError
from pommel.recovery.catalog import Board

BASE_URL = "https://osrecovery.apple.com"
ASSET_HOSTS = frozenset({"oscdn.apple.com", "osrecovery.apple.com"})  # HOST or HOST:PORT
IMAGE_PATH = "/InstallationPayload/RecoveryImage"
REPLY_BYTES_MAX = 64 << 10
WAIT_MAX_S = 120.0

_AGENT = {"User-Agent": "InternetRecovery/1.0", "Accept-Encoding": "identity"}
_PLAIN = {"User-Agent": "Pommel", "Accept-Encoding": "identity"}
_REQUIRED = ("AP", "AU", "AH", "AT", "CU", "CH", "CT")
_SESSION = re.compile(r"session=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,512}\Z")  # cookie-octets, RFC 6265 4.1.1
_TOKEN = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,2048}\Z")
_PATH = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+\Z")  # no empty step, no dot in front, nothing escaped
_PRODUCT_PATH = re.compile(r"/content/downloads/[^/]+/[^/]+/([^/]+)/[^/]+/")
_MLB = re.compile(r"[0-9A-Z]{17}\Z")
_BOARD_ID = re.compile(r"Mac-(?:[0-9A-F]{8}|[0-9A-F]{16})\Z")


class BoardRefused(RecoveryError):
    """Apple has no image for this board; the next board of the version may have one."""


class HttpVerdict(Enum):
    """The action after an HTTP status."""

    TAKE = "read the body"
    RENEW = "get a new session or token, then ask again"
    WAIT = "wait, then ask again"
    REFUSED = "the board has no image"
    FAIL = "give up"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file on Apple's servers: its URL, its token, and the hash in the reply (which is not used for trust)."""

    url: str
    token: str
    hash: str

    @property
    def path(self) -> str:
        """The URL's path; it stays the same with another token, as long as it is the same file."""
        return urlsplit(self.url).path

    @property
    def file_name(self) -> str:
        """The last part of the path, such as "BaseSystem.dmg"."""
        return self.path.rpartition("/")[2]

    @property
    def expires(self) -> int | None:
        """When the token expires (seconds since 1970), or None if it does not say so."""
        found = re.search(r"(?:^|~)expires=(\d{1,12})(?:~|\Z)", self.token)
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class BoardReply:
    """Apple's reply to one board."""

    ap: str
    image: Asset
    chunklist: Asset

    @property
    def product(self) -> str:
        """The product's id, such as "062-58679": from the image's path, which is more stable than the reply's AP."""
        found = _PRODUCT_PATH.match(self.image.path)
        return found[1] if found else self.ap


def session_headers() -> dict[str, str]:
    """The headers of the request for a session."""
    return {**_AGENT, "Connection": "close"}


def ask_headers(session: str) -> dict[str, str]:
    """The headers of the POST; `session` as from `session_cookie`."""
    return {**_AGENT, "Connection": "close", "Cookie": session, "Content-Type": "text/plain"}


def asset_headers(token: str, first: int | None = None, last: int | None = None) -> dict[str, str]:
    """The headers that fetch an asset, whole or the bytes `first` to `last`, both counted. An empty token: none."""
    headers = {**_AGENT, "Cookie": f"AssetToken={token}"} if token else dict(_PLAIN)
    return headers if first is None else {**headers, "Range": f"bytes={first}-{last}"}


def request_body(board: Board, random_bytes: Callable[[int], bytes]) -> bytes:
    """The body of the POST. Random identifiers are sufficient, because Apple does not know this machine.

    Raises:
        RecoveryError: board id or serial has not the right form.
    """
    if not _BOARD_ID.match(board.board_id) or not _MLB.match(board.mlb):
        raise RecoveryError(f"{board.board_id!r} with serial {board.mlb!r} is not a board")
    fields = {
        "cid": random_bytes(8).hex().upper(),
        "sn": board.mlb,
        "bid": board.board_id,
        "k": random_bytes(32).hex().upper(),
        "fg": random_bytes(32).hex().upper(),
        "os": board.os,
    }
    return "\n".join(f"{key}={value}" for key, value in fields.items()).encode("ascii")


def session_cookie(set_cookies: Iterable[str]) -> str:
    """Find "session=..." among Set-Cookie headers, at any place.

    Raises:
        RecoveryError: there is none, or its value is not valid for a cookie.
    """
    for header in set_cookies:
        pair = header.split(";", 1)[0].strip()
        if _SESSION.match(pair):
            return pair
    raise RecoveryError("Apple's recovery service gave no session", hint="try again in a few minutes")


def parse_reply(body: bytes, hosts: frozenset[str] = ASSET_HOSTS) -> BoardReply:
    """Parse the reply to the POST; assets may only be on `hosts`.

    Raises:
        RecoveryError: a key is missing or has a value that cannot be used.
    """
    if len(body) > REPLY_BYTES_MAX:
        raise _odd(f"it is longer than {REPLY_BYTES_MAX} bytes")
    found = {}
    for line in body.decode("utf-8", errors="replace").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found[key.strip()] = value.strip()
    missing = [key for key in _REQUIRED if not found.get(key)]
    if missing:
        raise _odd(f"{', '.join(missing)} missing")
    for key in ("AT", "CT"):
        if not _TOKEN.match(found[key]):
            raise _odd(f"{key} is not a token")
    check_url(found["AU"], ".dmg", hosts)
    check_url(found["CU"], ".chunklist", hosts)
    return BoardReply(
        ap=found["AP"],
        image=Asset(found["AU"], found["AT"], found["AH"]),
        chunklist=Asset(found["CU"], found["CT"], found["CH"]),
    )


def check_url(url: str, suffix: str, hosts: frozenset[str]) -> None:
    """Check that `url` is plain HTTP(S) to one of `hosts` (HOST or HOST:PORT), with a simple path.

    Raises:
        RecoveryError: it is not.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _odd(f"{url!r} is not a URL") from None
    if parts.scheme not in ("http", "https") or parts.netloc.lower() not in hosts:
        raise _odd(f"{url!r} does not belong to Apple")
    if "?" in url or "#" in url or not _PATH.match(parts.path) or not parts.path.endswith(suffix):
        raise _odd(f"{url!r} is not the path of a {suffix} file")
    if parts.geturl() != url:
        raise _odd(f"{url!r} has an unusual form")


def after_post(status: int) -> HttpVerdict:
    """The action after the status of the session's GET or of the POST."""
    if status == 200:
        return HttpVerdict.TAKE
    if status == 401:
        return HttpVerdict.RENEW
    if status in (403, 404):
        return HttpVerdict.REFUSED
    return HttpVerdict.WAIT if status == 429 or status >= 500 else HttpVerdict.FAIL


def after_asset(status: int) -> HttpVerdict:
    """The action after the status of an asset's GET; the caller knows which of 200 and 206 is right."""
    if status in (200, 206):
        return HttpVerdict.TAKE
    if status in (401, 403, 404, 410, 416):
        return HttpVerdict.RENEW
    return HttpVerdict.WAIT if status == 429 or status >= 500 else HttpVerdict.FAIL


def retry_after_s(header: str | None, now: float) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, 10.2.3), at most `WAIT_MAX_S`; None if it has no valid value."""
    if header is None:
        return None
    header = header.strip()
    if re.fullmatch(r"[0-9]{1,9}", header):
        return min(float(header), WAIT_MAX_S)
    try:
        moment = email.utils.parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, moment - now), WAIT_MAX_S)


def back_off_s(attempt: int, chance: float) -> float:
    """Seconds to wait after failure number `attempt` (from 0); `chance`, 0 to 1, spreads many clients."""
    return float(min(30.0, 2.0 ** min(attempt, 10))) * (0.5 + chance / 2)


def _odd(why: str) -> RecoveryError:
    return RecoveryError(
        f"the recovery service's reply cannot be used: {why}",
        hint="check whether a proxy is between this host and Apple",
    )
