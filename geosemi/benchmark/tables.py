"""Sheets as Markdown and LaTeX; the same cells in both."""

import math
from collections.abc import Iterable, Sequence

from geosemi.benchmark.published import READ_WITH_CARE, Printed
from geosemi.benchmark.stats import mean_and_spread
from geosemi.benchmark.summary import Row, Sheet, Spread, notes

Cells = tuple[list[str], list[list[str]]]
_DASH = "–"
_TEXTS = ("network", "mean of", "split", "source", "caveat")  # columns of words, to the left as their headings


def cells(sheet: Sheet) -> Cells:
    """Return head and rows of a sheet; the best mean of a column is not marked, because seeds are few."""
    head = ["arm", "seeds", "mIoU", "gain", "p", "p(t)", "OA", *sheet.classes, "s / step"]
    return head, [_cells(row, sheet) for row in sheet.rows]


def published_cells(printed: Sequence[Printed], ratios: Sequence[float]) -> Cells:
    """Return head and rows of what papers print: one row for each method, with all that qualifies it."""
    shown = sorted({p.ratio for p in printed} | set(ratios))
    shown = [r for r in shown if any(p.ratio == r for p in printed)]
    head = ["paper's method", *(f"{r:g} %" for r in shown), *_TEXTS]
    rows = []
    for name in dict.fromkeys(p.name for p in printed):
        mine = [p for p in printed if p.name == name]
        values = {p.ratio: f"{p.miou:.2f}" for p in mine}
        told = [mine[0].network, _joined(p.protocol for p in mine), mine[0].split, _joined(p.source for p in mine)]
        caveat = _joined(f"{p.ratio:g} %: {p.caveat}" if _partial(p, mine) else p.caveat for p in mine if p.caveat)
        rows.append([name, *(values.get(r, _DASH) for r in shown), *told, caveat])
    return head, rows


def markdown(title: str, found: Sequence[Sheet], printed: dict[str, list[Printed]]) -> str:
    """Return all sheets as Markdown, the published numbers of their data sets apart from them."""
    parts = [f"# {title}"]
    for sheet in found:
        parts += [f"## {sheet.title}", _markdown_table(*cells(sheet)), "\n".join(f"- {n}" for n in notes(sheet))]
    for dataset, rows in printed.items():
        parts += [f"## What papers print for {dataset}", READ_WITH_CARE]
        parts.append(_markdown_table(*published_cells(rows, sorted({s.ratio for s in found}))))
    return "\n\n".join(parts) + "\n"


def latex(title: str, found: Sequence[Sheet], printed: dict[str, list[Printed]]) -> str:
    """Return all sheets as LaTeX tables for `booktabs`."""
    parts = [f"% {_one_line(title)}: needs \\usepackage{{booktabs}}"]
    for number, sheet in enumerate(found):
        caption = f"{title}: {sheet.title}. {' '.join(notes(sheet))}"
        parts.append(_latex_table(*cells(sheet), caption=caption, label=f"tab:benchmark-{number + 1}"))
    for dataset, rows in printed.items():
        caption = f"What papers print for {dataset}. {READ_WITH_CARE}"
        head, body = published_cells(rows, sorted({s.ratio for s in found}))
        parts.append(_latex_table(head, body, caption=caption, label=f"tab:published-{dataset}", texts=len(_TEXTS)))
    return "\n\n".join(parts) + "\n"


def spread(value: Spread, *, sign: str = "") -> str:
    """Return percent as `48.5 ± 2.0`, without the spread of a single value, a dash for no value."""
    mean, deviation = (100 * v for v in value)
    if math.isnan(mean):
        return _DASH
    return f"{mean:{sign}.1f}".replace("-", "−") + ("" if math.isnan(deviation) else f" ± {deviation:.1f}")


def _cells(row: Row, sheet: Sheet) -> list[str]:
    gain = spread(mean_and_spread(row.gain), sign="+") if row.gain else _DASH
    classes = [spread(row.iou.get(c, (math.nan, math.nan))) for c in sheet.classes]
    seconds = _DASH if math.isnan(row.seconds) else f"{row.seconds:.3g}"
    tests = [_DASH if math.isnan(p) else f"{p:.3f}" if p >= 0.0005 else "< .001" for p in (row.p_flip, row.p_t)]
    return [sheet.label(row), str(len(row.seeds)), spread(row.mean), gain, *tests, spread(row.oa), *classes, seconds]


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_marked, line))} |" for line in lines)


def _marked(text: str) -> str:
    """Keep a name from ending a cell, or from being HTML."""
    return _one_line(text).replace("|", "\\|").replace("<", "&lt;")


def _latex_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, label: str, texts: int = 0
) -> str:
    columns = f"l{'r' * (len(head) - 1 - texts)}{'l' * texts}"
    body = [" & ".join(map(_escaped, row)) + r" \\" for row in rows]
    lines = [
        r"\begin{table}", r"\centering", r"\small", f"\\begin{{tabular}}{{{columns}}}", r"\toprule",
        " & ".join(map(_escaped, head)) + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}",
        f"\\caption{{{_escaped(caption)}}}", f"\\label{{{label}}}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines)


def _escaped(text: str) -> str:
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    special |= {
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
        "τ": r"$\tau$",
        "≥": r"$\geq$",
        "−": r"$-$",
        "<": r"$<$",
        ">": r"$>$",
        "·": r"$\cdot$",
        "`": "'",
    }
    return "".join(special.get(c, c) for c in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(t for t in texts if t))


def _partial(one: Printed, mine: Sequence[Printed]) -> bool:
    return any(p.caveat != one.caveat for p in mine)
