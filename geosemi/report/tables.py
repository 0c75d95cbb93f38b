"""Tables and numbers as HTML; every text is escaped."""

import math
from collections.abc import Sequence
from html import escape
from typing import TypeGuard

from geosemi.report.record import number


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the first cell of a row names it."""
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(c)}</td>" for c in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def matrix(names: Sequence[str], counts: object, *, across: str) -> str:
    """Return a confusion matrix as a table: a row is a true class, its cells sum to 100 %.

    Nothing where `counts`, as read from a file, is no matrix of that size, or counts nothing.
    """
    if not _is_matrix(counts, len(names)) or not any(map(any, counts)):
        return ""
    head = "".join(f'<th scope="col"><span>{escape(n)}</span></th>' for n in names)
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row)
        cells = "".join(_cell(c / total if total else 0.0, c) for c in row)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="matrix"><thead><tr><td class="corner">truth ↓ {escape(across)} →</td>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def percent(value: object) -> str:
    """Return a share as percent, a dash for what is no number."""
    share = number(value)
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"


def figure(value: object) -> str:
    """Return three digits, a dash for what is no number."""
    found = number(value)
    return f"{found:.3f}" if math.isfinite(found) else "–"


def _is_matrix(counts: object, side: int) -> TypeGuard[list[list[int]]]:
    return (
        isinstance(counts, list)
        and len(counts) == side
        and all(isinstance(r, list) and len(r) == side and all(isinstance(c, int) for c in r) for r in counts)
    )


def _cell(share: float, count: int) -> str:
    dark = ' class="dark"' if share > 0.55 else ""
    shade = f"rgba(42,111,151,{min(1.0, share):.2f})"
    return (
        f'<td{dark} style="background:{shade}" title="{count:,} pixels">{100 * share:.1f}</td>'
        if count
        else "<td></td>"
    )
