"""The page of a run: whole, safe, and of every method, finished or not."""

import base64
import io
import json
import math
import re
import shutil
from html.parser import HTMLParser

import pytest
import scenery
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from geosemi.cli.main import app
from geosemi.errors import InputError
from geosemi.report.chart import Line, chart, nice_ticks, short
from geosemi.report.page import page, write_report
from geosemi.report.record import Record
from geosemi.report.tables import matrix
from geosemi.train.run import train

VOID = {"meta", "br", "img", "line", "circle", "polyline", "link"}
HOSTILE = '</style><script src="https://evil.example/x.js">alert(1)</script><img src=x onerror=y>&"\''


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts, self.styles = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.styles if self.open and self.open[-1] == "style" else self.texts).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def assert_self_contained(text: str) -> Page:
    found = Page(text)
    assert not {"script", "img", "link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"href", "src", "srcset", "action", "data"}, (tag, name, value)
        if name not in {"aria-label", "title"}:  # words, wherever they come from
            assert "url(" not in value
            assert "://" not in value
    css = "".join(found.styles)
    assert css.count("url(") == css.count("url(data:image/png;base64,")
    assert "@import" not in css
    assert "://" not in css
    policy = [v for t, n, v in found.attributes if (t, n) == ("meta", "content") and "default-src" in v]
    assert policy == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("country"), side=96, opinions=True)


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory):
    """A run of each method, and one in mode `released`."""
    folder = tmp_path_factory.mktemp("runs")
    methods = {name: name for name in ("supervised", "mean_teacher", "fixmatch")}
    methods["semiearth"] = {"name": "semiearth", "threshold": 0.55, "purify": {"trust": "measured"}}
    methods["released"] = {"name": "semiearth", "purify": {"mode": "released"}}
    for name, method in methods.items():
        train(scenery.run_settings(root, method, train={"steps": 4, "validate_every": 2}), folder / name)
    return folder


@pytest.mark.parametrize("name", ["supervised", "mean_teacher", "fixmatch", "semiearth", "released"])
def test_a_page_of_every_method(runs, name):
    found = assert_self_contained(page(Record.read(runs / name)))
    for part in ("How good it became", "The best step", "Losses", "How it came to be", "What the teacher believes"):
        assert part in found.text
    pseudo, purified = name not in {"supervised", "mean_teacher"}, name in {"semiearth", "released"}
    assert ("Are the pseudo-labels right?" in found.text) == pseudo
    assert ("What purification did" in found.text) == purified
    assert ("Measured trust in the opinion" in found.text) == (name == "semiearth")
    assert ("Warning:" in found.text) == (name == "released")
    assert "steps: 4" in found.text  # the configuration
    assert "torch" in found.text
    for c in scenery.NAMES:
        assert c in found.text
    assert found.tags.count("details") == 2  # a sheet of panels for each validation
    pictures = 2 * 4 * len(Record.read(runs / name).summary["panels"]["columns"])
    assert found.tags.count("b") == pictures + ("Warning:" in found.text)


def test_the_released_page_says_what_is_wrong_at_the_top(runs):
    text = Page(page(Record.read(runs / "released"))).text
    assert "purification changed nothing that training saw in 4 steps" in text
    assert text.index("changed nothing") < text.index("How good it became")


def test_numbers_are_those_of_the_run(runs):
    record = Record.read(runs / "semiearth")
    text = Page(page(record)).text
    best = json.loads((runs / "semiearth" / "run.json").read_text())
    assert f"{best['best_miou']:.3f} best mean IoU" in text
    for name, figures in best["validation"]["classes"].items():
        assert f"{name} {figures['iou']:.3f} {figures['f1']:.3f} {figures['precision']:.3f}" in text
    _, precision = record.course("training", "after", "precision")
    assert f"{100 * precision[-1]:.1f} % pseudo-label precision after" in text


def test_scores_and_matrix_stand_in_the_order_of_the_legend(runs):
    """A bundle's card sorts its keys; the rows of the matrix are in the legend's order."""
    text = Page(page(Record.read(runs / "semiearth"))).text
    scores = text[text.index("Scores") : text.index("Confusion, in percent")]
    assert [scores.index(f"{n} ") for n in scenery.NAMES] == sorted(scores.index(f"{n} ") for n in scenery.NAMES)
    counts = json.loads((runs / "semiearth" / "run.json").read_text())["validation"]["confusion"]
    assert matrix(scenery.NAMES, counts, across="prediction") in page(Record.read(runs / "semiearth"))


