"""The report as a picture (SVG): in each row, the service and what it is beside, as bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from loadtests.bench.figures import Figure, Row

_WIDTH: Final = 860
_BARS_AT: Final = 190
"""The place where bars begin; the names of what was measured have a line of their own."""
_LONGEST: Final = 470
_ROW_HEIGHT: Final = 74
_BAR_HEIGHT: Final = 16
_MARGIN: Final = 16
_OURS, _BESIDE, _INK, _PALE = "#2f6f9f", "#b9c3cc", "#1c2329", "#66717b"
_FONT: Final = "font-family='system-ui, sans-serif'"


def bars(title: str, rows: Iterable[Row]) -> str:
    """The rows that are beside something, each on a scale of its own.

    Args:
        title: of the picture: the machine and the run.
    """
    shown = [row for row in rows if row.beside is not None]
    height = 2 * _MARGIN + 24 + _ROW_HEIGHT * len(shown)
    frame = f"width='{_WIDTH}' height='{height}' viewBox='0 0 {_WIDTH} {height}'"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' {frame} role='img' {_FONT}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(_MARGIN, _MARGIN + 12, title, size=13, colour=_PALE),
    ]
    for number, row in enumerate(shown):
        parts += _row(row, _MARGIN + 24 + _ROW_HEIGHT * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(row: Row, top: float) -> Iterator[str]:
    assert row.beside is not None
    assert row.ratio is not None
    most = max(row.ours.high, row.beside.high) or 1.0
    head = f"{row.name}, {row.unit} (ratio to {row.beside_name}: {row.ratio.median:.2f})"
    yield _text(_MARGIN, top + 18, head, size=14)
    pairs = (("Afterwards", row.ours, _OURS), (row.beside_name, row.beside, _BESIDE))
    for line, (name, figure, colour) in enumerate(pairs):
        yield from _bar(name, figure, colour, most, top + 26 + line * (_BAR_HEIGHT + 4))


def _bar(name: str, figure: Figure, colour: str, most: float, top: float) -> Iterator[str]:
    middle, ends = top + _BAR_HEIGHT / 2, [_length(v, most) for v in (figure.low, figure.high)]
    yield _text(_BARS_AT - 8, top + 12, name, size=12, anchor="end", colour=_PALE)
    yield (
        f"<rect x='{_BARS_AT}' y='{top:g}' width='{_length(figure.median, most):.1f}' "
        f"height='{_BAR_HEIGHT}' fill='{colour}'/>"
    )
    # From the least round to the greatest.
    yield (
        f"<line x1='{_BARS_AT + ends[0]:.1f}' x2='{_BARS_AT + ends[1]:.1f}' "
        f"y1='{middle:g}' y2='{middle:g}' stroke='{_INK}' stroke-width='1.5'/>"
    )
    number = f"{figure.median:,.0f}" if figure.median >= 100 else f"{figure.median:.2f}"
    yield _text(_BARS_AT + ends[1] + 8, top + 12, number, size=12)


def _length(value: float, most: float) -> float:
    return value / most * _LONGEST


def _text(
    x: float, y: float, text: str, *, size: int, anchor: str = "start", colour: str = _INK
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:g}' font-size='{size}' text-anchor='{anchor}' "
        f"fill='{colour}'>{escape(text)}</text>"
    )
