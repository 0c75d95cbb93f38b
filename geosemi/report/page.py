"""A run folder → one HTML page that needs nothing else: no script, no network, pictures and charts inside."""

from html import escape
from pathlib import Path

from geosemi import __version__
from geosemi.geo.commit import write_files
from geosemi.report import sections
from geosemi.report.record import Record

# nothing may be fetched or run, whatever a name in the run folder contains
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root{color-scheme:light;--ink:#1d2b33;--soft:#5b6b75;--line:#d9e0e4;--blue:#2a6f97}
*{box-sizing:border-box}
body{margin:0;background:#f4f6f7;color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,section,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:1.7rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0 0 4px}
h3{font-size:1rem;margin:0 0 6px}
p{margin:0 0 12px;color:var(--soft);max-width:100ch}
section{margin-top:34px}
.parts,.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:16px}
.charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr))}
.charts+.parts{margin-top:16px}
.chart,.half,.full{margin:0;background:#fff;border:1px solid var(--line);border-radius:8px;padding:14px 16px}
.chart,.half,.full{min-width:0}
.full{grid-column:1/-1}
svg{display:block;width:100%;height:auto}
svg text{font:14px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--line)}
.key{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.85rem;margin:0 0 6px;color:var(--ink)}
.key i{display:inline-block;width:20px;margin-right:6px;vertical-align:middle}
.boxes i{width:13px;height:13px;border:1px solid #0004;border-radius:3px}
.key span,figcaption{overflow-wrap:anywhere}
figcaption{font-size:.85rem;color:var(--soft)}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0 0;padding:0;list-style:none}
.cards li{background:#fff;border:1px solid var(--line);border-radius:8px;padding:10px 16px}
.cards strong{display:block;font-size:1.45rem;line-height:1.25}
.cards span{font-size:.85rem;color:var(--soft)}
.warning{background:#fff3cd;border:2px solid #d39e00;border-radius:8px;padding:12px 16px;margin:18px 0 0;color:#533f03;
max-width:none;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;border-bottom:1px solid var(--line)}
td{white-space:nowrap}
th[scope=row]{text-align:left;font-weight:500;max-width:24ch;overflow-wrap:break-word}
thead th{vertical-align:bottom;color:var(--soft);font-weight:600}
thead th:first-child{text-align:left}
.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}
.matrix td{min-width:46px;text-align:center;padding:6px 4px;border:1px solid #fff}
.matrix td.dark{color:#fff}
.matrix td.corner{text-align:left;white-space:normal;color:var(--soft);font-size:.8rem}
.matrix thead th{text-align:center;padding:4px;max-width:11ch;overflow-wrap:break-word}
.sheet{display:grid;grid-template-columns:repeat(var(--n),minmax(84px,1fr));gap:6px;max-width:calc(var(--n)*150px)}
.sheet span{font-size:.8rem;color:var(--soft);align-self:end}
.sheet b{aspect-ratio:1;background-repeat:no-repeat;image-rendering:pixelated;border-radius:3px;
print-color-adjust:exact;-webkit-print-color-adjust:exact}
details{margin-top:8px}
summary{cursor:pointer;font-weight:600}
pre{margin:0;font-size:.8rem;overflow:auto;max-height:520px}
code{font-size:.85rem}
footer{padding:28px 20px 40px;font-size:.85rem;color:var(--soft)}
@media (max-width:560px){header,section{padding-left:12px;padding-right:12px}.chart,.half,.full{padding:12px}}
"""


def write_report(folder: Path, out: Path) -> None:
    """Write the page of a run.

    Args:
        folder: the run folder, of any method, finished or not.
        out: the page, an `.html`.

    Raises:
        InputError: the folder holds no run.
        OutputError: the page cannot be written.
    """
    write_files({out: page(Record.read(folder)).encode()})


def page(run: Record) -> str:
    """Return the page of a run; parts that do not apply to its method are left out."""
    parts = (
        sections.quality, sections.scores, sections.pseudo_labels, sections.panels, sections.confusions,
        sections.audit, sections.losses, sections.origin,
    )  # fmt: skip
    body = "".join(part(run) for part in parts)
    return document(run.name, f"{_header(run)}<main>{body}</main><footer>geosemi {escape(__version__)}</footer>")


def document(title: str, body: str, *, style: str = "") -> str:
    """Return a whole page that can neither fetch nor run anything.

    Args:
        title: plain text.
        body: HTML, its texts escaped.
        style: rules beside those of all pages.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} – geosemi</title><style>{_STYLE}{style}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def _header(run: Record) -> str:
    purified = f", purification {run.mode}" if run.mode not in (None, "off") else ""
    words = f"{run.method} with {run.model}{purified}"
    cards = "".join(
        f"<li><strong>{escape(value)}</strong><span>{escape(name)}</span></li>"
        for name, value in sections.facts(run).items()
    )
    warnings = [str(run.summary["warning"])] if run.summary.get("warning") else []
    if not run.facts:
        warnings.append("this run is not finished: some parts are missing")
    boxes = "".join(f'<p class="warning" role="alert"><b>Warning:</b> {escape(w)}</p>' for w in warnings)
    return f'<header><h1>{escape(run.name)}</h1><p>{escape(words)}</p>{boxes}<ul class="cards">{cards}</ul></header>'
