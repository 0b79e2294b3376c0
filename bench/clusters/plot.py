"""Small panels beside each other, drawn as SVG by hand: one measure each, over the number of applications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 330, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 30, 46, 40
COLUMNS = 3
INK, FAINT = "#24292f", "#d0d7de"
COLOURS = ("#0969da", "#8c959f", "#bc4c00")
FONT = "font-family:system-ui,sans-serif"


@dataclass(frozen=True)
class Line:
    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """The axis goes to ``least`` at least, so that what is nearly nothing looks like it."""

    title: str
    lines: Sequence[Line]
    least: float = 0.0


def svg(title: str, sizes: Sequence[int], panels: Sequence[Panel]) -> str:
    rows = -(-len(panels) // COLUMNS)
    width, height = WIDTH * COLUMNS, HEIGHT * rows + 36
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, title, size=15, weight=600),
    ]
    for number, panel in enumerate(panels):
        across, down = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT + 32
        parts += [f'<g transform="translate({across},{down})">', *_panel(panel, sizes), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, sizes: Sequence[int]) -> Iterator[str]:
    top = nice(max(panel.least, *(value for line in panel.lines for value in line.values)))
    most = max(sizes)

    def x(size: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * size / most

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    yield _text(LEFT, 18, panel.title, size=12, weight=600)
    for step in range(5):
        value = top * step / 4
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{FAINT}"/>'
        yield _text(LEFT - 6, y(value) + 3.5, f"{value:g}", anchor="end")
    marks = [size for size in sizes if size == min(sizes) or size >= most / 8]
    for size in marks:
        yield _text(x(size), HEIGHT - BOTTOM + 16, f"{size:,}", anchor="middle")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 31, "applications", anchor="middle", colour="#57606a")
    for number, line in enumerate(panel.lines):
        yield from _line(line, COLOURS[number], [(x(size), y(value)) for size, value in zip(sizes, line.values, strict=True)])
    if len(panel.lines) > 1:
        yield from _names(panel.lines)


def _line(line: Line, colour: str, points: list[tuple[float, float]]) -> Iterator[str]:
    way = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
    yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"><title>{escape(line.name)}</title></polyline>'
    for across, down in points:
        yield f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{colour}"/>'


def _names(lines: Sequence[Line]) -> Iterator[str]:
    across = LEFT
    for number, line in enumerate(lines):
        yield f'<rect x="{across}" y="27" width="10" height="3" fill="{COLOURS[number]}"/>'
        yield _text(across + 14, 32, line.name, colour="#57606a")
        across += 26 + 6 * len(line.name)


def _text(x: float, y: float, words: str, *, size: int = 10, weight: int = 400, anchor: str = "start", colour: str = INK) -> str:
    style = f"{FONT};font-size:{size}px;font-weight:{weight}"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" style="{style}">{escape(words)}</text>'


def nice(most: float) -> float:
    """The end of an axis: the least of 1, 2, 4, 6, 8 times a power of ten that has room for ``most``."""
    if most <= 0:
        return 1.0
    power = 10.0
    while power > most:
        power /= 10
    while power * 10 < most:
        power *= 10
    return next(power * step for step in (1, 2, 4, 6, 8, 10) if power * step >= most)
