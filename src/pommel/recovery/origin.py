"""Who is asked for a recovery image, and whose signature counts. Band: core, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from pommel.recovery import service
from pommel.recovery.chunklist import APPLE, PublicKey


@dataclass(frozen=True, slots=True)
class Origin:
    """Who is asked, where assets may lie, and whose signature counts. Only tests have another than Apple."""

    base_url: str = service.BASE_URL
    hosts: frozenset[str] = service.ASSET_HOSTS
    key: PublicKey = APPLE
