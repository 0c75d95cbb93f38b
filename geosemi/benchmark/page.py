"""A benchmark as one HTML page that needs nothing else: no script, no network, charts inside."""

import re
from collections.abc import Sequence
from html import escape

from geosemi import __version__
from geosemi.benchmark.draw import dots, over_ratio
from geosemi.benchmark.published import READ_WITH_CARE, Printed
from geosemi.benchmark.summary import Sheet, notes
from geosemi.benchmark.tables import cells, published_cells
from geosemi.report.page import document
from geosemi.report.tables import table

_NAME = re.compile("`([^`]+)`")
_STYLE = """
ul.notes{margin:10px 0 0;padding-left:20px;color:var(--soft);font-size:.88rem;max-width:110ch}
.printed td{white-space:normal;text-align:left;min-width:9ch}
.printed thead th{text-align:left}
.plot{overflow-x:auto}
.plot svg{width:auto;max-width:100%}
.full table{font-size:.8rem}
.full th,.full td{padding:4px 7px}
"""


def _quoted(text: str) -> str:
    return _NAME.sub(r"<code>\1</code>", escape(text))


def page(title: str, found: Sequence[Sheet], printed: dict[str, list[Printed]], *, done: int, planned: int) -> str:
    """Return the page.

    Args:
        title: of the benchmark.
        found: its sheets.
        printed: published numbers by data set; they stand in sections of their own.
        done: runs that are done.
        planned: runs in all.
    """
    body = "".join(
        _of_dataset(d, [s for s in found if s.dataset == d]) for d in dict.fromkeys(s.dataset for s in found)
    )
    body += "".join(_published(d, rows, sorted({s.ratio for s in found})) for d, rows in printed.items())
    warnings = (
        [f"unfinished: {done} of {planned} runs are done; what is missing stands below each table"]
        if done < planned
        else []
    )
    warnings += [
        f"{d}: {w}; scores are optimistic" for d, w in sorted({(s.dataset, s.warning) for s in found if s.warning})
    ]
    boxes = "".join(f'<p class="warning" role="alert"><b>Warning:</b> {escape(w)}</p>' for w in warnings)
    header = f"<header><h1>{escape(title)}</h1><p>{done} runs</p>{boxes}</header>"
    footer = f"<footer>geosemi {escape(__version__)}</footer>"
    return document(title, f"{header}<main>{body}</main>{footer}", style=_STYLE)


def _of_dataset(dataset: str, found: Sequence[Sheet]) -> str:
    curves = over_ratio(found)
    parts = [f'<div class="full plot">{curves}</div>'] if curves else []
    for sheet in found:
        told = "".join(f"<li>{_quoted(n)}</li>" for n in notes(sheet))
        parts.append(
            f'<div class="full"><h3>{escape(sheet.title)}</h3>{table(*cells(sheet))}<ul class="notes">{told}</ul></div>'
        )
        if picture := dots(sheet):
            parts.append(f'<div class="full plot">{picture}</div>')
    return f'<section><h2>{escape(dataset)}</h2><div class="parts">{"".join(parts)}</div></section>'


def _published(dataset: str, rows: Sequence[Printed], ratios: Sequence[float]) -> str:
    return (
        f"<section><h2>What papers print for {escape(dataset)}</h2><p>{escape(READ_WITH_CARE)}</p>"
        f'<div class="parts"><div class="full printed">{table(*published_cells(rows, ratios))}</div></div></section>'
    )
