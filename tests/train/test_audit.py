"""The audit: it tells whether purification changed anything, measures what is right, and changes nothing itself."""

import csv
import json
import os
import signal

import numpy as np
import pytest
import scenery
from PIL import Image

from geosemi.data.loaders import validation_chips
from geosemi.data.splits import Region
from geosemi.errors import Interrupted
from geosemi.geo.grid import Grid
from geosemi.geo.opinion import pack, write_opinion
from geosemi.geo.scene import Scene
from geosemi.geo.window import Window
from geosemi.methods.settings import SemiEarthSettings, UniMatchV2Settings
from geosemi.models.bundle import Bundle
from geosemi.train.audit import Examiner
from geosemi.train.folder import fingerprint
from geosemi.train.run import prepare_run, train
from geosemi.train.verdict import conclude, read_columns

STEPS = {"steps": 6, "validate_every": 3}
# a network of six steps is never sure: filters that it passes, so that there is something to purify
EASY = {"threshold": 0.55}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("country"), side=96, opinions=True)


@pytest.fixture(scope="module")
def run_of(root, tmp_path_factory):
    """Train once for each method and number of audited chips; returns folder and watcher."""
    done = {}

    def run(name: str, chips: int = 16):
        if (name, chips) not in done:
            method = {"name": "fixmatch"} if name == "fixmatch" else {"name": "semiearth", "purify": {"mode": name}}
            if name != "released":
                method |= EASY
            out, watch = tmp_path_factory.mktemp("runs") / name, scenery.Watch()
            train(scenery.run_settings(root, method, train=STEPS | {"audit_chips": chips}), out, watcher=watch)
            done[name, chips] = out, watch
        return done[name, chips]

    return run


