"""What was scored, and on what ground: told as it was, and only the same ground is compared."""

import math

import benches
import pytest

from geosemi.benchmark.runs import read_results
from geosemi.benchmark.summary import notes, sheets
from geosemi.benchmark.write import write_tables


@pytest.mark.parametrize(
    ("facts", "override", "told", "brief"),
    [
        ({}, {}, "Scored on whole test scenes that no step of training or model choice saw.", "whole test scenes"),
        (
            {"beside": ["a"]}, {"split.unit": "block"},
            "Test blocks lie in scenes whose other blocks were trained on.",
            "scored: test blocks, in scenes whose other blocks were trained on",
        ),
        (
            {"beside": ["a"], "leaky": True}, {"split.unit": "patch"},
            "LEAKY: divided by patch as in the papers. Test patches touch training patches",
            "scored: test patches: LEAKY, they touch training patches",
        ),
        (
            {"beside": ["a"], "ground": "validation, last step"}, {"split.unit": "block"},
            "Validation blocks lie in scenes whose other blocks were trained on.",
            "scored: validation ground at the last step, in scenes whose other blocks were trained on",
        ),
    ],
)  # fmt: skip
def test_what_was_scored_is_told_in_every_output_as_it_was(tmp_path, facts, override, told, brief):
    config = benches.base_config(tmp_path / "base.yaml", tmp_path / "data")
    settings, runs = benches.planned(tmp_path / "bench.yaml", config, ratios=[10, 50], override=override)
    out = tmp_path / "out"
    benches.invent(out, runs, **facts)
    write_tables(settings, read_results(out, runs), out, planned=runs)
    for name in ("tables.md", "tables.tex", "index.html"):
        text = (out / name).read_text()
        assert text.count(told) == 2, name
        assert ("whole test scenes" in text) == (not override), name
    for name in ("land-10", "land-50", "land-ratios"):
        text = (out / "plots" / f"{name}.svg").read_text()
        assert brief in text
        assert ("whole test scenes" in text) == (not override), name


def test_results_of_before_are_judged_by_their_settings(tmp_path):
    config = benches.base_config(tmp_path / "base.yaml", tmp_path / "data")
    by_block = {"split.unit": "block", "data.test": [], "data.validation": []}
    for number, (override, told) in enumerate([
        (by_block, True), ({"split.unit": "block"}, False), ({**by_block, "split.unit": "scene"}, False),
    ]):  # fmt: skip
        settings, runs = benches.planned(tmp_path / "bench.yaml", config, override=override)
        benches.invent(tmp_path / str(number), runs)
        (sheet,) = sheets(settings, read_results(tmp_path / str(number), runs), runs)
        assert any("Test blocks lie" in n for n in notes(sheet)) == told


def test_an_arm_on_other_ground_is_marked_by_itself_and_gets_no_gain(tmp_path):
    """The baseline comes first and does not leak: its facts must not stand for those of the others."""
    arms = {"scene": {}, "again": {"train.lr": 0.5}, "patch": {"split.unit": "patch"}}
    out, (sheet,) = benches.written(tmp_path, methods=[], arms=arms, baseline="scene", override={"split.test": 0.2})
    scene, again, patch = sheet.rows
    assert (scene.leaks, again.leaks, patch.leaks) == ((), (), ("LEAKY split by patch",))
    assert sheet.leaky
    assert (len(again.gain), patch.gain) == (2, ())
    assert not math.isnan(again.p_flip)
    assert math.isnan(patch.p_flip)
    assert math.isnan(patch.p_t)
    lines = (out / "tables.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| patch (LEAKY, other ground) |"))
    assert row.split("|")[4:7] == [" – "] * 3
    assert not any("LEAKY" in line for line in lines if line.startswith(("| scene", "| again")))
    assert any(n.startswith("patch: LEAKY: divided by patch") for n in notes(sheet))
    assert any(n.startswith("scene, again: Scored on whole test scenes") for n in notes(sheet))
    why = "No gain and no p for patch: it does not stand on the ground of scene (`split.unit`; LEAKY split by patch)."
    assert why in notes(sheet)
    for name in ("tables.md", "tables.tex", "index.html", "plots/land-50.svg"):
        text = (out / name).read_text()
        assert "LEAKY split by patch: patch" in text
        assert "patch (LEAKY, other ground)" in text


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"labelled_blocks": 3}, "3 of 8 training blocks labelled rather than 4 of 8"),
        ({"scenes": ["c", "d"]}, "other scenes are scored"),
        ({"ground": "validation, last step"}, "scored on validation, last step rather than test"),
    ],
)
def test_what_the_runs_found_decides_as_well_as_what_they_were_told(tmp_path, facts, why):
    config = benches.base_config(tmp_path / "base.yaml", tmp_path / "data")
    settings, runs = benches.planned(tmp_path / "bench.yaml", config)
    benches.invent(tmp_path / "out", runs)
    benches.invent(tmp_path / "out", [r for r in runs if (r.arm, r.seed) == ("fixmatch", 1)], **facts)
    (sheet,) = sheets(settings, read_results(tmp_path / "out", runs), runs)
    assert sheet.rows[1].gain == ()
    assert sheet.rows[1].apart == (why,)
    assert notes(sheet)[-1] == "No arm stands on the ground of supervised: nothing is tested."


def test_opinions_bands_and_pictures_without_labels_belong_to_the_method(tmp_path):
    arms = {"none": {"data.opinions": None}, "few": {"data.bands": [1]}, "more": {"data.unlabelled": "more"}}
    _, (sheet,) = benches.written(tmp_path, arms={name: {"method.name": "fixmatch", **of} for name, of in arms.items()})
    assert [len(row.gain) for row in sheet.rows] == [0, 2, 2, 2, 2]


def test_validation_ground_is_never_called_a_test(tmp_path):
    config = benches.base_config(tmp_path / "base.yaml", tmp_path / "data")
    settings, runs = benches.planned(tmp_path / "bench.yaml", config)
    benches.invent(tmp_path / "out", runs, ground="validation, last step")
    (sheet,) = sheets(settings, read_results(tmp_path / "out", runs), runs)
    assert any("at the last step, not at the best one" in n for n in notes(sheet))
    assert not any("whole test scenes" in n for n in notes(sheet))


@pytest.mark.parametrize(
    ("seen", "told", "leaky"),
    [
        ({"unlabelled": ["c"]}, "training saw some without their labels: c.", False),
        ({"validation": ["b", "c"]}, "some chose the best step, which flatters: b, c.", False),
        ({"labelled": ["a"]}, "LEAKY because the labels of some of them were trained on: a.", True),
    ],
)
def test_test_scenes_that_a_run_met_are_named(tmp_path, seen, told, leaky):
    config = benches.base_config(tmp_path / "base.yaml", tmp_path / "data")
    settings, runs = benches.planned(tmp_path / "bench.yaml", config)
    benches.invent(tmp_path / "out", runs, seen=seen)
    (sheet,) = sheets(settings, read_results(tmp_path / "out", runs), runs)
    assert any(n.endswith(told) for n in notes(sheet))
    assert not any("no step of training" in n for n in notes(sheet))
    assert ("LEAKY" in sheet.title) == sheet.leaky == leaky
