"""Tables, pictures and the page of results that were invented: the same numbers everywhere, and nothing left unsaid."""

import csv
import json
import re
import statistics
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import benches
import pytest

from geosemi.benchmark.published import published
from geosemi.benchmark.runs import read_results
from geosemi.benchmark.summary import notes, sheets
from geosemi.methods.settings import KINDS

GOLDEN = benches.ROOT / "tests" / "golden" / "benchmark"
ARMS = {"low & <b>lower</b> | τ_.5": {"method.name": "fixmatch", "method.threshold": 0.5}}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    config = str(folder / "base.yaml")
    return benches.written(
        folder, arms=ARMS, ratios=[1, 5, 10], seeds=[0, 1, 2],
        datasets={
            "land": {"config": config, "published": "potsdam"},
            "leaky": {"config": config, "override": {"split.unit": "patch"}},
        },
    )  # fmt: skip


@pytest.mark.parametrize("name", ["tables.md", "tables.tex", "plots/land-5.svg", "plots/leaky-ratios.svg"])
def test_they_are_the_golden_ones(full, name, rewrite_golden):
    text, golden = (full[0] / name).read_text(encoding="utf-8"), GOLDEN / Path(name).name
    if rewrite_golden:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "if it is meant: pytest tests/benchmark --rewrite-golden"