def rows_of(out):
    with (out / "audit.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_released_warns_and_recommended_does_not(run_of):
    out, watch = run_of("released")
    warnings = [n for n in watch.notes if n.startswith("warning")]
    assert len(warnings) == 1
    assert "purification changed nothing that training saw in 6 steps" in warnings[0]
    assert "`method.purify.mode=recommended`" in warnings[0]
    facts = json.loads((out / "audit.json").read_text())
    assert warnings[0] == f"warning: {facts['warning']}"
    assert facts["shares"]["run"]["changed"] == 0
    assert facts["shares"]["run"]["low"] > 0.5

    out, watch = run_of("recommended")
    assert [n for n in watch.notes if n.startswith("warning")] == []
    facts = json.loads((out / "audit.json").read_text())
    assert "warning" not in facts
    assert facts["shares"]["run"]["changed"] > 0.1
    assert set(facts["shares"]["last tenth"]) == set(facts["shares"]["run"])


def test_released_trains_as_fixmatch_does_digit_by_digit(root, tmp_path, run_of):
    out, _ = run_of("released")
    train(scenery.run_settings(root, "fixmatch", train=STEPS), tmp_path / "fixmatch")
    theirs, ours = read_columns(tmp_path / "fixmatch" / "metrics.csv"), read_columns(out / "metrics.csv")
    assert [theirs[k] for k in ("loss", "supervised", "consistency")] == [
        ours[k] for k in ("loss", "supervised", "consistency")
    ]
    weights = [Bundle.load(f / "bundle.safetensors").model.state_dict() for f in (tmp_path / "fixmatch", out)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


def test_the_audit_changes_no_weight(run_of):
    with_audit, without = run_of("recommended")[0], run_of("recommended", chips=0)[0]
    assert (with_audit / "metrics.csv").read_text() == (without / "metrics.csv").read_text()
    models = [Bundle.load(f / "bundle.safetensors").model.state_dict() for f in (with_audit, without)]
    assert all(models[0][name].equal(models[1][name]) for name in models[0])
    assert not (without / "audit.csv").exists()
    assert not (without / "panels").exists()
    assert set(json.loads((without / "audit.json").read_text())) == {"shares"}


def test_a_stopped_and_resumed_run_has_the_same_audit(root, tmp_path, run_of):
    whole, _ = run_of("recommended")
    method = {"name": "semiearth", "purify": {"mode": "recommended"}} | EASY
    settings = scenery.run_settings(root, method, train=STEPS)

    def press(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(settings, tmp_path / "run", watcher=scenery.Watch(press))
    assert {r["step"] for r in rows_of(tmp_path / "run")} == {"3"}
    train(settings, tmp_path / "run", resume=True)
    for name in ("audit.csv", "audit.json"):
        assert (tmp_path / "run" / name).read_text() == (whole / name).read_text()
    sheets = [[p.read_bytes() for p in sorted((f / "panels").iterdir())] for f in (whole, tmp_path / "run")]
    assert sheets[0] == sheets[1]


def test_audit_chips_do_not_decide_the_result(root):
    assert len({fingerprint(scenery.run_settings(root, train={"audit_chips": n})) for n in (0, 3)}) == 1


def test_a_line_for_each_step_ground_speaker_and_zone(run_of):
    rows = rows_of(run_of("recommended")[0])
    keys = [(r["step"], r["ground"], r["who"], r["zone"]) for r in rows]
    assert len(set(keys)) == len(keys) == 2 * 2 * 4 * 3
    assert {k[0] for k in keys} == {"3", "6"}
    assert {k[1] for k in keys} == {"training", "validation"}
    assert {k[2] for k in keys} == {"student", "teacher", "before", "after"}
    by = dict(zip(keys, rows, strict=True))
    for (step, ground, who, zone), row in by.items():
        if zone == "all":
            parts = [by[step, ground, who, z] for z in ("near", "inside")]
            assert int(row["known"]) == sum(int(p["known"]) for p in parts)
            assert int(row["said"]) == sum(int(p["said"]) for p in parts)
        if who in ("student", "teacher"):
            assert float(row["share"]) == 1
        assert {f"precision {n}" for n in scenery.NAMES} <= set(row)


def test_true_opinions_make_pseudo_labels_truer(run_of):
    """The opinions of this country are the truth: what purification adds is right."""
    rows = {(r["step"], r["ground"], r["who"], r["zone"]): r for r in rows_of(run_of("recommended")[0])}
    before, after = (rows["6", "training", who, "all"] for who in ("before", "after"))
    assert float(after["share"]) > 0.95
    assert float(after["precision"]) > 0.9 > float(before["precision"] or 0)


def test_fixmatch_has_pseudo_labels_but_nothing_that_changes_them(run_of):
    out, watch = run_of("fixmatch")
    rows = {(r["step"], r["ground"], r["who"], r["zone"]): r for r in rows_of(out)}
    assert rows["6", "training", "before", "all"]["said"] == rows["6", "training", "after", "all"]["said"]
    facts = json.loads((out / "audit.json").read_text())
    assert "shares" not in facts
    assert facts["panels"]["columns"] == ["scene", "truth", "pseudo-label", "confidence"]
    assert watch.notes[1:] == []


def test_panels_are_small_pictures(run_of):
    out, _ = run_of("recommended")
    facts = json.loads((out / "audit.json").read_text())["panels"]
    assert facts["columns"] == ["scene", "truth", "opinion", "before", "confidence before", "after", "confidence after"]
    assert len(facts["places"]) == 4
    assert [p.name for p in sorted((out / "panels").iterdir())] == ["step-00000003.png", "step-00000006.png"]
    with Image.open(out / "panels" / "step-00000006.png") as picture:
        assert picture.size == (7 * facts["side"], 4 * facts["side"])
        pixels = np.asarray(picture)
    side = facts["side"]
    shown = {tuple(c) for c in pixels[:, side : 2 * side].reshape(-1, 3).tolist()}
    colours = {tuple(bytes.fromhex(c[1:])) for c in scenery.COLOURS}
    assert shown & colours
    assert shown <= colours | {(236, 236, 236)}


def test_truth_that_training_knows_is_not_measured(root):
    """Labelled blocks lie inside the unlabelled scenes; a score on them would praise what was learnt by heart."""
    settings = scenery.run_settings(root)
    prepared = prepare_run(settings, scenery.Watch())
    labelled = prepared.split.labelled
    assert labelled
    chips = list(
        validation_chips(
            prepared.scenes, [Region("a", Window(0, 0, 96, 96))], settings.data, size=96, batch=1, hidden=labelled
        )
    )
    shown = (chips[0].chips.label[0] != 255).numpy()
    assert (shown == chips[0].own[0].numpy()).all()
    for region in labelled:
        assert not shown[region.window.slices].any()
    assert shown.sum() == 96 * 96 - sum(r.window.height * r.window.width for r in labelled)


def test_scenes_without_truth_have_pictures_and_no_figures(tmp_path):
    root = scenery.country(tmp_path / "data", side=96, unlabelled=1)
    settings = scenery.run_settings(root, split={"ratio": 100}, train={"steps": 1})
    prepared = prepare_run(settings, scenery.Watch())
    grounds = Examiner(tmp_path, settings, prepared, resume=False)._choose(opinions=False)
    assert all(c.opinion is None for chips in grounds.values() for c in chips)
    train(settings, tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert {r["ground"] for r in rows} == {"validation"}  # every block of `a` is labelled, `u0` has no label
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["panels"]["places"]


def test_trust_is_measured_in_a_run_and_told_by_name(tmp_path):
    """Opinions that call every roof water, grass by its name; the run learns to mistrust `water`."""
    root = scenery.country(tmp_path / "data", side=96)
    for path in [*(root / "images").iterdir(), *(root / "unlabelled").iterdir()]:
        number = 3 if path.stem == "u0" else "abc".index(path.stem)
        ids = scenery.truth(96, 96, seed=number)
        seen = np.stack([ids == 2, ids == 1, np.zeros_like(ids, dtype=bool)])
        (root / "opinions").mkdir(exist_ok=True)
        grid: Grid = Scene.open(path).grid
        write_opinion(root / "opinions" / path.name, pack(seen), grid, legend=scenery.LEGEND, source="simulated: wrong")
    method = {"name": "semiearth", "ema": 0.5, "purify": {"trust": "measured", "tau_conf": 0.95}}
    train(scenery.run_settings(root, method, train={"steps": 30, "validate_every": 30}), tmp_path / "run")
    trust = json.loads((tmp_path / "run" / "audit.json").read_text())["trust"]
    assert set(trust) == set(scenery.NAMES)
    assert trust["water"] < 0.2
    assert trust["grass"] > 0.8
    assert trust["roof"] == 1  # never claimed, never judged


@pytest.mark.parametrize(("shares", "mode", "why"), [
    ({}, "recommended", "no scene that is trained on has an opinion; `geosemi annotate` makes them"),
    ({"agreeing": 0.0, "conflicting": 0.0, "ambiguous": 0.0}, "paper", "silent wherever the teacher is unsure"),
    ({"agreeing": 0.2, "conflicting": 0.0, "ambiguous": 0.0}, "paper", "lower `method.purify.post_threshold`"),
    ({"agreeing": 0.2, "conflicting": 0.0, "ambiguous": 0.0}, "released", "`method.purify.mode=recommended`"),
])  # fmt: skip
def test_a_warning_says_why(tmp_path, shares, mode, why):
    columns = {"step": 0} | {f"purify/{k}": v for k, v in (shares | {"changed": 0.0}).items() if shares}
    (tmp_path / "metrics.csv").write_text(f"{','.join(columns)}\n{','.join(map(str, columns.values()))}\n")
    warning = conclude(tmp_path, scenery.LEGEND, SemiEarthSettings(purify={"mode": mode}))
    assert "changed nothing that training saw in 1 steps" in warning
    assert why in warning
    assert "the run is that of `fixmatch`" in warning
    other = conclude(tmp_path, scenery.LEGEND, UniMatchV2Settings(purify={"mode": mode}))
    assert other == warning.replace("`fixmatch`", "`unimatch_v2` without it")
    assert conclude(tmp_path, scenery.LEGEND, SemiEarthSettings(purify={"mode": "off"})) is None
    assert conclude(tmp_path, scenery.LEGEND, UniMatchV2Settings()) is None


def test_a_cut_line_of_a_killed_run_is_passed_over(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,purify/changed\n0,0\n1,0.25\n2")
    assert conclude(tmp_path, scenery.LEGEND, SemiEarthSettings()) is None
    assert json.loads((tmp_path / "audit.json").read_text())["shares"]["run"]["changed"] == pytest.approx(0.125)
