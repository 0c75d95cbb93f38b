"""The parts of the page, each a piece of HTML, or nothing where a run has nothing to say about it."""

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from geosemi.report.chart import Line, chart, short
from geosemi.report.record import PALETTE, Record, number
from geosemi.report.tables import figure, matrix, percent, table

BLUE, RED, GREEN, ORANGE, VIOLET, TEAL, BROWN, GREY = PALETTE
_MEANING = {
    "low": "teacher unsure",
    "agreeing": "… and the opinion agrees",
    "conflicting": "… and it has one other class",
    "ambiguous": "… and it has several others",
    "silent": "… and it is silent",
    "dropped": "left out of the loss",
    "replaced": "label replaced",
    "passing_before": "pass the last filter, before",
    "passing_after": "pass the last filter, after",
    "refined_passing": "pass it now, unsure before",
    "changed": "training sees them differently",
}
_SHEETS = 4  # of panels; more would make the page heavy and tell no more
_PARTS = (("agreeing", GREEN), ("conflicting", RED), ("ambiguous", ORANGE), ("silent", GREY), ("dropped", BROWN))


def quality(run: Record) -> str:
    """Curves of the shipped network, of student and teacher, and of every class."""
    steps = run.validation.get("step", [])
    shipped = [Line("shipped network", BLUE, steps, run.validation.get("miou", []))] if steps else []
    each = [Line(c.name, c.colour, steps, run.validation.get(f"iou {c.name}", [])) for c in run.classes]
    names = {"student": ("student", GREEN), "teacher": ("teacher", BLUE), "model": ("network", BLUE)}
    peers = [
        Line(names[who][0], names[who][1], *run.course(ground, who, "miou"), dashed=ground == "training")
        for ground in ("validation", "training")
        for who in run.speakers(ground)
        if who in names
    ]
    pair = [Line(f"{p.name}, training ground" if p.dashed else p.name, p.colour, p.xs, p.ys, p.dashed) for p in peers]
    return _section(
        "How good it became",
        chart("Mean IoU, validation ground", shipped),
        chart("IoU by class, validation ground", [line for line in each if line.ys]),
        chart(
            "Mean IoU, audited chips",
            pair,
            note="Training ground: chips whose labels the run does not use. A few chips: a glimpse, no score.",
        ),
    )


def pseudo_labels(run: Record) -> str:
    """Curves and tables of pseudo-labels before and after purification, held against truth."""
    if "after" not in run.speakers("training"):
        return ""
    purified = run.mode not in (None, "off") and any(k.startswith("purify/") for k in run.metrics)
    who = [("before", "before", GREY), ("after", "after", RED)] if purified else [("after", "trusted", RED)]

    def course(what: str) -> list[Line]:
        return [Line(name, colour, *run.course("training", w, what)) for w, name, colour in who]

    networks = [
        Line(w, colour, *run.course("training", w, "miou")) for w, colour in (("student", GREEN), ("teacher", BLUE))
    ]
    return _section(
        "Are the pseudo-labels right?",
        chart("Right among the trusted pixels", course("precision"), percent=True, floor=None),
        chart("Share of pixels that is trusted", course("share"), percent=True),
        chart("Mean IoU of what they say", [*networks, *course("miou")]),
        _zones(run, who),
        _by_class(run, who),
        lead="Measured on training chips whose labels the run does not use; their truth is read for this page alone.",
    )


def panels(run: Record) -> str:
    """Pictures of a few training chips, and of what was believed of them."""
    told = run.summary.get("panels")
    if not isinstance(told, dict) or not run.panels:
        return ""
    columns = [str(c) for c in told.get("columns", [])]
    places = [str(p) for p in told.get("places", [])]
    if not columns or not places:
        return ""
    steps = sorted(run.panels)
    shown = (
        steps if len(steps) <= _SHEETS else [steps[round(k * (len(steps) - 1) / (_SHEETS - 1))] for k in range(_SHEETS)]
    )
    sheets = "".join(_sheet(step, run.panels[step], columns, places, last=step == shown[-1]) for step in shown)
    named = run.classes if run.coloured else ()  # no key is better than one with colours that the panels do not have
    key = "".join(f'<span><i style="background:{c.colour}"></i>{escape(c.name)}</span>' for c in named)
    return _section(
        "What the teacher believes",
        f'<div class="full"><p class="key boxes">{key}</p>{sheets}</div>',
        lead="A few training chips. Pale pixels are not trusted: nothing is learnt from them. Grey: no truth, or "
        "silence. Confidence runs from violet (0) to yellow (1).",
    )


