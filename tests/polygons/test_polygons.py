"""Tracing: the same polygons as GDAL's, for every band height; and the verb `polygonize` from file to file."""

import math
import sqlite3
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyproj import Proj
from rasterio.control import GroundControlPoint
from rasterio.features import shapes as gdal_shapes

from geosemi.errors import GridMismatch, LegendError, OutputError, SceneUnreadable
from geosemi.legend import ClassDef, Legend
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.rings import Shapes
from geosemi.polygons.tracing import OUTSIDE, Tracer

LEGEND = Legend(
    tuple(
        ClassDef(i, n, c) for i, n, c in ((0, "wood", "#106010"), (1, "lake & sea", "#2040d0"), (2, "road", "#808080"))
    )
)
NORTH_UP = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
# m² of ground in a m² of the map, as PROJ says, where the masks of these tests lie
GROUND = 1 / Proj(32633).get_factors(*Proj(32633)(400_000, 5_800_000, inverse=True)).areal_scale
GRIDS = {
    "north up": NORTH_UP,
    "south up": Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000),
    "west to the left": Affine(-0.5, 0, 400_000, 0, -0.5, 5_800_000),
    "rotated": Affine.translation(400_000, 5_800_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5),
    "sheared": Affine(0.5, 0.2, 400_000, 0.1, -0.4, 5_800_000),
}
masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 0, 1, 1, 2, OUTSIDE])
)


def trace(mask: np.ndarray, rows: int) -> Shapes:
    tracer = Tracer(mask.shape[1])
    parts = [s for k in range(0, len(mask), rows) for s in tracer.feed(mask[k : k + rows])]
    return Shapes.concatenate([*parts, tracer.finish()])


def on_lattice(shapes: Shapes) -> np.ndarray:
    points = shapes.corners.astype(float)
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (shapes.rings, shapes.polygons))


def canonical(geometries: list, values: list) -> list[tuple[bytes, int]]:
    return sorted((shapely.normalize(g).wkb, int(v)) for g, v in zip(geometries, values, strict=True))


def write_mask(path: Path, mask: np.ndarray, transform: Affine | None = NORTH_UP, **profile: object) -> Path:
    base = {"driver": "GTiff", "count": 1, "dtype": mask.dtype, "height": mask.shape[0], "width": mask.shape[1]}
    with rasterio.open(
        path, "w", **{**base, "crs": "EPSG:32633", "transform": transform, "nodata": 255, **profile}
    ) as d:
        d.write(mask, 1)
    return path