def test_a_row_is_what_the_runs_say(full):
    out, found = full
    with (out / "runs.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == 2 * 3 * 3 * 3
    mine = {
        arm: [float(r["miou"]) for r in runs if (r["dataset"], r["ratio"], r["arm"]) == ("land", "5", arm)]
        for arm in ("supervised", "fixmatch")
    }
    row = next(r for r in found[1].rows if r.arm == "fixmatch")
    assert (found[1].dataset, found[1].ratio) == ("land", 5)
    assert row.mean == pytest.approx((statistics.mean(mine["fixmatch"]), statistics.stdev(mine["fixmatch"])))
    assert row.gain == pytest.approx([a - b for a, b in zip(mine["fixmatch"], mine["supervised"], strict=True)])
    line = next(t for t in (out / "tables.md").read_text().split("##")[2].splitlines() if t.startswith("| fixmatch"))
    assert f"{100 * row.mean[0]:.1f} ± {100 * row.mean[1]:.1f}" in line
    plain = json.loads((out / "summary.json").read_text())
    assert plain[1]["rows"][1]["miou"] == pytest.approx(mine["fixmatch"])


def test_every_table_says_what_its_seeds_cannot_show(full):
    for sheet in full[1]:
        assert "the smallest that it can give is 0.25 – so it cannot show significance at .05" in notes(sheet)[-1]
        assert "2 arms are compared, and p is not corrected" in notes(sheet)[-1]


def test_six_seeds_may_show_something_and_one_says_nothing(tmp_path_factory):
    _, found = benches.written(tmp_path_factory.mktemp("six"), seeds=list(range(6)))
    assert "is 0.0312. p(t)" in notes(found[0])[-1]
    out, found = benches.written(tmp_path_factory.mktemp("one"), seeds=[0])
    assert "One seed" in notes(found[0])[-1]
    assert "±" not in (out / "tables.md").read_text().split("IoU in percent")[0]


@pytest.mark.parametrize(
    ("more", "kept", "told"),
    [
        ({"baseline": None}, lambda run: True, "No baseline: nothing is tested."),
        ({"methods": ["supervised"]}, lambda run: True, "No result beside that of the baseline supervised: nothing"),
        ({}, lambda run: run.arm == "supervised", "No result beside that of the baseline supervised: nothing"),
        ({}, lambda run: run.arm == "fixmatch", "The baseline supervised has no result: nothing"),
        ({}, lambda run: (run.arm == "fixmatch") == run.seed, "No arm has a seed in common with supervised: nothing"),
    ],
)
def test_why_nothing_is_tested(tmp_path, more, kept, told):
    _, (sheet,) = benches.written(tmp_path, keep=kept, **more)
    assert notes(sheet)[-1].startswith(told)


def test_seconds_of_an_even_number_of_seeds_lie_between_the_middle_two(tmp_path):
    config = benches.base_config(tmp_path / "base.yaml", tmp_path / "data")
    settings, runs = benches.planned(tmp_path / "bench.yaml", config)
    benches.invent(tmp_path / "out", runs)
    benches.invent(tmp_path / "out", [run for run in runs if run.seed == 1], seconds_per_step=0.375)
    (sheet,) = sheets(settings, read_results(tmp_path / "out", runs), runs)
    assert [row.seconds for row in sheet.rows] == [0.25, 0.25]


def test_a_split_by_patch_is_marked_wherever_it_stands(full):
    out, found = full
    assert {s.dataset: s.leaky for s in found} == {"land": False, "leaky": True}
    parts = (out / "tables.md").read_text().split("\n## ")[1:]
    for part in parts:
        assert ("LEAKY" in part) == part.startswith("leaky")
    for table in (out / "tables.tex").read_text().split(r"\begin{table}")[1:]:
        assert ("LEAKY" in table) == ("leaky, " in table)
    for svg in (out / "plots").iterdir():
        assert ("LEAKY" in svg.read_text()) == svg.name.startswith("leaky")
    assert "leaky: LEAKY split by patch; scores are optimistic" in (out / "index.html").read_text()


def test_what_has_no_result_is_told_by_name_below_its_sheet(tmp_path):
    """One arm has lost a seed, one has failed altogether, and of one ratio there is nothing at all."""
    out, found = benches.written(
        tmp_path, keep=lambda run: run.ratio < 50 and run.arm != "wild" and (run.arm, run.seed) != ("fixmatch", 1),
        arms={"wild": {"method.name": "cps"}}, ratios=[5, 10, 50],
    )  # fmt: skip
    assert [row.arm for row in found[0].rows] == ["supervised", "fixmatch"]
    assert len(found[0].rows[1].gain) == 1, "only seeds that both have are compared"
    some = "Unfinished: no result of fixmatch (seed 1); wild (seeds 0, 1)."
    none = "Unfinished: no result of supervised, fixmatch, wild (seeds 0, 1)."
    assert [[n for n in notes(sheet) if "Unfinished" in n] for sheet in found] == [[some], [some], [none]]
    for name in ("tables.md", "tables.tex", "index.html"):
        text = (out / name).read_text().split("50 % of" if name != "tables.tex" else r"50 \% of")
        assert some in text[0]
        assert none in text[-1]
    assert some in (out / "plots" / "land-5.svg").read_text()
    assert none in (out / "plots" / "land-ratios.svg").read_text()
    assert not (out / "plots" / "land-50.svg").exists()
    assert "unfinished: 6 of 18 runs are done" in (out / "index.html").read_text()
    plain = json.loads((out / "summary.json").read_text())
    assert plain[0]["missing"] == {"fixmatch": [1], "wild": [0, 1]}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.tables: list[list[str]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href") and v]
        if tag == "table":
            self.tables.append([])

    def handle_data(self, data):
        if self.tables:
            self.tables[-1].append(data)


def test_the_page_needs_nothing_and_keeps_published_numbers_apart(full):
    text = (full[0] / "index.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.links == []
    assert {"script", "b-lower", "iframe"}.isdisjoint(page.tags)
    assert "<b>lower" not in text
    assert "protocol <code>default</code>" in text
    assert "default-src 'none'" in text
    ours, printed = page.tables[:-1], page.tables[-1]
    assert len(ours) == 6
    assert "77.02" in printed
    assert not any("77.02" in cell for table in ours for cell in table)
    assert len(re.findall("<svg", text)) == 2 + 6


def test_pictures_are_xml_that_stands_alone(full):
    names = {p.name for p in (full[0] / "plots").iterdir()}
    assert names == {f"{d}-{r}.svg" for d in ("land", "leaky") for r in ("1", "5", "10", "ratios")}
    for path in (full[0] / "plots").iterdir():
        root = ET.fromstring(path.read_text())
        width, height = float(root.get("width")), float(root.get("height"))
        circles = [e for e in root.iter() if e.tag.endswith("circle")]
        assert len(circles) == (18 if "ratios" in path.name else 9)
        assert all(0 < float(c.get("cx")) < width and 0 < float(c.get("cy")) < height for c in circles)


def test_no_text_of_a_picture_is_cut_off(tmp_path):
    long = {"fixmatch, a name that goes on and on": {"method.name": "fixmatch", "split.unit": "patch"}}
    out, _ = benches.written(tmp_path, arms=long, methods=["supervised"], ratios=[5, 50])
    for path in (out / "plots").iterdir():
        root = ET.fromstring(path.read_text())
        for text in (e for e in root.iter() if e.tag.endswith("text")):
            length = 7.5 * len(text.text) * {"start": 1, "end": -1, "middle": 0}[text.get("text-anchor")]
            assert 0 <= float(text.get("x")) + length <= float(root.get("width")), text.text


class TestPublished:
    def test_columns_of_words_stand_as_their_headings(self, full):
        page, tex = (full[0] / "index.html").read_text(), (full[0] / "tables.tex").read_text()
        assert ".printed td{white-space:normal;text-align:left" in page
        assert ".printed thead th{text-align:left}" in page
        assert r"\begin{tabular}{lrrrlllll}" in tex.split("What papers print")[0].split(r"\begin{table}")[-1]

    def test_every_number_has_its_source_and_its_caveats(self):
        rows = [row for name in ("potsdam", "loveda", "deepglobe") for row in published(name)]
        assert len(rows) == 107
        for row in rows:
            assert row.source
            assert row.network
            assert row.protocol
            assert "train and test" in row.split
            assert row.ratio in (1, 5, 10)
            assert 10 < row.miou < 90
            assert row.method in ("", *KINDS)

    def test_means_are_those_of_the_printed_classes(self):
        """The table of the SemiEarth paper, as printed: building, low vegetation, tree, car, impervious surface."""
        printed = {
            ("semiearth", 1): (86.80, 71.22, 71.96, 76.11, 79.01),
            ("fixmatch", 5): (78.12, 74.87, 68.89, 66.58, 75.30),
            ("mean_teacher", 10): (84.76, 69.28, 68.83, 71.66, 76.51),
            ("muca", 1): (84.56, 66.98, 56.96, 71.52, 76.64),
        }
        found = {(p.method, p.ratio): p.miou for p in published("potsdam") if p.method}
        for key, classes in printed.items():
            assert found[key] == pytest.approx(statistics.mean(classes), abs=0.006)

    def test_what_is_corrected_says_so(self):
        found = {(p.method, p.ratio): p for p in published("loveda")}
        assert found["fixmatch", 5].miou == 46.64
        assert found["fixmatch", 5].caveat == "printed 44.64"
        assert ("muca", 10) not in found, "lost numbers are not made up"

    @pytest.mark.parametrize(("dataset", "miou"), [("potsdam", 74.42), ("loveda", 56.33)])
    def test_the_ablation_of_the_purification_is_no_method_of_ours(self, dataset, miou):
        (row,) = (p for p in published(dataset) if p.name == "SemiEarth without VLM-PP")
        assert (row.method, row.ratio, row.miou, row.network) == ("", 5, miou, "DINOv2-small + DPT")
        assert "cannot change training" in row.caveat