def test_panels_lie_in_the_page(runs):
    css = "".join(Page(page(Record.read(runs / "semiearth"))).styles)
    pictures = [part.split(")")[0] for part in css.split("base64,")[1:]]
    files = sorted((runs / "semiearth" / "panels").iterdir())
    assert [base64.b64decode(p) for p in pictures] == [f.read_bytes() for f in files]
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).format == "PNG"


@pytest.fixture
def copy(runs, tmp_path):
    return shutil.copytree(runs / "semiearth", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))


def test_a_run_that_is_not_finished_has_a_page(copy):
    for name in ("run.json", "audit.json", "validation.png"):
        (copy / name).unlink()
    found = assert_self_contained(page(Record.read(copy)))
    assert "this run is not finished" in found.text
    assert "Are the pseudo-labels right?" in found.text
    assert "The best step" not in found.text
    shutil.rmtree(copy / "panels")
    for name in ("audit.csv", "validation.csv"):
        (copy / name).unlink()
    assert "Losses" in assert_self_contained(page(Record.read(copy))).text


def key_of(folder) -> list[str]:
    return re.findall(r'<i style="background:(#[0-9a-f]{6})"></i>', page(Record.read(folder)).split('"key boxes"')[1])


def test_the_key_has_the_colours_of_the_panels_or_is_left_out(copy):
    """A run that was stopped has no run.json; the key showed colours of the charts then."""
    colours = [c.colour for c in scenery.LEGEND]
    assert key_of(copy) == colours
    (copy / "run.json").unlink()
    assert key_of(copy) == colours
    summary = json.loads((copy / "audit.json").read_text())
    summary["classes"][0]["colour"] = "red"
    (copy / "audit.json").write_text(json.dumps(summary))
    assert key_of(copy) == []
    del summary["classes"]  # an older version
    (copy / "audit.json").write_text(json.dumps(summary))
    assert key_of(copy) == []
    assert [c.name for c in Record.read(copy).classes] == list(scenery.NAMES)


def test_hostile_names_are_text(copy, tmp_path):
    for name in ("run.json", "audit.json", "config.yaml", "validation.csv", "audit.csv", "metrics.csv"):
        text = (copy / name).read_text()
        if name.endswith(".json"):
            hostile = json.dumps(HOSTILE)[1:-1]
        else:
            hostile = f"{HOSTILE.replace(chr(34), chr(34) * 2)}" if name.endswith(".csv") else HOSTILE
        quoted = text.replace("roof", hostile).replace("a@", f"{hostile}@")
        if name.endswith(".csv"):
            head, rest = quoted.split("\n", 1)
            cells = [f'"{c}"' for c in head.strip().split(",")] if HOSTILE[:8] in head else head.strip().split(",")
            quoted = ",".join(cells) + "\n" + rest
        (copy / name).write_text(quoted)
    facts = json.loads((copy / "run.json").read_text())
    facts["command"] = facts["software"]["torch"] = HOSTILE
    facts["classes"][0]["colour"] = "red;background:url(https://evil.example)"
    (copy / "run.json").write_text(json.dumps(facts))
    summary = json.loads((copy / "audit.json").read_text())
    summary["warning"] = HOSTILE
    summary["panels"]["columns"][1] = summary["panels"]["places"][0] = HOSTILE
    (copy / "audit.json").write_text(json.dumps(summary))
    evil = copy.rename(tmp_path / "run<script>")
    found = assert_self_contained(page(Record.read(evil)))
    assert "run<script>" in found.text
    assert found.text.count("alert(1)") >= 6
    assert "evil.example)" not in "".join(found.styles)


@pytest.mark.parametrize("damage", [
    {"validation": 3}, {"validation": {"classes": {"roof": 1}, "confusion": "no"}}, {"classes": "no"}, {"software": []},
    {"validation": {"classes": {"roof": {"iou": None}}, "confusion": [[1, 2]]}}, {"labelled_blocks": "<b>"},
])  # fmt: skip
def test_damaged_facts_are_left_out(copy, damage):
    facts = json.loads((copy / "run.json").read_text()) | damage
    (copy / "run.json").write_text(json.dumps(facts))
    assert "Losses" in assert_self_contained(page(Record.read(copy))).text