def audit(run: Record) -> str:
    """Shares of pixels that purification met, and what it did to them."""
    steps = run.metrics.get("step", [])
    columns = {name.removeprefix("purify/"): ys for name, ys in run.metrics.items() if name.startswith("purify/")}
    if not columns:
        return ""

    def line(name: str, colour: str, label: str = "") -> Line:
        return Line(label or name, colour, steps, columns.get(name, [math.nan] * len(steps)))

    trust = [
        Line(c.name, c.colour, steps, run.metrics[f"trust/{k}"])
        for k, c in enumerate(run.classes)
        if f"trust/{k}" in run.metrics
    ]
    return _section(
        "What purification did",
        chart("The opinion where the teacher is unsure", [line(n, c) for n, c in _PARTS], percent=True),
        chart(
            "Pixels that pass the last filter",
            [line("passing_before", GREY, "before"), line("passing_after", RED, "after"), line("changed", VIOLET)],
            percent=True,
            note="Changed: training sees the pixel differently than without the opinion.",
        ),
        chart("Measured trust in the opinion", trust),
        _shares(run.summary.get("shares")),
        lead="Shares of the valid unlabelled pixels of a step.",
    )


def losses(run: Record) -> str:
    """Curves of the losses as they were minimised, and of the learning rate."""
    steps = run.metrics.get("step", [])
    silent = {"step", "lr", "trusted"}
    found = [n for n in run.metrics if n not in silent and "/" not in n]
    lines = [Line(n, PALETTE[k % len(PALETTE)], steps, run.metrics[n]) for k, n in enumerate(found)]
    trusted = [Line("trusted", RED, steps, run.metrics["trusted"])] if "trusted" in run.metrics else []
    return _section(
        "Losses",
        chart("Losses as they were minimised", lines),
        chart("Unlabelled pixels that were learnt from", trusted, percent=True),
    )


def scores(run: Record) -> str:
    """Figures of every class at the best step, and the confusion matrix."""
    best = run.facts.get("validation")
    if not isinstance(best, dict) or not isinstance(best.get("classes"), dict):
        return ""
    told = best["classes"]
    names = [
        c.name for c in run.classes if c.name in told
    ]  # bundles sort the names; the matrix is in the legend's order
    rows = []
    for name in names:
        figures = told[name] if isinstance(told[name], dict) else {}
        cells = [figure(figures.get(key)) for key in ("iou", "f1", "precision", "recall")]
        rows.append([name, *cells, f"{number(figures.get('truth')):,.0f}"])
    means = [figure(best.get(key)) for key in ("miou", "mf1", "mprecision", "mrecall")]
    rows.append(["mean", *means, ""])
    head = ["class", "IoU", "F1", "precision", "recall", "true pixels"]
    drawn = matrix(names, best.get("confusion"), across="prediction")
    return _section(
        "The best step, on the validation ground",
        f'<div class="half"><h3>Scores</h3>{table(head, rows)}</div>',
        f'<div class="half"><h3>Confusion, in percent of the truth</h3>{drawn}</div>' if drawn else "",
        lead=f"Step {short(number(run.facts.get('best_step')))}. It was chosen on this ground, so its scores flatter.",
    )


def confusions(run: Record) -> str:
    """Confusion matrices of the last pseudo-labels that were trusted."""
    measured = run.summary.get("measured")
    training = measured.get("training") if isinstance(measured, dict) else None
    counts = training.get("confusion") if isinstance(training, dict) else None
    if not isinstance(counts, dict) or "after" not in counts:
        return ""
    names = [c.name for c in run.classes]
    titles = {"before": "Before purification", "after": "After purification"}
    if counts.get("before") == counts.get("after"):
        titles = {"after": "Trusted pseudo-labels"}
    found = {who: matrix(names, counts.get(who), across="pseudo-label") for who in titles}
    drawn = [f'<div class="half"><h3>{titles[who]}</h3>{html}</div>' for who, html in found.items() if html]
    return _section("Confusion of the last pseudo-labels, training ground, in percent", *drawn)


def origin(run: Record) -> str:
    """Configuration, command and software."""
    rows = [["command", f"<code>{escape(str(run.facts['command']))}</code>"]] if "command" in run.facts else []
    blocks = [run.facts.get(k) for k in ("labelled_blocks", "train_blocks")]
    if all(isinstance(b, int) for b in blocks):
        rows.append(["labelled blocks", f"{blocks[0]} of {blocks[1]}"])
    if isinstance(heard := run.facts.get("opinions"), list) and heard:
        rows.append(["opinions", "<br>".join(escape(str(source)) for source in heard)])
    told = run.facts.get("software")
    software = [[str(k), escape(str(v))] for k, v in told.items()] if isinstance(told, dict) else []
    plain = "".join(f"<tr><th scope=row>{escape(k)}</th><td>{v}</td></tr>" for k, v in [*rows, *software])
    return _section(
        "How it came to be",
        f'<div class="half"><h3>Run and software</h3><div class="wide"><table class="facts">{plain}</table></div></div>'
        if plain
        else "",
        f'<div class="half"><h3>Configuration</h3><pre>{escape(run.config)}</pre></div>',
    )


