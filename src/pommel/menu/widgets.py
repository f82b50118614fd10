"""The widgets of the screen: the list, the pane, the line of messages, the keys. Band: face.

They draw their values, and only after a change, so that a refresh each second does not flicker. They call nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.style import Style
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from pommel.app.machine.machines import Status
from pommel.errors import PommelError
from pommel.menu import layout

_WARNINGS = 4  # shown at the same time


class TextLine(Static):
    """Text that is only drawn again after a change."""

    _shown: Content | None = None

    def show(self, text: Content | str) -> None:
        """Show `text`, which is never parsed as markup."""
        content = text if isinstance(text, Content) else Content(text)
        if self._shown is None or not content.is_same(self._shown):
            self._shown = content
            self.update(content)


class Rows(OptionList):
    """A list whose chosen row is visible without colours too: in reverse, which Textual's own styles lose."""

    def get_visual_style(self, *component_classes: str, partial: bool = False) -> Style:
        """The style of a part of the list."""
        style = super().get_visual_style(*component_classes, partial=partial)
        if "option-list--option-highlighted" in component_classes and self.app.native_ansi_color:
            return style + Style(reverse=True)
        return style


class MachineList(Rows):
    """The machines, one of them chosen. The choice is by name and stays at every refresh."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.start", show=False),
        Binding("down,j", "cursor_down", show=False),
        Binding("up,k", "cursor_up", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True, markup=False)
        self.machines: Sequence[Status] = ()
        self._doing: Mapping[str, str] = {}

    @property
    def chosen(self) -> Status | None:
        """The machine for the keys' actions."""
        at = self.highlighted
        return self.machines[at] if at is not None and at < len(self.machines) else None

    def show(self, machines: Sequence[Status], doing: Mapping[str, str]) -> None:
        """Show `machines`, and the running work on some of them."""
        before = self.chosen.name if self.chosen else None
        same = [seen.name for seen in machines] == [seen.name for seen in self.machines]
        place = self.highlighted or 0
        self.machines, self._doing = machines, doing
        if same:
            self._redraw()
        else:
            self._rebuild(before, place)

    def on_resize(self) -> None:
        """Lay the columns out again."""
        self._redraw()

    def header(self) -> Content:
        """The titles of the columns."""
        return layout.header(self._width(), self._names())

    def _redraw(self) -> None:
        for option, content in zip(self.options, self._drawn(), strict=True):
            old = option.prompt
            if not isinstance(old, Content) or not content.is_same(old):
                self.replace_option_prompt(str(option.id), content)

    def _rebuild(self, chosen: str | None, place: int) -> None:
        """Replace the rows: the same machine stays chosen; if it is gone, the one at its place is chosen."""
        scroll_y = self.scroll_y
        with self.app.batch_update():
            rows = zip(self.machines, self._drawn(), strict=True)
            self.set_options([Option(content, id=seen.name) for seen, content in rows])
            if self.machines:
                names = self._names()
                self.highlighted = names.index(chosen) if chosen in names else min(place, len(names) - 1)
            self.scroll_to(y=scroll_y, animate=False)
            self.scroll_to_highlight()

    def _drawn(self) -> list[Content]:
        width, names = self._width(), self._names()
        return [layout.line(seen, width, names, doing=self._doing.get(seen.name, "")) for seen in self.machines]

    def _names(self) -> list[str]:
        return [seen.name for seen in self.machines]

    def _width(self) -> int:
        size: Size = self.size
        return size.width or self.app.size.width


class StatusLine(TextLine):
    """The last message, and below it the running work. An error stays until the next key."""

    def __init__(self, **options: str) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._words: Content | None = None
        self._warnings: list[Content] = []
        self._lasting: Content | None = None
        self._at_work: list[str] = []

    def tell(self, text: str) -> None:
        """Show the result of an action."""
        self._words = Content(layout.plain(text))
        self._draw()

    def tell_error(self, error: PommelError) -> None:
        """Show an error and its hint."""
        self._words = spelled(error)
        self._draw()

    def tell_warning(self, text: str) -> None:
        """Show a warning in addition to other messages, until the next key."""
        words = Content.assemble(("warning: ", "bold $warning"), layout.plain(text))
        self._warnings = [*self._warnings[1 - _WARNINGS :], words]
        self._draw()

    def tell_lasting(self, error: PommelError | None) -> None:
        """Show an error as long as it lasts; None removes it."""
        self._lasting = spelled(error) if error else None
        self._draw()

    def tell_work(self, lines: list[str]) -> None:
        """Show the running work."""
        self._at_work = [layout.plain(text) for text in lines]
        self._draw()

    def clear(self) -> None:
        """Remove the messages after a key: they have been read."""
        self._words, self._warnings = None, []
        self._draw()

    def _draw(self) -> None:
        work = [Content.assemble(("◐ ", "$accent"), text) for text in self._at_work]
        self.show(
            Content("\n").join(
                [part for part in (self._lasting, *self._warnings, self._words, *work) if part is not None]
            )
        )


def spelled(error: PommelError) -> Content:
    """An error and its hint, as `pommel` prints them."""
    parts: list[str | tuple[str, str]] = [("error: ", "bold $error"), layout.plain(error.message)]
    if error.hint:
        parts += [("\nhint: ", "bold $primary"), layout.plain(error.hint)]
    return Content.assemble(*parts)


def keys(rows: Sequence[Sequence[tuple[str, str]]], off: Sequence[str] = ()) -> Content:
    """Lines of keys with their actions; those in `off` have none at present."""
    lines = []
    for row in rows:
        parts = [
            Content.assemble((f" {key} ", "dim" if key in off else "bold $primary"), (f"{what}  ", "dim"))
            for key, what in row
        ]
        lines.append(Content("").join(parts))
    return Content("\n").join(lines)
