"""What the chat shows, line by line; in colours where it is a terminal."""

from collections.abc import Sequence
from datetime import datetime
from textwrap import shorten
from typing import Final
from zlib import crc32

from prompt_toolkit import print_formatted_text
from prompt_toolkit.application import get_app_or_none
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.renderer import print_formatted_text as print_above
from prompt_toolkit.styles import Style

from gateways.client.events import Message
from gateways.management.tables import visible
from gateways.protocol.events import Recipients

Fragment = tuple[str, str]

INDENT: Final = " " * 6
STYLE: Final = Style.from_dict(
    {
        "time": "ansibrightblack",
        "note": "ansibrightblack",
        "came": "ansigreen",
        "error": "ansired",
        "command": "bold",
        "bottom-toolbar": "noreverse ansibrightblack",
        "up": "ansigreen",
        "down": "ansired",
    }
)
_COLOURS: Final = ("ansicyan", "ansimagenta", "ansiyellow", "ansiblue", "ansigreen", "ansired")


class Screen:
    def __init__(self, *, plain: bool) -> None:
        self._plain = plain

    def said(self, sender: str, recipient_ids: Sequence[str], text: str) -> None:
        to: list[Fragment] = []
        for recipient_id in recipient_ids:
            to += [("", ", " if to else " → "), name(recipient_id)]
        self._show(("class:time", _clock()), name(sender), *to, ("", f"  {_paragraph(text)}"))

    def outcome(self, recipients: Recipients, of: str = "") -> None:
        """`of`: what it is the outcome of, where that is not the line before."""
        parts = [
            f"{mark} {', '.join(map(visible, user_ids))}{what}"
            for mark, user_ids, what in (
                ("✓", recipients.sent, ""),
                ("…", recipients.queued, " (away: queued for later)"),
                ("✗", recipients.failed, " (failed: nothing will arrive)"),
            )
            if user_ids
        ]
        style = "class:error" if recipients.failed else "class:note"
        if of:
            parts.append(visible(shorten(of, 40, placeholder=" …")))
        self._show((style, INDENT + "   ".join(parts)))

    def heard(self, message: Message) -> None:
        sender = message.sender_id or f"service {message.metadata.get('serviceName', '')}"
        clock = _clock(message.metadata.get("timestamp"))
        self._show(("class:time", clock), name(sender), ("", f"  {_paragraph(message.message)}"))

    def presence(self, user_id: str, *, online: bool) -> None:
        if online:
            self._show(("class:came", f"{INDENT}● "), name(user_id), ("class:note", " is online"))
        else:
            self._show(("class:note", f"{INDENT}○ {visible(user_id)} is offline"))

    def note(self, text: str) -> None:
        self._show(("class:note", INDENT + visible(text)))

    def error(self, text: str) -> None:
        self._show(("class:error", f"{INDENT}✗ {visible(text)}"))

    def help(self, rows: Sequence[tuple[str, str]]) -> None:
        width = max(len(typed) for typed, _ in rows)
        for typed, meaning in rows:
            self._show(("class:command", INDENT + typed.ljust(width)), ("", f"  {meaning}"))

    def _show(self, *fragments: Fragment) -> None:
        if self._plain:
            print("".join(text for _, text in fragments), flush=True)  # noqa: T201
            return
        app = get_app_or_none()
        if app is None or not app.is_running:
            print_formatted_text(FormattedText(fragments), style=STYLE)
            return
        # Above the prompt. What prompt_toolkit has for this puts the terminal back into its own
        # line mode for a moment, which swallows a Ctrl-D that comes just then.
        app.renderer.erase()
        print_above(app.output, FormattedText([*fragments, ("", "\n")]), STYLE)
        app.renderer.request_absolute_cursor_position()
        app.invalidate()


def name(user_id: str) -> Fragment:
    """A user has one colour, in every terminal."""
    colour = _COLOURS[crc32(user_id.encode()) % len(_COLOURS)]
    return f"bold {colour}", visible(user_id)


def _paragraph(text: str) -> str:
    return f"\n{INDENT}".join(visible(line.expandtabs()) for line in text.splitlines())


def _clock(timestamp: object = None) -> str:
    """Local time; with the day where it is another one."""
    now = datetime.now().astimezone()
    moment = now
    if isinstance(timestamp, str):
        moment = datetime.fromisoformat(timestamp).astimezone()
    return moment.strftime("%H:%M " if moment.date() == now.date() else "%b %d %H:%M ")
