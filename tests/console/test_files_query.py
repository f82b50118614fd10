from __future__ import annotations

import pytest

from pommel.console.files_query import FilesQuery
from pommel.errors import UsageError
from pommel.sftp.browsing import Upload


def test_an_upload() -> None:
    asked = FilesQuery("path=/a+b/%C3%BC&size=5&mtime=7&replace=yes&at=2&at2=3")
    assert asked.upload() == Upload("/a+b/ü".encode(), 5, 7) and asked.replaces and asked.number("at") == 2
    assert not FilesQuery("path=/a&replace=no").replaces and FilesQuery("path=&x").one("path") == ""


@pytest.mark.parametrize(
    "raw",
    ["", "path", "path=/a&path=/b", "size=1&mtime=1", "path=/a&size=x&mtime=1", "path=/a&size=1&mtime=" + "1" * 19],
)
def test_what_is_no_upload(raw: str) -> None:
    with pytest.raises(UsageError):
        FilesQuery(raw).upload()
