"""Line charts as SVG inside HTML. No script; every text is escaped."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

_WIDTH, _HEIGHT = 440, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 16, 10, 28
_Place = Callable[[float, float], tuple[float, float]]
_POINTS = 120  # of a line; what has more is averaged, so that a long run stays a line and no carpet


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart.

    Attributes:
        name: shown in the key.
        colour: CSS colour, from a trusted source.
        xs: positions.
        ys: values; NaN is a gap.
        dashed: to tell lines of one colour apart.
    """

    name: str
    colour: str
    xs: Sequence[float]
    ys: Sequence[float]
    dashed: bool = False


def chart(
    title: str, lines: Sequence[Line], *, percent: bool = False, floor: float | None = 0.0, note: str = ""
) -> str:
    """Return a figure with a line chart, or nothing where no line has a value.

    Args:
        title: above it.
        lines: drawn in order.
        percent: whether values are shares, shown as percent.
        floor: lowest value of the axis, None for the lowest value.
        note: one sentence below it.
    """
    thinned = [(line, _thin(line)) for line in lines]
    points = [p for _, found in thinned for p in found]
    if not points:
        return ""
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    ticks = nice_ticks(min(y for _, y in points) if floor is None else floor, max(y for _, y in points))
    low, high = ticks[0], ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / (high_x - low_x) if high_x > low_x else 0.5
        up = (y - low) / (high - low)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_grid(ticks, place, low_x, percent=percent), _steps(low_x, high_x, place, low)]
    parts += [_drawn(line, [place(*p) for p in found]) for line, found in thinned if found]
    key = "".join(_key(line) for line, found in thinned if found)
    caption = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    return (
        f'<figure class="chart"><h3>{escape(title)}</h3><p class="key">{key}</p>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
        f"{caption}</figure>"
    )


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round values, evenly spaced, the first at most `low` and the last at least `high`."""
    span = max(high - low, 0.05 * abs(high)) or 1.0  # a line that hardly moves is no drama
    rough = span / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def short(value: float) -> str:
    """Return 950, 12.5k or 3M; 0.25."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= 10 * size or (abs(value) >= size and value % size == 0):
            return f"{value / size:.3g}{unit}"
    return f"{value:.4g}"


def _thin(line: Line) -> list[tuple[float, float]]:
    """Return the points that have a value, averaged in order where they are many."""
    points = [(x, y) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if len(points) <= _POINTS:
        return points
    edges = [round(k * len(points) / _POINTS) for k in range(_POINTS + 1)]
    groups = [points[a:b] for a, b in pairwise(edges)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _grid(ticks: Sequence[float], place: _Place, low_x: float, *, percent: bool) -> str:
    out = []
    for tick in ticks:
        _, y = place(low_x, tick)
        text = f"{100 * tick:.4g} %" if percent else short(tick)
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    return "".join(out)


def _steps(low: float, high: float, place: _Place, bottom: float) -> str:
    ticks = [t for t in nice_ticks(low, high, 4) if low - 1e-9 <= t <= high + 1e-9] if high > low else [low]
    out: list[str] = []
    for tick in ticks:
        x, y = place(tick, bottom)
        words = short(tick) if out else f"step {short(tick)}"
        out.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{words}</text>')
    return "".join(out)


def _drawn(line: Line, points: Sequence[tuple[float, float]]) -> str:
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{line.colour}"/>' for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>'
        f"{marks if len(points) <= 24 else ''}"
    )


def _key(line: Line) -> str:
    look = "dashed" if line.dashed else "solid"
    return f'<span><i style="border-top:3px {look} {line.colour}"></i>{escape(line.name)}</span>'
