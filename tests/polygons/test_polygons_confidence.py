"""The field `conf`: the mean of a second raster over each polygon, from boundaries alone."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.features import geometry_mask

from geosemi.errors import GridMismatch, LegendError
from geosemi.geo.layers import SCALE_TAG
from geosemi.legend import ClassDef, Legend
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.rings import Shapes
from geosemi.polygons.tally import Tally, mean_confidence
from geosemi.polygons.tracing import OUTSIDE, Tracer

LEGEND = Legend((ClassDef(0, "wood", "#106010"), ClassDef(1, "lake", "#2040d0")))
PLACE = Affine(2, 0, 400_000, 0, -2, 5_800_000)
masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 0, 1, 1, 2, OUTSIDE])
)


def write(path: Path, pixels: np.ndarray, transform: Affine = PLACE, **profile: object) -> Path:
    base = {"driver": "GTiff", "count": 1, "dtype": pixels.dtype, "height": pixels.shape[0], "width": pixels.shape[1]}
    with rasterio.open(path, "w", **{**base, "crs": "EPSG:32633", "transform": transform, **profile}) as d:
        d.write(pixels, 1)
    return path


def labels_of(mask: np.ndarray) -> np.ndarray:
    """4-connected components, by a flood from each pixel."""
    labels = np.full(mask.shape, -1)
    for seed in np.ndindex(mask.shape):
        if labels[seed] >= 0 or mask[seed] == OUTSIDE:
            continue
        todo = [seed]
        labels[seed] = number = labels.max() + 1
        while todo:
            r, c = todo.pop()
            for near in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                inside = 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]
                if inside and labels[near] < 0 and mask[near] == mask[r, c]:
                    labels[near] = number
                    todo.append(near)
    return labels


@given(mask=masks, rows=st.integers(1, 12), seed=st.integers(0, 9))
@settings(max_examples=120, deadline=None)
def test_sums_are_those_of_the_pixels(mask: np.ndarray, rows: int, seed: int) -> None:
    sureness = np.random.default_rng(seed).choice([0, 7, 200, 254, 255], mask.shape).astype(np.uint8)
    tracer = Tracer(mask.shape[1], Tally(mask.shape[1]))
    parts = [s for k in range(0, len(mask), rows) for s in tracer.feed(mask[k : k + rows], sureness[k : k + rows])]
    shapes = Shapes.concatenate([*parts, tracer.finish()], 2)
    labels = labels_of(mask)
    want = []
    for k in range(labels.max() + 1):
        values = sureness[labels == k].astype(int)
        want.append((len(values), values[values < 255].sum(), (values == 255).sum()))
    found = zip(shapes.n_px.tolist(), *shapes.tallies.T.tolist(), strict=True)
    assert sorted(found) == sorted(want)


def test_the_mean_leaves_out_pixels_without_confidence() -> None:
    means = mean_confidence(np.array([[254 * 3, 0], [127, 1], [0, 5]]), np.array([3, 2, 5]))
    np.testing.assert_array_equal(means, [1.0, 0.5, np.nan])


@pytest.mark.parametrize("rows", [3, 512])
def test_the_field_is_the_mean_under_the_polygon(tmp_path: Path, rows: int) -> None:
    rng = np.random.default_rng(1)
    mask = np.kron(rng.integers(0, 2, (7, 9)), np.ones((5, 4))).astype(np.uint8)
    sureness = rng.integers(0, 255, mask.shape).astype(np.uint8)
    polygonize(
        write(tmp_path / "mask.tif", mask), tmp_path / "map.gpkg", LEGEND, PolygonSettings(band_rows=rows),
        confidence=write(tmp_path / "sure.tif", sureness, nodata=255),
    )  # fmt: skip
    layer = geopandas.read_file(tmp_path / "map.gpkg", layer="segments")
    for row in layer.itertuples():
        inside = geometry_mask([row.geometry], mask.shape, PLACE, invert=True)
        assert row.n_px == inside.sum()
        assert row.conf == pytest.approx(sureness[inside].mean() / 254, rel=1e-12)


def test_a_polygon_without_confidence_has_none(tmp_path: Path) -> None:
    mask = write(tmp_path / "mask.tif", np.zeros((2, 2), np.uint8))
    sure = write(tmp_path / "sure.tif", np.full((2, 2), 255, np.uint8), nodata=255)
    polygonize(mask, tmp_path / "map.gpkg", LEGEND, PolygonSettings(), confidence=sure)
    assert geopandas.read_file(tmp_path / "map.gpkg", layer="segments").conf.isna().all()


def test_confidence_of_another_place_is_refused(tmp_path: Path) -> None:
    mask = write(tmp_path / "mask.tif", np.zeros((2, 2), np.uint8))
    sure = write(tmp_path / "sure.tif", np.zeros((2, 2), np.uint8), PLACE @ Affine.translation(1, 0))
    with pytest.raises(GridMismatch, match=r"sure.tif` lies up to 1 pixels beside") as caught:
        polygonize(mask, tmp_path / "map.gpkg", LEGEND, PolygonSettings(), confidence=sure)
    assert "gdalwarp" in caught.value.hint


def test_confidence_is_one_band_of_bytes(tmp_path: Path) -> None:
    mask = write(tmp_path / "mask.tif", np.zeros((2, 2), np.uint8))
    sure = write(tmp_path / "sure.tif", np.zeros((2, 2), np.float32))
    with pytest.raises(LegendError, match="float32, confidence is one band of uint8") as caught:
        polygonize(mask, tmp_path / "map.gpkg", LEGEND, PolygonSettings(), confidence=sure)
    assert "geosemi predict --confidence" in caught.value.hint


@pytest.mark.parametrize(("band", "tags"), [("entropy", {}), ("margin", {SCALE_TAG: "…"}), ("lake", {SCALE_TAG: "…"})])
def test_other_amounts_are_no_confidence(tmp_path: Path, band: str, tags: dict[str, str]) -> None:
    mask = write(tmp_path / "mask.tif", np.zeros((2, 2), np.uint8))
    other = write(tmp_path / "u.tif", np.zeros((2, 2), np.uint8), nodata=255)
    with rasterio.open(other, "r+") as d:
        d.descriptions = (band,)
        d.update_tags(**tags)
    with pytest.raises(LegendError, match=f"u.tif` is `{band}`, not confidence") as caught:
        polygonize(mask, tmp_path / "map.gpkg", LEGEND, PolygonSettings(), confidence=other)
    assert "geosemi predict --confidence" in caught.value.hint
    assert not (tmp_path / "map.gpkg").exists()
