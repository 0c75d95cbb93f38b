"""Simulated opinions: as good as asked for, the same from any window, and never without their name."""

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import legend_of
from hypothesis import given
from hypothesis import strategies as st
from rasters import grid_of

from geosemi.annotate.maps import files_for
from geosemi.annotate.others import annotate_from_labels, qualities_of
from geosemi.annotate.settings import Quality, Simulation
from geosemi.annotate.simulated import NO_TRUTH, Simulated
from geosemi.errors import ConfigError, InputError, LegendError, OutputError
from geosemi.geo.opinion import reading_opinion
from geosemi.geo.raster import open_raster
from geosemi.geo.window import Window, cover

LEGEND = legend_of(4)
HEIGHT, WIDTH = 900, 700


class Painted:
    """Truth as an array: stripes, blobs and a part without truth."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def read(self, window: Window) -> np.ndarray:
        return self.ids[window.slices]


def painted() -> np.ndarray:
    rows, cols = np.indices((HEIGHT, WIDTH))
    ids = ((rows // 61 + cols // 83) % 2).astype(np.uint8)
    ids[(rows - 300) ** 2 + (cols - 300) ** 2 < 150**2] = 2
    ids[(rows % 97 < 12) & (cols % 71 < 9)] = 3
    ids[-80:] = NO_TRUTH
    return ids


IDS = painted()
GRID = grid_of(HEIGHT, WIDTH)


def simulated(qualities, seed=0, exclusive=False) -> Simulated:
    simulation = Simulation(qualities=tuple(qualities), seed=seed, exclusive=exclusive)
    return Simulated(Painted(IDS), GRID, LEGEND, simulation=simulation)


def scores(seen: np.ndarray, k: int) -> tuple[float, float]:
    claim, mine = seen[k], k == IDS
    right = (claim & mine).sum()
    return right / max((claim & (IDS != NO_TRUTH)).sum(), 1), right / mine.sum()


@pytest.mark.parametrize("precision", [0.6, 0.9, 1.0])
@pytest.mark.parametrize("recall", [0.3, 0.8, 1.0])
def test_the_quality_that_was_asked_for_comes_out(precision, recall):
    seen = simulated([Quality(precision=precision, recall=recall, shift=0)] * 4).read(GRID.window)
    for k in range(4):
        assert scores(seen, k) == pytest.approx((precision, recall), abs=0.04)  # half a segment
    assert not seen[:, IDS == NO_TRUTH].any()


def test_one_class_a_pixel_where_it_is_asked_for():
    qualities = [Quality(precision=0.4, recall=0.8, shift=1)] * 4
    several = simulated(qualities).read(GRID.window)
    one = simulated(qualities, exclusive=True)
    alone = one.read(GRID.window)
    assert (several.sum(axis=0) > 1).mean() > 0.1
    assert np.array_equal(alone.sum(axis=0), several.any(axis=0))
    assert not (alone & ~several).any()
    assert "one class a pixel" in one.words()
    part = Window(37, 51, 90, 70)
    assert np.array_equal(simulated(qualities, exclusive=True).read(part), alone[(slice(None), *part.slices)])


def test_each_class_has_its_own_quality():
    wanted = [(0.9, 0.2), (0.7, 0.9), (0.8, 0.5), (1.0, 1.0)]
    seen = simulated([Quality(precision=p, recall=r, shift=0) for p, r in wanted]).read(GRID.window)
    for k, quality in enumerate(wanted):
        assert scores(seen, k) == pytest.approx(quality, abs=0.02)


def test_no_recall_is_silence():
    assert not simulated([Quality(recall=0)] * 4).read(GRID.window).any()


@pytest.mark.parametrize("shift", [1, 3])
def test_outlines_are_shifted_by_so_many_pixels_and_no_more(shift):
    still, moved = (simulated([Quality(precision=1, recall=1, shift=s)] * 4).read(GRID.window) for s in (0, shift))
    assert np.array_equal(still, IDS[None] == np.arange(4)[:, None, None])
    padded = np.pad(IDS == 2, shift)
    reach = np.zeros_like(still[2])
    for down in range(2 * shift + 1):
        for right in range(2 * shift + 1):
            reach |= padded[down : down + HEIGHT, right : right + WIDTH]
    assert not (moved[2] & ~reach).any()
    assert (moved[2] & (IDS != 2)).sum() > 100  # and they are shifted


@given(st.integers(0, 800), st.integers(0, 600), st.integers(1, 300), st.integers(1, 300))
def test_a_window_says_the_same_whatever_else_was_read(row, col, height, width):
    window = Window(row, col, min(height, HEIGHT - row), min(width, WIDTH - col))
    assert np.array_equal(AGAIN.read(window), WHOLE[:, *window.slices])


AGAIN = simulated([Quality(precision=0.7, recall=0.6, shift=2)] * 4, seed=7)
WHOLE = simulated([Quality(precision=0.7, recall=0.6, shift=2)] * 4, seed=7).read(GRID.window)


def test_another_seed_spoils_elsewhere():
    other = simulated([Quality(precision=0.7, recall=0.6, shift=2)] * 4, seed=8).read(GRID.window)
    assert (other != WHOLE).mean() > 0.05


def test_the_record_holds_what_was_asked_and_what_came_out():
    reader = simulated([Quality(precision=0.7, recall=0.6, shift=2)] * 4)
    seen = np.zeros((4, HEIGHT, WIDTH), bool)
    for window in cover(HEIGHT, WIDTH, 100):
        fresh = ~seen.any(axis=0)[window.slices]
        assert fresh.all() or window.stop_row == HEIGHT or window.stop_col == WIDTH
    for row in range(0, HEIGHT, 100):
        window = Window(row, 0, 100, WIDTH)
        seen[:, *window.slices] = reader.read(window)
    record = reader.record()
    assert record["simulated"]
    for k, name in enumerate(LEGEND.names):
        measured = record["quality"][name]["measured"]
        assert (measured["precision"], measured["recall"]) == pytest.approx(scores(seen, k), abs=1e-4)
    assert reader.words() == "simulated from labels: precision 0.7, recall 0.6, shift 2 px, seed 0"
    assert "by class" in simulated([Quality(), Quality(), Quality(), Quality(recall=0.1)]).words()


def test_qualities_in_words():
    found = qualities_of(LEGEND, ["class a=0.5", "0.8"], [], ["3"])
    assert [q.precision for q in found] == [0.5, 0.8, 0.8, 0.8]
    assert {q.recall for q in found} == {0.7}
    assert {q.shift for q in found} == {3}


@pytest.mark.parametrize(
    ("precision", "recall", "shift", "kind", "cause"),
    [
        (["0"], [], [], ConfigError, r"`--precision 0` is no precision"),
        (["1.2"], [], [], ConfigError, r"`--precision 1\.2` is no precision"),
        ([], ["high"], [], ConfigError, r"`--recall high` is no recall"),
        ([], [], ["1.5"], ConfigError, r"`--shift 1\.5` is no shift"),
        ([], ["nan"], [], ConfigError, r"`--recall nan` is no recall"),
        ([], ["boat=0.5"], [], LegendError, r"`boat` is no class of `fake`"),
    ],
)
def test_wrong_qualities_are_told(precision, recall, shift, kind, cause):
    with pytest.raises(kind, match=cause) as caught:
        qualities_of(LEGEND, precision, recall, shift)
    assert "class" in caught.value.hint


def test_a_scene_gets_an_opinion_a_style_and_a_record(tmp_path: Path, root: Path):
    from geosemi.legend import Legend

    data = root / "sample_data"
    legend = Legend.load(data / "legend.yaml")
    out = tmp_path / "dry_market.tif"
    simulation = Simulation(qualities=(Quality(),) * len(legend))
    steps: list[tuple[int, int]] = []
    facts = annotate_from_labels(
        data / "scenes" / "dry_market.tif", out, data / "labels", legend=legend, simulation=simulation,
        on_progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert steps[-1][0] == steps[-1][1]
    with open_raster(data / "scenes" / "dry_market.tif") as scene:
        grid = scene.grid
    with reading_opinion(out, grid, legend) as reader:
        seen = reader.read(grid.window)
    assert seen.sum(axis=(1, 2)).tolist() == list(facts.pixels)
    assert facts.several == int((seen.sum(axis=0) > 1).sum())
    assert facts.spoken == int(seen.any(axis=0).sum())
    with open_raster(out) as file:
        assert file.tags["GEOSEMI_SOURCE"].startswith("simulated from labels: precision 0.9")
    style, record, _ = files_for(out)
    line = json.loads(record.read_text())
    assert (line["scene"], line["provider"], line["simulated"]) == ("dry_market.tif", "labels", True)
    assert line["pixels"] == dict(zip(legend.names, facts.pixels, strict=True))
    assert 'label="grass"' in style.read_text()
    with pytest.raises(OutputError, match="exists") as caught:
        annotate_from_labels(
            data / "scenes" / "dry_market.tif", out, data / "labels", legend=legend, simulation=simulation
        )
    assert "--overwrite" in caught.value.hint
    with pytest.raises(InputError, match="no file named `autumn_farm`") as missing:
        annotate_from_labels(
            data / "unlabelled" / "autumn_farm.tif", tmp_path / "b.tif", data / "labels", legend=legend,
            simulation=simulation,
        )  # fmt: skip
    assert "autumn_farm.gpkg" in missing.value.hint
