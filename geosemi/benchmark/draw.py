"""Pictures of a benchmark as SVG that needs no style sheet and no script; every text is escaped."""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from textwrap import wrap

from geosemi.benchmark.summary import Row, Sheet, sentences, unfinished
from geosemi.report.chart import nice_ticks

_FONT = "font-family='system-ui,sans-serif' font-size='13'"
_INK, _SOFT, _LINE, _BLUE, _RED = "#1d2b33", "#5b6b75", "#d9e0e4", "#2a6f97", "#d1495b"
_LETTER, _CAPTION = 7.8, 18  # width of a letter in a wide font, height of a line below a picture
_PANEL_WIDTH, _PANEL_HEIGHT, _COLUMNS = 250, 170, 4


def dots(sheet: Sheet) -> str:
    """Return a row for each arm: a dot for each seed, the mean as a line, ± standard deviation as a bar."""
    labels = [sheet.label(row) for row in sheet.rows]
    left, row_height, top = max(190, _room(labels)), 26, 34
    captions = ["mIoU in percent; a dot is a seed, the red line their mean, the bar ± one standard deviation"]
    captions += [*_on_ground([sheet]), *_lines(unfinished(sheet))]
    width = max(570 + left, _room(captions))
    height = top + row_height * len(sheet.rows) + 30 + _CAPTION * len(captions)
    values = _extent(sheet)
    if not values:
        return ""
    ticks = nice_ticks(min(values), max(values), 6)

    def across(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (width - left - 24)

    bottom = top + row_height * len(sheet.rows)
    parts = [_text(12, 20, sheet.title, weight="600")]
    for tick in ticks:
        parts.append(_line(across(tick), top, across(tick), bottom, _LINE))
        parts.append(_text(across(tick), bottom + 18, f"{tick:g}", colour=_SOFT, anchor="middle"))
    base = next((row for row in sheet.rows if row.arm == sheet.baseline), None)
    if base is not None and not math.isnan(base.mean[0]):
        x = across(100 * base.mean[0])
        parts.append(_line(x, top, x, bottom, _SOFT, dash="4 3"))
    for number, (row, label) in enumerate(zip(sheet.rows, labels, strict=True)):
        y = top + row_height * (number + 0.5)
        parts += [_text(left - 12, y + 4, label, anchor="end"), _dotted(row, y, across)]
    parts += [_text(12, bottom + 40 + _CAPTION * n, words, colour=_SOFT) for n, words in enumerate(captions)]
    return _svg(width, height, f"mIoU of every seed: {sheet.title}", parts)


def over_ratio(found: Sequence[Sheet]) -> str:
    """Return a panel for each arm: mIoU over the share of labels, its spread as a band, the baseline in grey.

    Args:
        found: sheets of one data set; nothing is drawn for a single ratio.
    """
    ratios = sorted({sheet.ratio for sheet in found if sheet.rows})
    arms = list(dict.fromkeys(row.arm for sheet in found for row in sheet.rows))
    values = [v for sheet in found for v in _extent(sheet)]
    if len(ratios) < 2 or not values:
        return ""
    ticks = nice_ticks(min(values), max(values), 4)
    baseline = found[0].baseline
    shown = [arm for arm in arms if arm != baseline] or arms
    columns = min(_COLUMNS, len(shown))
    against = f"; grey: {baseline}" if baseline is not None else ""
    captions = [f"mIoU in percent over percent of labels; band: ± one standard deviation over seeds{against}"]
    captions += [*_on_ground(found), *_lines(f"{s.ratio:g} %: {told}" for s in found for told in unfinished(s))]
    marked = {arm: max((s.label(r) for s in found for r in s.rows if r.arm == arm), key=len) for arm in shown}
    across = max(_PANEL_WIDTH, 30 + _room(marked.values()))
    width, bottom = max(20 + columns * across, _room(captions)), 32 + -(-len(shown) // columns) * _PANEL_HEIGHT
    warning = "; ".join(dict.fromkeys(sheet.warning for sheet in found if sheet.warning))
    title = f"{found[0].dataset}: mIoU over the share of labels{f' – {warning}' if warning else ''}"
    parts = [_text(12, 20, title, weight="600")]
    for number, arm in enumerate(shown):
        x, y = 20 + number % columns * across, 36 + number // columns * _PANEL_HEIGHT
        panel = _Panel(x + 34, y + 18, across - 54, _PANEL_HEIGHT - 52, ratios, ticks)
        parts += [_text(x + 34, y + 10, marked[arm]), panel.frame()]
        apart = any(row.apart for _, row in _course(found, arm))  # beside it the baseline would invite a comparison
        if baseline is not None and baseline != arm and not apart:
            parts.append(panel.course(_course(found, baseline), _SOFT, band=False))
        parts.append(panel.course(_course(found, arm), _BLUE, band=True))
    parts += [_text(20, bottom + _CAPTION * (n + 1), words, colour=_SOFT) for n, words in enumerate(captions)]
    return _svg(width, bottom + 10 + _CAPTION * len(captions), title, parts)


def _room(texts: Iterable[str]) -> float:
    """Return how wide a picture must be for each of some texts to stand in it, with a margin."""
    return 24 + _LETTER * max(map(len, texts), default=0)


def _on_ground(found: Sequence[Sheet]) -> list[str]:
    """Return what is scored, in words for a caption."""
    told = [words for sheet in found for words in sentences(sheet, lambda footing: [footing.brief])]
    return _lines(f"scored: {words}" for words in dict.fromkeys(told))


def _lines(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in wrap(text, 90)]


class _Panel:
    """One small chart."""

    def __init__(
        self, x: float, y: float, width: float, height: float, ratios: Sequence[float], ticks: Sequence[float]
    ) -> None:
        self._x, self._y, self._width, self._height = x, y, width, height
        self._ratios, self._ticks = ratios, ticks

    def _place(self, ratio: float, value: float) -> tuple[float, float]:
        # ratios stand evenly: 1, 5 and 10 % would crowd on the left of a linear axis
        across = self._ratios.index(ratio) / (len(self._ratios) - 1)
        up = (value - self._ticks[0]) / (self._ticks[-1] - self._ticks[0])
        return self._x + across * self._width, self._y + (1 - up) * self._height

    def frame(self) -> str:
        """Return grid and numbers."""
        parts = []
        for tick in self._ticks:
            _, y = self._place(self._ratios[0], tick)
            parts.append(_line(self._x - 4, y, self._x + self._width + 4, y, _LINE))
            parts.append(_text(self._x - 8, y + 4, f"{tick:g}", colour=_SOFT, anchor="end"))
        for ratio in self._ratios:
            x, y = self._place(ratio, self._ticks[0])
            parts.append(_text(x, y + 16, f"{ratio:g} %", colour=_SOFT, anchor="middle"))
        return "".join(parts)

    def course(self, rows: Sequence[tuple[float, Row]], colour: str, *, band: bool) -> str:
        """Return a line through the means, its band, and a dot for each seed."""
        known = [(ratio, row) for ratio, row in rows if not math.isnan(row.mean[0])]
        if not known:
            return ""
        parts = []
        if band:
            spread = [(r, 100 * row.mean[0], 100 * (0 if math.isnan(row.mean[1]) else row.mean[1])) for r, row in known]
            edge = [self._place(r, m + s) for r, m, s in spread] + [self._place(r, m - s) for r, m, s in spread[::-1]]
            parts.append(f"<polygon points='{_points(edge)}' fill='{colour}' opacity='.18'/>")
        line = [self._place(ratio, 100 * row.mean[0]) for ratio, row in known]
        dash = "" if band else " stroke-dasharray='4 3'"
        parts.append(f"<polyline points='{_points(line)}' fill='none' stroke='{colour}' stroke-width='2'{dash}/>")
        if band:
            each = [self._place(ratio, 100 * v) for ratio, row in known for v in row.miou if not math.isnan(v)]
            parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}' opacity='.7'/>" for x, y in each]
        return "".join(parts)


def _extent(sheet: Sheet) -> list[float]:
    """Return all that a picture must have room for, in percent."""
    edges = [row.mean[0] + sign * row.mean[1] for row in sheet.rows for sign in (-1, 1)]
    return [100 * v for v in (*(v for row in sheet.rows for v in row.miou), *edges) if not math.isnan(v)]


def _course(found: Sequence[Sheet], arm: str) -> list[tuple[float, Row]]:
    return [(s.ratio, row) for s in sorted(found, key=lambda s: s.ratio) for row in s.rows if row.arm == arm]


def _dotted(row: Row, y: float, across: Callable[[float], float]) -> str:
    parts = []
    mean, deviation = (100 * v for v in row.mean)
    if not math.isnan(deviation):
        x, width = across(mean - deviation), across(mean + deviation) - across(mean - deviation)
        parts.append(
            f"<rect x='{x:.1f}' y='{y - 5:.1f}' width='{width:.1f}' height='10' fill='{_BLUE}' opacity='.15'/>"
        )
    for seed, value in zip(row.seeds, row.miou, strict=True):
        if not math.isnan(value):
            told = f"<title>seed {seed}: {100 * value:.1f}</title>"
            x = across(100 * value)
            parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4.5' fill='{_BLUE}' opacity='.75'>{told}</circle>")
    if not math.isnan(mean):
        parts.append(_line(across(mean), y - 10, across(mean), y + 10, _RED, width=2.5))
    return "".join(parts)


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1, dash: str = "") -> str:
    look = f" stroke-dasharray='{dash}'" if dash else ""
    place = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line {place} stroke='{colour}' stroke-width='{width}'{look}/>"


def _text(x: float, y: float, text: str, *, colour: str = _INK, anchor: str = "start", weight: str = "400") -> str:
    look = f"fill='{colour}' text-anchor='{anchor}' font-weight='{weight}'"
    # the page that it may stand in has a style of its own for text in pictures
    return f"<text x='{x:.1f}' y='{y:.1f}' {look} style='font-size:13px;fill:{colour}'>{escape(text)}</text>"


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' width='{width:g}' "
        f"height='{height:g}' role='img' aria-label='{escape(title, quote=True)}' {_FONT}>"
        f"<rect width='100%' height='100%' fill='#ffffff'/>{''.join(parts)}</svg>"
    )
