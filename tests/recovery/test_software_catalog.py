"""Apple's catalogue of software updates and the distributions in it, and which installer a person means."""

from __future__ import annotations

import gzip
import plistlib
from pathlib import Path
from typing import Any

import pytest

from pommel.app.upstream import installers
from pommel.app.workspace import Workspace
from pommel.errors import RecoveryError, UsageError
from pommel.paths import Home
from pommel.recovery import software_catalog
from pommel.recovery.software_catalog import Details, Installer, Product, choose, parse_catalog, parse_distribution

from .updates import OFFERS, POSTED, FakeUpdates, Offer, distribution

HOST = "http://swcdn.apple.com/content/downloads/25/16/012-92138"


def product(**more: Any) -> dict[str, Any]:
    package = {"URL": f"{HOST}/InstallAssistant.pkg", "Size": 12, "IntegrityDataURL": f"{HOST}/I.pkg.integrityDataV1"}
    return {
        "PostDate": POSTED,
        "ExtendedMetaInfo": {"InstallAssistantPackageIdentifiers": {"OSInstall": "com.apple.mpkg.OSInstall"}},
        "Distributions": {"English": f"{HOST}/012-92138.English.dist"},
        "Packages": [package | more.pop("package", {})],
    } | more


def catalog(**products: Any) -> bytes:
    return plistlib.dumps({"Products": {name.strip("p").replace("_", "-"): value for name, value in products.items()}})


def test_whole_installers_come_back_by_https_whatever_the_catalogue_says() -> None:
    data = catalog(p012_92138=product(), p012_00001={"Packages": [{"URL": f"{HOST}/Safari.pkg"}]})
    (found,) = parse_catalog(data)
    assert parse_catalog(gzip.compress(data)) == (found,)
    at = HOST.replace("http:", "https:")
    assert found == Product(
        id="012-92138",
        posted="2026-09-01T17:00:00",
        distribution=f"{at}/012-92138.English.dist",
        package=f"{at}/InstallAssistant.pkg",
        integrity=f"{at}/I.pkg.integrityDataV1",
        size_bytes=12,
    )


@pytest.mark.parametrize(
    "odd",
    [
        product(package={"URL": "http://example.com/InstallAssistant.pkg"}),
        product(package={"URL": "http://swcdn.apple.com@example.com/InstallAssistant.pkg"}),
        product(package={"URL": "file:///etc/InstallAssistant.pkg"}),
        product(package={"URL": f"{HOST}/../InstallAssistant.pkg"}),
        product(package={"IntegrityDataURL": "http://example.com/I.pkg.integrityDataV1"}),
        product(package={"Size": 0}),
        product(package={"Size": 1 << 50}),
        product(package={"Size": "12"}),
        product(Distributions={"French": f"{HOST}/x.dist"}),
        product(ExtendedMetaInfo={}),
        product(PostDate="yesterday"),
        product(Packages=[]),
        [],
    ],
)
def test_a_product_that_cannot_be_used_is_left_out(odd: Any) -> None:
    assert [each.id for each in parse_catalog(catalog(p012_92138=odd, p012_11111=product()))] == ["012-11111"]


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>blocked</html>", plistlib.dumps([]), plistlib.dumps({"Products": []}), gzip.compress(b"x", mtime=0)[:-4], b"\x1f\x8b"],
)  # fmt: skip
def test_what_is_no_catalogue_is_told(data: bytes) -> None:
    with pytest.raises(RecoveryError, match="software catalogue cannot be used"):
        parse_catalog(data)


def test_a_catalogue_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software_catalog, "CATALOG_BYTES_MAX", 1 << 20)
    for data in (gzip.compress(bytes(2 << 20)), bytes(2 << 20)):
        with pytest.raises(RecoveryError, match="longer than allowed"):
            parse_catalog(data)


def test_a_distribution_says_version_build_and_for_which_macs() -> None:
    offer = Offer("14.8.4", "23J319", boards=("Mac-7BA5B2D9E42DDD94",), refused=("iMac18,3",))
    found = parse_distribution(distribution(offer).encode())
    assert found == Details("14.8.4", "23J319", frozenset(offer.boards), frozenset(offer.refused))
    assert found.suits("iMacPro1,1") and not found.suits("MacPro7,1") and not found.suits("iMac18,3")
    assert Details("14.8.4", "23J319").suits("MacPro7,1")


@pytest.mark.parametrize("data", [b"", b"<key>VERSION</key><string>14</string>", bytes(2 << 20)])
def test_a_distribution_that_names_no_macos_is_told(data: bytes) -> None:
    with pytest.raises(RecoveryError, match="distribution"):
        parse_distribution(data)


def offered() -> list[Installer]:
    products = {each.id: each for each in parse_catalog(FakeUpdates().catalog(), frozenset({"127.0.0.1:0"}), "http")}
    return [Installer(products[key], parse_distribution(distribution(offer).encode())) for key, offer in OFFERS.items()]


@pytest.mark.parametrize(
    ("which", "build"),
    [
        ("sonoma", "23J319"), ("Sonoma", "23J319"), ("14", "23J319"), ("14.7.1", "23H222"), ("14.7", "23H222"),
        ("23h222", "23H222"), ("23H222", "23H222"), ("26", "25B78"), ("macOS ventura", "22H730"),
    ],
)  # fmt: skip
def test_the_newest_that_a_person_means(which: str, build: str) -> None:
    assert choose(offered(), which).details.build == build


def test_a_model_decides_where_the_distribution_says_so() -> None:
    assert choose(offered(), "sonoma", "iMacPro1,1").details.build == "23J319"
    assert choose(offered(), "sonoma", "iMac19,1").details.build == "23H222"
    with pytest.raises(RecoveryError, match="no installer of macOS tahoe is for a iMacPro1,1"):
        choose(offered(), "tahoe", "iMacPro1,1")
    with pytest.raises(UsageError, match="the model 'Mac1,1' is unknown"):
        choose(offered(), "sonoma", "Mac1,1")


@pytest.mark.parametrize(("which", "model"), [("sonma", None), ("15-beta", None), ("sonoma", "Mac1,1")])
def test_words_that_mean_nothing_are_told_before_apple_is_asked(which: str, model: str | None) -> None:
    with pytest.raises(UsageError):
        software_catalog.check_words(which, model)
    with pytest.raises(UsageError):
        installers.fetch(
            which, model=model, workspace=Workspace(Home(Path("/nowhere"), Path("/x"), Path("/x")), Path("/"))
        )


def test_what_nobody_offers_and_what_is_no_macos_are_told() -> None:
    with pytest.raises(RecoveryError, match="Apple offers no full installer of macOS sequoia"):
        choose(offered(), "sequoia")
    with pytest.raises(UsageError, match="there is no macOS called 'sonma'"):
        choose(offered(), "sonma")
