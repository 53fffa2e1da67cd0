"""What is sampled, and when a curve of it counts as flat.

A curve is judged after its first third, in which caches fill and inboxes come to their bounds. It
rises by as much as both of two looks say: the slope that is the median of all slopes between two
samples (Theil and Sen), and how far the median of the last third lies above that of the middle one.
One sample that is far off moves neither.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

MIB: Final = 1024 * 1024
KIB: Final = 1024

#: Of each curve, of which (seconds since the start, value) are the points.
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Figure:
    """`bound`: what it may rise by from the end of the first third to the end, however long that
    takes. So an hour finds what is twenty times as small as what three minutes do.
    """

    name: str
    title: str
    unit: str
    bound: float


FIGURES: Final = (
    Figure("resident", "resident memory", "MiB", 8),
    Figure("anonymous", "memory of its own", "MiB", 8),
    Figure("descriptors", "open file descriptors", "", 25),
    Figure("threads", "threads", "", 3),
    Figure("data", "what Valkey holds", "MiB", 4),
    Figure("buffers", "what Valkey holds for the gateways to read", "KiB", 256),
    Figure("keys", "keys in Valkey", "", 150),
    Figure("connections", "connections", "", 25),
    Figure("unsent", "bytes that clients have not read, in the kernel", "KiB", 1024),
    Figure("unread", "bytes that the gateway has not read, in the kernel", "KiB", 256),
    Figure("queued", "bytes that wait in the gateway", "KiB", 256),
)


def judged(points: Points) -> Points:
    """Without the first third of the time."""
    if not points:
        return []
    first, last = points[0][0], points[-1][0]
    return [(at, value) for at, value in points if at >= first + (last - first) / 3]


def rise(points: Points) -> float:
    """By how much it rose over the time that is judged; below 0 where it fell."""
    points = judged(points)
    if len(points) < 4:
        return 0.0
    begin, end = points[0][0], points[-1][0]
    slope = median(
        (later - earlier) / (then - at)
        for (at, earlier), (then, later) in itertools.combinations(points, 2)
        if then > at
    )
    half = begin + (end - begin) / 2
    middle = median(value for at, value in points if at < half)
    last = median(value for at, value in points if at >= half)
    # The two medians lie half of the time apart.
    by_slope, by_medians = slope * (end - begin), 2 * (last - middle)
    return min(by_slope, by_medians, key=abs) if by_slope * by_medians > 0 else 0.0


@dataclass(frozen=True)
class Verdict:
    """Of one curve: a figure of one process."""

    figure: Figure
    subject: str
    typical: float
    rise: float
    rise_an_hour: float

    @property
    def flat(self) -> bool:
        return self.rise <= self.figure.bound

    @property
    def curve(self) -> str:
        return f"{self.subject}: {self.figure.title}"


def verdict(figure: Figure, subject: str, points: Points) -> Verdict:
    late = judged(points)
    seconds = late[-1][0] - late[0][0] if late else 0.0
    risen = rise(points)
    return Verdict(
        figure,
        subject,
        typical=median(value for _, value in late) if late else 0.0,
        rise=risen,
        rise_an_hour=risen * 3600 / seconds if seconds else 0.0,
    )
