"""Where one session stands in its user's log: each message once, in order, without a hole.

Pure state: no asyncio, no Redis. The hub feeds it nudges, which come late or never; a reader feeds
it pages of the inbox, which is the truth.
"""

from collections.abc import Iterable
from typing import Final

#: Messages that overtook others are kept this many deep; beyond that the inbox has them anyway.
MAX_HELD: Final = 64

Numbered = tuple[int, bytes]


class Hole(Exception):
    """The inbox no longer has the next message: the session can't go on without losing it."""


class Order:
    """`position` is the newest seq handed over, `newest` the newest seq known to exist.

    A session begins unplaced: what is offered before `place()` is only noted. Where it is behind, a
    reader takes over (`reading`), and what is offered meanwhile is noted too, for the reader will
    come to it.
    """

    __slots__ = ("_held", "_placed", "newest", "position", "reading", "stored")

    def __init__(self, *, stored: bool = True) -> None:
        """`stored=False`: there is no inbox, so a hole can't be filled and is passed over."""
        self.position = 0
        self.newest = 0
        self.reading = False
        self._placed = False
        self.stored = stored
        self._held: dict[int, bytes] = {}

    @property
    def behind(self) -> bool:
        return self._placed and self.newest > self.position

    def place(self, position: int, newest: int) -> list[Numbered]:
        """The session needs what follows `position`. Everything offered so far may be among it.

        Returns what can be handed over at once: only without an inbox, whose reader would bring it.
        """
        self.position = position
        self._placed = True
        if not self.stored:
            return self.pass_over()
        self.note(newest)
        return []

    def note(self, newest: int) -> None:
        """A message of this seq exists, whoever brings it. Without an inbox only a nudge can."""
        if self.stored:
            self.newest = max(self.newest, newest)

    def take_next(self, seq: int) -> bool:
        """Whether a message that a nudge brought is just the next one, as nearly always: then it
        counts as handed over. All others are to be offered.
        """
        if (
            seq == self.position + 1
            and self.newest == self.position
            and self._placed
            and not self.reading
            and not self._held
        ):
            self.position = self.newest = seq
            return True
        return False

    def offer(self, seq: int, body: bytes) -> list[Numbered]:
        """A nudge brought this message. Returns what can be handed over now."""
        if self._placed and seq <= self.position:
            return []
        self.newest = max(self.newest, seq)
        if self.reading or (not self._placed and self.stored):
            return []
        if not self._placed or seq > self.position + 1:
            if len(self._held) < MAX_HELD:
                self._held[seq] = body
            return []
        return [self._advance(seq, body), *self._release()]

    def pass_over(self) -> list[Numbered]:
        """Without an inbox nothing fills a hole: go on with what waits behind it."""
        ready = [
            self._advance(seq, self._held[seq]) for seq in sorted(self._held) if seq > self.position
        ]
        self._held.clear()
        self.newest = self.position
        return ready

    def read(self, page: Iterable[Numbered]) -> list[Numbered]:
        """The reader brought what follows `position` in the inbox. Returns what is handed over.

        Raises Hole where the page does not begin where it should; what came before the hole is not
        lost, since the session ends and its next one resumes from there.
        """
        ready = []
        for seq, body in page:
            if seq <= self.position:
                continue
            if seq > self.position + 1:
                raise Hole(f"expected {self.position + 1}, the inbox goes on at {seq}")
            ready.append(self._advance(seq, body))
        ready += self._release()
        self.newest = max(self.newest, self.position)
        return ready

    def _advance(self, seq: int, body: bytes) -> Numbered:
        self.position = seq
        self._held.pop(seq, None)
        return seq, body

    def _release(self) -> list[Numbered]:
        """What was held for the message that has just come."""
        ready = []
        while (body := self._held.get(self.position + 1)) is not None:
            ready.append(self._advance(self.position + 1, body))
        if self._held and min(self._held) <= self.position:
            self._held = {seq: body for seq, body in self._held.items() if seq > self.position}
        return ready
