"""The servers for recovery images and installers, and the trusted keys. Band: core, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from pommel.recovery import service, software_catalog
from pommel.recovery.chunklist import APPLE, ChunklistKey


@dataclass(frozen=True, slots=True)
class Origin:
    """The servers, the allowed hosts of assets, and the trusted key. Only tests use another origin than Apple."""

    base_url: str = service.BASE_URL
    hosts: frozenset[str] = service.ASSET_HOSTS
    key: ChunklistKey = APPLE
    catalog_url: str = software_catalog.URL
    update_hosts: frozenset[str] = software_catalog.HOSTS
    update_scheme: str = "https"