def patches(seed: int, height: int = 61, width: int = 83) -> np.ndarray:
    """Blobs of three classes, a nodata corner and some salt."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (height // 6 + 2, width // 6 + 2)).astype(np.uint8)
    mask = np.kron(coarse, np.ones((6, 6), np.uint8))[:height, :width]
    salt = rng.random(mask.shape) < 0.1
    mask[salt] = rng.integers(0, 3, int(salt.sum()))
    mask[: height // 5, : width // 4] = 255
    return mask


@given(mask=masks, rows=st.integers(1, 14))
@settings(max_examples=200, deadline=None)
def test_every_band_height_gives_the_same_polygons(mask: np.ndarray, rows: int) -> None:
    whole, banded = trace(mask, len(mask)), trace(mask, rows)
    for field in ("corners", "rings", "polygons", "value", "n_px"):
        np.testing.assert_array_equal(getattr(banded, field), getattr(whole, field), err_msg=field)


@given(mask=masks)
@settings(max_examples=200, deadline=None)
def test_polygons_equal_those_of_gdal(mask: np.ndarray) -> None:
    traced = trace(mask, 3)
    geometries = on_lattice(traced)
    pairs = list(gdal_shapes(mask, mask=mask != OUTSIDE, connectivity=4))
    want = canonical([shapely.geometry.shape(g) for g, _ in pairs], [v for _, v in pairs])
    assert canonical(list(geometries), traced.value.tolist()) == want
    assert shapely.is_valid(geometries).all()
    np.testing.assert_array_equal(shapely.area(geometries), traced.n_px)
    assert traced.n_px.sum() == (mask != OUTSIDE).sum()


@pytest.mark.parametrize("seed", [1, 2])
def test_large_masks_equal_gdal_and_every_band_height(seed: int) -> None:
    mask = patches(seed, 400, 501)
    whole = trace(mask, len(mask))
    for rows in (1, 64, 257):
        banded = trace(mask, rows)
        np.testing.assert_array_equal(banded.corners, whole.corners)
        np.testing.assert_array_equal(banded.value, whole.value)
    pairs = list(gdal_shapes(mask, mask=mask != OUTSIDE, connectivity=4))
    want = canonical([shapely.geometry.shape(g) for g, _ in pairs], [v for _, v in pairs])
    assert canonical(list(on_lattice(whole)), whole.value.tolist()) == want


def test_polygons_come_by_last_row_then_first_pixel_and_begin_with_their_first_edge() -> None:
    shapes = trace(patches(3), 7)
    geometries = on_lattice(shapes)
    last_row = [shapely.bounds(g)[3] for g in geometries]
    firsts = [min(g.exterior.coords[:2], key=lambda p: (p[1], p[0])) for g in geometries]
    keys = list(zip(last_row, [(y, x) for x, y in firsts], strict=True))
    assert keys == sorted(keys)
    for g, first in zip(geometries, firsts, strict=True):
        assert first == min(g.exterior.coords, key=lambda p: (p[1], p[0]))


def test_a_loop_closed_through_a_corner_is_a_shell_with_a_hole() -> None:
    mask = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.uint8)
    frame = max(on_lattice(trace(mask, 1)), key=shapely.area)
    assert frame.is_valid
    assert len(frame.interiors) == 1
    assert frame.area == 7


@pytest.mark.parametrize("name", GRIDS)
def test_corners_lie_where_the_transform_puts_them(tmp_path: Path, name: str) -> None:
    transform, mask = GRIDS[name], patches(4)
    path = write_mask(tmp_path / "mask.tif", mask, transform)
    count = polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings(band_rows=10))
    layer = geopandas.read_file(tmp_path / "out.gpkg", layer="segments")
    pairs = list(gdal_shapes(mask, mask=mask != 255, connectivity=4, transform=transform))
    assert len(layer) == count == len(pairs)
    assert layer.crs.to_epsg() == 32633
    assert layer.is_valid.all()
    assert all(g.exterior.is_ccw and not any(i.is_ccw for i in g.interiors) for g in layer.geometry)
    pixel = abs(transform.determinant)
    np.testing.assert_allclose(layer.area, layer.n_px * pixel, rtol=1e-7)
    np.testing.assert_allclose(layer.area_m2, layer.n_px * pixel * GROUND, rtol=2e-6)
    np.testing.assert_allclose(layer.perim_m, layer.length * math.sqrt(GROUND), rtol=1e-6)
    for k, part in layer.groupby("class_id"):
        ours = shapely.union_all(part.geometry.to_numpy(), grid_size=1e-6)
        theirs = shapely.union_all([shapely.geometry.shape(g) for g, v in pairs if v == k], grid_size=1e-6)
        assert ours.symmetric_difference(theirs).area < 1e-6 * theirs.area
        assert set(part.class_name) == {LEGEND.names[k]}


def test_the_file_does_not_depend_on_the_band_height(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", patches(5))
    for rows in (1, 7, 512):
        polygonize(path, tmp_path / f"{rows}.gpkg", LEGEND, PolygonSettings(band_rows=rows))
    first, *others = ((tmp_path / f"{rows}.gpkg").read_bytes() for rows in (1, 7, 512))
    assert all(other == first for other in others)


def test_area_and_count_agree_with_the_pixels_of_each_class(tmp_path: Path) -> None:
    mask = patches(6)
    polygonize(write_mask(tmp_path / "mask.tif", mask), tmp_path / "out.gpkg", LEGEND, PolygonSettings())
    layer = geopandas.read_file(tmp_path / "out.gpkg", layer="segments")
    for k in range(3):
        assert layer[layer.class_id == k].n_px.sum() == (mask == k).sum()
        assert layer[layer.class_id == k].area_m2.sum() == pytest.approx((mask == k).sum() * 0.25 * GROUND, rel=2e-6)


def test_ignore_nodata_and_the_internal_mask_make_no_polygon(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), dtype=np.uint8)
    mask[:, 4:] = 2
    mask[0] = 255
    path = tmp_path / "mask.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:32633", "transform": NORTH_UP}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", height=4, width=6, **profile) as d,
    ):
        d.write(mask, 1)
        d.write_mask(np.repeat([[True, False, True]], 4, axis=0).repeat(2, axis=1))
    assert polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings()) == 2
    assert geopandas.read_file(tmp_path / "out.gpkg", layer="segments").n_px.tolist() == [6, 6]
    other = write_mask(tmp_path / "other.tif", mask, nodata=2)
    assert polygonize(other, tmp_path / "other.gpkg", LEGEND, PolygonSettings()) == 1


def test_a_mask_without_classes_makes_an_empty_styled_layer(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", np.full((5, 5), 255, dtype=np.uint8))
    assert polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings()) == 0
    layer = geopandas.read_file(tmp_path / "out.gpkg", layer="segments")
    assert list(layer.columns) == ["class_id", "class_name", "area_m2", "perim_m", "n_px", "geometry"]
    with sqlite3.connect(tmp_path / "out.gpkg") as db:
        assert db.execute("SELECT count(*) FROM layer_styles").fetchone() == (1,)


def test_progress_is_told_row_by_row(tmp_path: Path) -> None:
    path, told = write_mask(tmp_path / "mask.tif", patches(8)), []
    polygonize(
        path, tmp_path / "o.gpkg", LEGEND, PolygonSettings(band_rows=30), on_progress=lambda *now: told.append(now)
    )
    assert told == [(30, 61), (60, 61), (61, 61)]


def test_a_strange_value_is_named(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", np.array([[0, 1, 17]], dtype=np.uint8))
    with pytest.raises(LegendError, match="holds the value 17") as caught:
        polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings())
    assert "--legend" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["mask.tif"]


def test_a_scene_is_no_mask(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "scene.tif", np.zeros((3, 3), dtype=np.float32))
    with pytest.raises(LegendError, match="1 band\\(s\\) of float32") as caught:
        polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings())
    assert "geosemi predict" in caught.value.hint


def test_a_mask_placed_by_control_points_is_refused(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, c, 13 + c / 100, 52 - r / 100) for r, c in ((0, 0), (0, 3), (3, 0), (3, 3))]
    path = write_mask(tmp_path / "mask.tif", patches(1), None, gcps=points, crs="EPSG:4326")
    with pytest.raises(GridMismatch, match="ground control points only") as caught:
        polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings())
    assert "gdalwarp" in caught.value.hint


def test_signed_and_wide_masks_are_read(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [-1, -1, 2]], dtype=np.int16)
    path = write_mask(tmp_path / "mask.tif", values, nodata=-1)
    assert polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings()) == 3


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path, out = write_mask(tmp_path / "mask.tif", patches(9)), tmp_path / "out.gpkg"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists") as caught:
        polygonize(path, out, LEGEND, PolygonSettings())
    assert "--overwrite" in caught.value.hint
    assert out.read_bytes() == b"precious"
    assert polygonize(path, out, LEGEND, PolygonSettings(), overwrite=True) > 0


def test_a_damaged_mask_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write_mask(
        tmp_path / "mask.tif", patches(10, 300, 300), compress="deflate", tiled=True, blockxsize=64, blockysize=64
    )
    content = bytearray(path.read_bytes())
    content[-400:-300] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(SceneUnreadable, match="cannot be decoded") as caught:
        polygonize(path, tmp_path / "out.gpkg", LEGEND, PolygonSettings(band_rows=64))
    assert "damaged" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["mask.tif"]