def _zones(run: Record, who: Sequence[tuple[str, str, str]]) -> str:
    zones = {"all": "everywhere", "near": "near another class (3 px)", "inside": "farther inside"}
    rows = []
    for zone, words in zones.items():
        cells = [words]
        for w, _, _ in who:
            cells += [_last(run.course("training", w, what, zone)[1]) for what in ("share", "precision")]
        rows.append(cells)
    head = ["ground", *(f"{what} {name}".strip() for _, name, _ in who for what in ("share", "precision"))]
    return f'<div class="half"><h3>Near class boundaries, last audit</h3>{table(head, rows)}</div>'


def _by_class(run: Record, who: Sequence[tuple[str, str, str]]) -> str:
    rows = []
    for c in run.classes:
        cells = [c.name]
        for w, _, _ in who:
            cells += [_last(run.course("training", w, f"{what} {c.name}")[1]) for what in ("precision", "recall")]
        rows.append(cells)
    head = ["class", *(f"{what} {name}".strip() for _, name, _ in who for what in ("precision", "found"))]
    return f'<div class="half"><h3>Each class, last audit</h3>{table(head, rows)}</div>'


def _shares(told: object) -> str:
    if not isinstance(told, dict) or not all(isinstance(v, dict) for v in told.values()):
        return ""
    names = list(dict.fromkeys(name for shares in told.values() for name in shares))
    rows = [[_MEANING.get(name, name), *(percent(shares.get(name)) for shares in told.values())] for name in names]
    return f'<div class="half"><h3>Mean shares</h3>{table(["pixels", *map(str, told)], rows)}</div>'


def _sheet(step: int, png: bytes, columns: Sequence[str], places: Sequence[str], *, last: bool) -> str:
    """Return one sheet of panels; its pictures are windows on a single image, which lies in the page once."""
    name = f"s{step}"
    size = f"{100 * len(columns)}% {100 * len(places)}%"
    rule = f".{name} b{{background-image:url(data:image/png;base64,{b64encode(png).decode()});background-size:{size}}}"
    cells = []
    for row, place in enumerate(places):
        for col, column in enumerate(columns):
            x, y = (100 * at / max(1, count - 1) for at, count in ((col, len(columns)), (row, len(places))))
            label = escape(f"{column} of {place}")
            cells.append(f'<b role="img" aria-label="{label}" style="background-position:{x:.4f}% {y:.4f}%"></b>')
    heads = "".join(f"<span>{escape(c)}</span>" for c in columns)
    return (
        f"<style>{rule}</style><details{' open' if last else ''}><summary>after step {step:,}</summary>"
        f'<div class="wide"><div class="sheet {name}" style="--n:{len(columns)}">{heads}{"".join(cells)}</div></div>'
        "</details>"
    )


def _section(title: str, *parts: str, lead: str = "") -> str:
    """Return a section; its charts stand three in a row, tables and pictures two."""
    if not any(parts):
        return ""
    words = f"<p>{escape(lead)}</p>" if lead else ""
    charts = "".join(p for p in parts if p.startswith("<figure"))
    others = "".join(p for p in parts if not p.startswith("<figure"))
    rows = [f'<div class="{name}">{html}</div>' for name, html in (("charts", charts), ("parts", others)) if html]
    return f"<section><h2>{escape(title)}</h2>{words}{''.join(rows)}</section>"


def _last(values: Sequence[float]) -> str:
    return percent(values[-1]) if values else "–"


def facts(run: Record) -> Mapping[str, str]:
    """Return what stands at the top of the page, in a few words."""
    miou = run.validation.get("miou", [])
    best = max((v for v in miou if math.isfinite(v)), default=math.nan)
    out = {"best mean IoU, validation": figure(best), "steps": short(max(run.metrics["step"]) + 1)}
    for who, words in (("before", "pseudo-label precision before"), ("after", "pseudo-label precision after")):
        values = [v for v in run.course("training", who, "precision")[1] if math.isfinite(v)]
        if values and (who == "after" or "purify/changed" in run.metrics):
            out[words if "purify/changed" in run.metrics else "pseudo-label precision"] = _last(values)
    changed = [v for v in run.metrics.get("purify/changed", []) if math.isfinite(v)]
    if changed:
        out["pixels that purification changed"] = percent(sum(changed) / len(changed))
    return out
