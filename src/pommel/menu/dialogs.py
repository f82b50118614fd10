"""Questions, each on a screen of its own over the list. Band: face.

They answer, and do nothing. What destroys is done by `y` alone: neither Enter nor Escape is a yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from pommel.menu import layout
from pommel.menu.widgets import Line, Rows, keys

T = TypeVar("T")


class _Dialog(ModalScreen[T], Generic[T]):
    """A box in the middle with a title, lines, and the keys that answer."""

    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, title: str, lines: Sequence[str] = ()) -> None:
        super().__init__()
        self._title = layout.plain(title)
        self._lines = [layout.plain(text) for text in lines]

    def compose(self) -> ComposeResult:
        """Title, lines, what is special, keys."""
        with Vertical(id="box") as box:
            box.border_title = Content(self._title)
            if self._lines:
                yield Static(Content("\n".join(self._lines)), id="lines")
            yield from self.middle()
            yield Line(keys([self.KEYS]), id="answers")

    def middle(self) -> ComposeResult:
        """What stands between the lines and the keys."""
        yield from ()


class Confirm(_Dialog[bool]):
    """A yes or no about what cannot be undone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape,q", "answer(False)", show=False),
    ]
    KEYS = (("y", "yes"), ("n", "no"))

    def action_answer(self, yes: bool) -> None:
        """Answer."""
        self.dismiss(yes)


class Proceed(Confirm):
    """A yes or no about what does no harm: Enter is a yes, too."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "answer(True)", show=False)]
    KEYS = (("enter", "go on"), ("esc", "not now"))


class Tell(_Dialog[None]):
    """Something to read, such as an address; `copied` can be put on the terminal's clipboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", show=False),
        Binding("c", "copy", show=False),
    ]
    KEYS = (("c", "copy (if the terminal supports it)"), ("esc", "back"))

    def __init__(self, title: str, lines: Sequence[str], copied: str) -> None:
        super().__init__(title, lines)
        self._copied = copied

    def action_copy(self) -> None:
        """Hand the text to the terminal (OSC 52)."""
        self.app.copy_to_clipboard(self._copied)

    def action_close(self) -> None:
        """Go back."""
        self.dismiss()


class Ask(_Dialog[str | None]):
    """A word to type; with `wanted`, only that word is an answer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]
    KEYS = (("enter", "go on"), ("esc", "not now"))

    def __init__(self, title: str, lines: Sequence[str], *, wanted: str | None = None) -> None:
        super().__init__(title, lines)
        self._wanted = wanted

    def middle(self) -> ComposeResult:
        """The field, and a line for what is wrong with its text."""
        yield Input(compact=True)
        yield Line("", id="wrong")

    @on(Input.Changed)
    def forget(self) -> None:
        """What was wrong was about another text."""
        self.query_one("#wrong", Line).show("")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Take the word, if it is one."""
        text = event.value.strip()
        if self._wanted is not None and text != self._wanted:
            self.query_one("#wrong", Line).show("this is not its name")
        elif text:
            self.dismiss(text)

    def action_cancel(self) -> None:
        """Answer nothing."""
        self.dismiss(None)


class Choose(_Dialog[str | None]):
    """One of several; each is its answer and the words it is shown by."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "cancel", show=False)]
    KEYS = (("enter", "choose"), ("esc", "not now"))

    def __init__(
        self, title: str, options: Sequence[tuple[str, str]], *, first: str | None = None, lines: Sequence[str] = ()
    ) -> None:
        super().__init__(title, lines)
        self._options = options
        self._first = first

    def middle(self) -> ComposeResult:
        """The list."""
        options = [Option(Content(layout.plain(text)), id=answer) for answer, text in self._options]
        yield Rows(*options, compact=True, markup=False)

    def on_mount(self) -> None:
        """Begin at the one that is most likely meant."""
        answers = [answer for answer, _ in self._options]
        self.query_one(Rows).highlighted = answers.index(self._first) if self._first in answers else 0

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        """Answer."""
        self.dismiss(event.option_id)

    def action_cancel(self) -> None:
        """Answer nothing."""
        self.dismiss(None)
