"""Questions, each on its own screen over the list. Band: face.

They only return an answer. For a destructive action only `y` is a yes: neither Enter nor Escape is.
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
from pommel.menu.widgets import Rows, TextLine, keys

T = TypeVar("T")


class _Dialog(ModalScreen[T], Generic[T]):
    """A box in the middle with a title, lines, and the keys for the answers."""

    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, title: str, lines: Sequence[str] = ()) -> None:
        super().__init__()
        self._title = layout.plain(title)
        self._lines = [layout.plain(text) for text in lines]

    def compose(self) -> ComposeResult:
        """Title, lines, the dialog's own part, keys."""
        with Vertical(id="box") as box:
            box.border_title = Content(self._title)
            if self._lines:
                yield Static(Content("\n".join(self._lines)), id="lines")
            yield from self.middle()
            yield TextLine(keys([self.KEYS]), id="answers")

    def middle(self) -> ComposeResult:
        """The part between the lines and the keys."""
        yield from ()


class Confirm(_Dialog[bool]):
    """A yes or no about an action that cannot be undone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape,q", "answer(False)", show=False),
    ]
    KEYS = (("y", "yes"), ("n", "no"))

    def action_answer(self, yes: bool) -> None:
        """Answer."""
        self.dismiss(yes)


class Proceed(Confirm):
    """A yes or no about a harmless action: Enter is a yes, too."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "answer(True)", show=False)]
    KEYS = (("enter", "go on"), ("esc", "not now"))


class Tell(_Dialog[None]):
    """A text to read, such as an address; `copied` can be copied to the terminal's clipboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", show=False),
        Binding("c", "copy", show=False),
    ]
    KEYS = (("c", "copy (if the terminal supports it)"), ("esc", "back"))

    def __init__(self, title: str, lines: Sequence[str], copied: str) -> None:
        super().__init__(title, lines)
        self._copied = copied

    def action_copy(self) -> None:
        """Send the text to the terminal's clipboard (OSC 52)."""
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
        """The field, and a line for an error in its text."""
        yield Input(compact=True)
        yield TextLine("", id="wrong")

    @on(Input.Changed)
    def forget(self) -> None:
        """Remove the error, because it was about another text."""
        self.query_one("#wrong", TextLine).show("")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Accept the word, if it is valid."""
        text = event.value.strip()
        if self._wanted is not None and text != self._wanted:
            self.query_one("#wrong", TextLine).show("this is not its name")
        elif text:
            self.dismiss(text)

    def action_cancel(self) -> None:
        """Cancel."""
        self.dismiss(None)


class Choose(_Dialog[str | None]):
    """A choice of several; each has its answer and its text."""

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
        """Select the most likely option."""
        answers = [answer for answer, _ in self._options]
        self.query_one(Rows).highlighted = answers.index(self._first) if self._first in answers else 0

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        """Answer."""
        self.dismiss(event.option_id)

    def action_cancel(self) -> None:
        """Cancel."""
        self.dismiss(None)