@pytest.mark.parametrize("damage", [
    {"panels": 1}, {"panels": {"columns": [], "places": []}}, {"measured": {"training": {"confusion": {"after": 1}}}},
    {"shares": [1]}, {"shares": {"run": {"low": "x"}}}, {"measured": 0},
])  # fmt: skip
def test_a_damaged_summary_is_left_out(copy, damage):
    (copy / "audit.json").write_text(json.dumps(json.loads((copy / "audit.json").read_text()) | damage))
    assert "Losses" in assert_self_contained(page(Record.read(copy))).text


def test_files_that_only_call_themselves_pictures_stay_out(copy):
    (copy / "panels" / "step-00000002.png").write_bytes(b"<svg onload=alert(1)>")
    (copy / "panels" / "step-x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert set(Record.read(copy).panels) == {4}


def test_the_command(runs, tmp_path):
    run = CliRunner().invoke
    done = run(app, ["report", str(runs / "fixmatch")])
    assert (done.exit_code, done.output) == (0, f"page     {runs / 'fixmatch' / 'report.html'}\n")
    first = (runs / "fixmatch" / "report.html").read_bytes()
    again = run(app, ["report", str(runs / "fixmatch")])
    assert "exists" in str(again.exception)
    assert run(app, ["report", str(runs / "fixmatch"), "--out", str(tmp_path / "a.html")]).exit_code == 0
    assert (tmp_path / "a.html").read_bytes() == first
    assert run(app, ["report", str(runs / "fixmatch"), "--overwrite"]).exit_code == 0


def test_annotate_train_report_as_somebody_new_would(tmp_path, root, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(root, "mine", ignore=shutil.ignore_patterns("opinions"))
    opinions = "--legend mine/legend.yaml --out mine/opinions --provider layer --layer mine/labels"
    run = "--data mine --method semiearth --model light --ratio 50 --steps 2 --device cpu --out run"
    small = (
        "--set split.block=32 --set chips.size=48 --set augment.size=48 --set data.validation=[b] --set data.test=[c]"
    )
    for words in (f"annotate mine/images {opinions}", f"train {run} {small}", "report run"):
        done = CliRunner().invoke(app, words.split())
        assert done.exit_code == 0, (words, done.output, done.exception)
    found = assert_self_contained((tmp_path / "run" / "report.html").read_text())
    assert "semiearth with light, purification recommended" in found.text
    assert "What purification did" in found.text


@pytest.mark.parametrize("folder", ["nothing", "empty", "config_only"])
def test_what_is_no_run_is_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "config_only").mkdir()
    (tmp_path / "config_only" / "config.yaml").write_text("method: {name: fixmatch}\n")
    with pytest.raises(InputError, match="is no run folder, or nothing was trained in it yet") as caught:
        write_report(tmp_path / folder, tmp_path / "page.html")
    assert "geosemi train --out" in caught.value.hint
    assert not (tmp_path / "page.html").exists()


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_hold_the_values(low, high, count):
    low, high = min(low, high), max(low, high)
    ticks = nice_ticks(low, high, count)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step + 1e-9
    assert ticks[-1] >= high - 1e-6 * step - 1e-9
    assert 2 <= len(ticks) <= count + 3
    assert float(f"{step / 10 ** math.floor(math.log10(step) + 1e-9):.6g}") in {1, 2, 2.5, 5, 10}


def test_gaps_and_long_lines():
    assert chart("nothing", [Line("a", "#000000", [1, 2], [math.nan, math.inf])]) == ""
    drawn = chart("long", [Line("a", "#000000", range(5000), [1.0] * 5000)])
    assert drawn.count(",") < 300
    assert "circle" not in drawn
    one = chart("one", [Line("a", "#000000", [7], [0.5])], percent=True)
    assert "step 7" in one
    assert one.count("<circle") == 1


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (0.25, "0.25"), (999, "999"), (1000, "1k"), (1500, "1500"), (12500, "12.5k"), (3_000_000, "3M"),
])  # fmt: skip
def test_short_numbers(value, text):
    assert short(value) == text
