"""What a clip is, and what it tells of itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.console.clipboard import Clip

texts = st.none() | st.text(st.characters(codec="utf-8"), min_size=1)


@given(texts, texts, st.none() | st.binary(min_size=1))
def test_the_forms_are_what_there_is_in_exact_bytes(text: str | None, html: str | None, png: bytes | None) -> None:
    forms = dict(Clip(text, html, png).forms)
    assert forms.get("png") == png
    assert {name: forms[name].decode() for name in forms if name != "png"} == {
        name: value for name, value in (("text", text), ("html", html)) if value is not None
    }


def test_a_clip_that_is_printed_tells_no_content() -> None:
    assert repr(Clip(text="sécret", png=b"1234")) == "Clip(text: 7 bytes, png: 4 bytes)"
    assert "sécret" not in f"{Clip('sécret')} {[Clip('sécret')]}"
