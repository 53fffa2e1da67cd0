"""Charts as SVG, which a page or a README shows as they are."""

import math
from collections.abc import Collection, Mapping, Sequence
from html import escape
from statistics import median
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 56, 40
BAR_LEFT, BAR_RIGHT, BAR_STEP = 240, 64, 26
#: Times the median.
BROKEN_OFF: Final = 3
COLOURS: Final = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#475569")

Points = Sequence[tuple[float, float]]


def lines(title: str, x_label: str, y_label: str, series: Mapping[str, Points]) -> str:
    """Each series by its name; both axes begin at 0."""
    x_top = max((x for points in series.values() for x, _ in points), default=1) or 1
    y_top = _round_up(max((y for points in series.values() for _, y in points), default=1))
    parts = [*_frame(title, x_label, y_label), *_grid(x_top, y_top)]
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{_x(x / x_top):.1f},{_y(y / y_top):.1f}" for x, y in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts.append(_legend(number, name, colour))
    return _svg(parts, HEIGHT)


def bars(title: str, label: str, values: Mapping[str, float]) -> str:
    """One bar for each name, the first in another colour. Those that would leave no room for the
    others are broken off.
    """
    top = _scale(values.values())
    parts = [f'<text x="16" y="22" font-size="15" font-weight="600">{escape(title)}</text>']
    for number, (name, value) in enumerate(values.items()):
        y, width = 40 + number * BAR_STEP, min(value / top, 1) * (WIDTH - BAR_LEFT - BAR_RIGHT)
        colour = COLOURS[0] if number == 0 else COLOURS[-1]
        parts.append(_text(BAR_LEFT - 8, y + 14, name, anchor="end"))
        parts.append(
            f'<rect x="{BAR_LEFT}" y="{y}" width="{width:.1f}" height="18" fill="{colour}"/>'
        )
        if value > top:
            x = BAR_LEFT + width - 24
            parts.append(f'<path d="M{x} {y + 18} l8 -18 h5 l-8 18 z" fill="#fff"/>')
        parts.append(_text(BAR_LEFT + width + 6, y + 14, f"{value:.1f}", anchor="start"))
    height = 40 + len(values) * BAR_STEP + 24
    parts.append(_text(BAR_LEFT, height - 10, label, anchor="start"))
    return _svg(parts, height)


def _scale(values: Collection[float]) -> float:
    """The largest value that is not far beyond most."""
    if not values:
        return 1.0
    far = BROKEN_OFF * median(values)
    return max((value for value in values if value <= far), default=0) or 1.0


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * (1 + 1e-9))


def _frame(title: str, x_label: str, y_label: str) -> list[str]:
    return [
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="600">{escape(title)}</text>',
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, anchor="middle"),
        f'<g transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">',
        _text(0, 0, y_label, anchor="middle"),
        "</g>",
    ]


def _grid(x_top: float, y_top: float) -> list[str]:
    parts = []
    for step in range(6):
        y = _y(step / 5)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{y_top * step / 5:g}", anchor="end"))
        parts.append(_text(_x(step / 5), HEIGHT - 22, f"{x_top * step / 5:g}", anchor="middle"))
    return parts


def _legend(number: int, name: str, colour: str) -> str:
    x = LEFT + number * 120
    return f'<rect x="{x}" y="34" width="12" height="4" fill="{colour}"/>' + _text(
        x + 18, 40, name, anchor="start"
    )


def _text(x: float, y: float, content: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _svg(parts: Sequence[str], height: int) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12"'
        f' fill="#222">\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )
