"""Push images to registries, and pull them from registries. Band: app.

Pieces are checked before they are sent. A pulled image is checked before it is used: first its signature, then each
piece by its SHA-256. An image of a Mac is only pushed to a registry that others can reach if the user confirms Apple's
licence.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import account, proxies
from pommel.app.image.files import admit, refuse_other
from pommel.app.image.places import OpenedImage, opened, plainly, store_of
from pommel.app.image.signing import judge
from pommel.app.workspace import Workspace
from pommel.errors import ImageError, StateError, UsageError
from pommel.image import credentials, keyring, licence, manifest, transfer
from pommel.image.layout import ManifestEntry
from pommel.image.manifest import Blob
from pommel.image.names import ImageName, Remote
from pommel.image.registry import Registry, open_http
from pommel.image.store import ImageStore
from pommel.machine import disk
from pommel.progress import Progress, Report, ignore


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How a registry is reached: `ca` is a file of certificates to trust; `plain_http` uses HTTP without TLS."""

    ca: Path | None = None
    plain_http: bool = False


def push(
    image: ImageName,
    remote: Remote,
    *,
    way: RegistryAccess | None = None,
    may_distribute: bool = False,
    dry_run: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> dict[str, Any]:
    """Send `image`, with its signature, to `remote`. Pieces that the registry has already are not sent.

    With `may_distribute`, the user confirms that Apple's licence allows them to give this Mac's image to everybody who
    can reach the registry. With `dry_run`, nothing is sent.

    Raises:
        UsageError: `remote` is a digest; or a Mac's image would go to a public registry without `may_distribute`.
        StateError: there is no such image.
        ImageError: the registry cannot be used, or a piece has changed here.
    """
    workspace = workspace or Workspace.current()
    if remote.tag is None:
        raise UsageError(f"{remote} is a digest, and an image is pushed to a tag", hint="write oci://HOST/NAME:TAG")
    store = store_of(workspace)
    with plainly(store), store.in_use():
        found = opened(store, image)
        if found.machine.is_mac and not may_distribute:
            _refuse_public(workspace, remote, found)
        lacking = asyncio.run(_push(workspace, store, found, remote, way or RegistryAccess(), dry_run, report))
    sent = sum(blob.size for blob in lacking)
    told = {**found.as_dict(), "registry_image": str(remote), "sent_blobs": len(lacking), "sent_bytes": sent}
    return {**told, "dry_run": True} if dry_run else told


def pull(
    remote: Remote,
    image: ImageName | None = None,
    *,
    way: RegistryAccess | None = None,
    unsigned: bool = False,
    force: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> tuple[OpenedImage, int]:
    """Fetch the image at `remote` as `image` (default: the last part of its name, and its tag).

    Return it and the bytes. Pieces that are here already are not fetched, so an interrupted pull continues where it
    stopped.

    Raises:
        StateError: there is no such image there; or another image here has the name, without `force`.
        ImageError: it is not an image of a machine, has no trusted signature, or a piece is damaged; or there is too
            little room.
        BusyError: another process has been fetching it for 15 minutes.
    """
    workspace, called = workspace or Workspace.current(), image or remote.local_name
    workspace.mark()
    store = store_of(workspace)
    with plainly(store), store.alone_at(str(called)), store.in_use():
        return asyncio.run(_pull(workspace, store, remote, called, way or RegistryAccess(), unsigned, force, report))


async def _push(
    workspace: Workspace,
    store: ImageStore,
    found: OpenedImage,
    remote: Remote,
    way: RegistryAccess,
    dry_run: bool,
    report: Report,
) -> list[Blob]:
    async with open_http(transfer.CONNECTIONS, _tls(workspace, remote, way)) as http:
        registry = _registry(http, workspace, remote, way, writes=True)
        blobs = found.manifest.blobs
        lacking = await transfer.missing(registry, remote.reference, blobs, report=report)
        if not dry_run:
            await transfer.send(registry, store, lacking, report=report)
            await transfer.name(registry, store, found.manifest, remote.reference)
    return lacking


async def _pull(
    workspace: Workspace,
    store: ImageStore,
    remote: Remote,
    called: ImageName,
    way: RegistryAccess,
    unsigned: bool,
    force: bool,
    report: Report,
) -> tuple[OpenedImage, int]:
    async with open_http(transfer.CONNECTIONS, _tls(workspace, remote, way)) as http:
        registry = _registry(http, workspace, remote, way)
        data = await registry.manifest(remote.reference)
        if data is None:
            raise StateError(f"there is no image {remote}")
        try:
            found = manifest.parse(data)
        except ValueError as wrong:
            raise ImageError(f"{remote} cannot be used: {wrong}") from wrong
        refuse_other(store, str(called), found.blob, force=force)
        text = await transfer.signature_of(registry, found.blob)
        trusted = keyring.trusted(store.root)
        signer = judge(str(remote), data, text, trusted, unsigned=unsigned, report=report)
        # If the image is here already, all its pieces are hashed again, so that a second pull repairs a damaged one.
        sure = store.sure() if store.find(str(called)) is None else set()
        lacking = await asyncio.to_thread(lambda: [blob for blob in found.blobs if not store.has(blob, sure)])
        disk.check_room(store.root, sum(blob.size for blob in lacking))
        came = await transfer.fetch(registry, store, lacking, report=report)
    report(Progress("settle", "writing it to the disk"))
    store.add(data, found.blob)
    entry = ManifestEntry(str(called), found.blob, str(remote))
    made = admit(store, OpenedImage(entry, found, store.machine(entry, found)), text, signer, force=force)
    report(Progress("settle", finished=True))
    return made, came


def _registry(
    http: Any, workspace: Workspace, remote: Remote, way: RegistryAccess, *, writes: bool = False
) -> Registry:
    login = credentials.find(remote.host, remote.repository, workspace.env)
    return Registry(http, remote, login=login, plain=_is_plain(remote, way), writes=writes)


def _is_plain(remote: Remote, way: RegistryAccess) -> bool:
    """Whether to use HTTP without TLS: with `plain_http`, and for a registry on this host unless `ca` is given."""
    return way.plain_http or (way.ca is None and licence.is_loopback(remote.hostname))


def _tls(workspace: Workspace, remote: Remote, way: RegistryAccess) -> ssl.SSLContext | None:
    """The TLS context: it trusts the system's certificates, those of `ca`, and podman's and docker's for the registry.

    Raises:
        UsageError: a file has no certificate.
    """
    if _is_plain(remote, way):
        return None
    context = ssl.create_default_context()
    home = workspace.env.get("HOME", "")
    folders = [Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")]
    folders += [Path(home, ".config", "containers", "certs.d")] if home else []
    named = [account.expand(way.ca)] if way.ca is not None else []
    for path in [*named, *(each for folder in folders for each in sorted((folder / remote.host).glob("*.crt")))]:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as failure:
            raise UsageError(f"{path} has no certificate that can be used: {failure}") from failure
    return context


def _refuse_public(workspace: Workspace, remote: Remote, found: OpenedImage) -> None:
    """Refuse to push the image of a Mac to a registry that others can reach.

    Raises:
        UsageError: the registry is not in a private network.
    """
    if licence.is_private(_addresses(workspace, remote)):
        return
    raise UsageError(
        f"{found.entry.name} is the image of a Mac, and {remote.host} is not in a private network: {licence.WORDS}",
        hint="push it to a registry in your own network; if you may give it to everybody who can reach that one: "
        "--may-distribute",
    )


def _addresses(workspace: Workspace, remote: Remote) -> set[str]:
    """The addresses of a registry; empty if a proxy is used, because only the proxy resolves the name."""
    if proxies.proxy_for(f"https://{remote.host}/", workspace.env) is not None:
        return set()
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(remote.hostname, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()
