"""Simplified and smoothed polygons: still a coverage, none lost, the same for every way of feeding rows."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from test_polygons import GRIDS, GROUND, LEGEND, on_lattice, patches, trace, write_mask

from geosemi.legend import ClassDef, Legend
from geosemi.polygons.coverage import CoverageTracer
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.rings import Shapes
from geosemi.polygons.tracing import OUTSIDE

LEGEND_4 = Legend(tuple(ClassDef(k, f"class {k}", f"#0000{k}0") for k in range(4)))
masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 16), st.integers(1, 16)), elements=st.sampled_from([0, 0, 1, 1, 2, OUTSIDE])
)
ways = st.tuples(st.sampled_from([0.0, 1.0, 2.0, 5.0]), st.booleans())


def cover(
    mask: np.ndarray, *, tolerance: float = 0.0, smooth: bool = False, rows: int = 7, strip: int | None = None
) -> Shapes:
    tracer = CoverageTracer(mask.shape[1], tolerance=tolerance, smooth=smooth, strip_rows=strip)
    parts = [s for k in range(0, len(mask), rows) for s in tracer.feed(mask[k : k + rows])]
    return Shapes.concatenate([*parts, tracer.finish()])


def require_coverage(geometries: np.ndarray) -> None:
    assert shapely.is_valid(geometries).all()
    assert (shapely.area(geometries) > 0).all()
    assert shapely.coverage_is_valid(geometries)  # no overlap, and neighbours share their points
    total = shapely.area(geometries).sum()
    assert shapely.union_all(geometries).area == pytest.approx(total, rel=1e-12)


def require_no_gap(geometries: np.ndarray, mask: np.ndarray) -> None:
    """Where no pixel is OUTSIDE the polygons fill the raster."""
    assert shapely.area(geometries).sum() == pytest.approx(mask.size, rel=1e-12)


@given(mask=masks, strip=st.integers(1, 16), rows=st.integers(1, 16))
@settings(max_examples=100, deadline=None)
def test_without_tolerance_polygons_are_the_exact_ones(mask: np.ndarray, strip: int, rows: int) -> None:
    exact, found = trace(mask, len(mask)), cover(mask, rows=rows, strip=strip)
    for field in ("value", "n_px"):
        np.testing.assert_array_equal(getattr(found, field), getattr(exact, field))
    assert shapely.equals(on_lattice(found), on_lattice(exact)).all()


@given(mask=masks, strip=st.integers(1, 16), way=ways)
@settings(max_examples=150, deadline=None)
def test_no_gap_no_overlap_no_polygon_lost(mask: np.ndarray, strip: int, way: tuple[float, bool]) -> None:
    exact, found = trace(mask, len(mask)), cover(mask, tolerance=way[0], smooth=way[1], strip=strip)
    np.testing.assert_array_equal(found.n_px, exact.n_px)
    if len(found):
        require_coverage(on_lattice(found))
    full = np.where(mask == OUTSIDE, 1, mask).astype(np.uint8)
    require_no_gap(on_lattice(cover(full, tolerance=way[0], smooth=way[1], strip=strip)), full)


@pytest.mark.parametrize("way", [(1.0, False), (2.0, True), (6.0, False)])
def test_large_masks_stay_a_coverage(way: tuple[float, bool]) -> None:
    mask = patches(1, 400, 501)
    whole = cover(mask, tolerance=way[0], smooth=way[1], strip=128, rows=400)
    require_coverage(on_lattice(whole))
    for rows in (1, 64, 257):
        found = cover(mask, tolerance=way[0], smooth=way[1], strip=128, rows=rows)
        for field in ("corners", "rings", "polygons", "value", "n_px"):
            np.testing.assert_array_equal(getattr(found, field), getattr(whole, field))


def blobs(size: int, scale: int, seed: int = 0) -> np.ndarray:
    """Round patches of four classes, as a network draws them."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0, size // scale, size)
    low = place.astype(int)
    part = place - low
    fields = []
    for _ in range(4):
        coarse = rng.standard_normal((size // scale + 2, size // scale + 2))
        rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
        fields.append(rows[:, low] * (1 - part) + rows[:, low + 1] * part)
    return np.argmax(fields, axis=0).astype(np.uint8)


@pytest.mark.slow
def test_two_thousand_squared() -> None:
    mask = blobs(2000, 23)
    for way in ((2.0, False), (2.0, True)):
        found = on_lattice(cover(mask, tolerance=way[0], smooth=way[1], rows=512))
        require_coverage(found)
        require_no_gap(found, mask)


def test_most_points_go_and_areas_stay() -> None:
    mask = blobs(400, 40)
    exact, found = trace(mask, 400), cover(mask, tolerance=2.0)
    assert len(found.corners) < len(exact.corners) / 4
    areas = shapely.area(on_lattice(found))
    large = exact.n_px > 500
    assert np.abs(areas[large] / exact.n_px[large] - 1).max() < 0.05
    away = shapely.hausdorff_distance(shapely.boundary(on_lattice(found)), shapely.boundary(on_lattice(exact)))
    assert away.max() < 4.0


def test_smoothing_turns_less_at_each_point() -> None:
    def sharpest(shapes: Shapes) -> float:
        turns = []
        for k in range(len(shapes.rings) - 1):
            ring = shapes.corners[shapes.rings[k] : shapes.rings[k + 1]]
            edge = np.diff(ring[:, 0] + 1j * ring[:, 1])
            turns.append(np.abs(np.angle(np.roll(edge, -1) / edge)))
        return float(np.mean(np.concatenate(turns)))

    mask = blobs(300, 60)
    assert sharpest(cover(mask, tolerance=2.0, smooth=True)) < 0.4 * sharpest(cover(mask, tolerance=2.0))


def test_the_raster_keeps_its_rim() -> None:
    mask = blobs(90, 20)
    whole = shapely.union_all(on_lattice(cover(mask, tolerance=9.0, smooth=True)))
    assert whole.equals(shapely.box(0, 0, 90, 90))


def test_a_ring_of_one_pixel_and_two_that_touch_in_a_corner_survive() -> None:
    mask = np.zeros((7, 7), np.uint8)
    mask[1, 1] = mask[2, 2] = mask[4, 4] = 1
    mask[3, 5], mask[5, 5] = 2, 2
    for way in ((3.0, False), (3.0, True)):
        found = on_lattice(cover(mask, tolerance=way[0], smooth=way[1]))
        assert len(found) == 6
        require_coverage(found)
        require_no_gap(found, mask)


@pytest.mark.parametrize("name", GRIDS)
def test_files_lie_where_they_should_in_every_grid(tmp_path: Path, name: str) -> None:
    mask = np.where(patches(2) == 255, 0, patches(2)).astype(np.uint8)
    path = write_mask(tmp_path / "mask.tif", mask, GRIDS[name])
    for rows in (9, 512):
        settings = PolygonSettings(simplify_px=1.5, smooth=True, band_rows=rows)
        polygonize(path, tmp_path / f"{rows}.gpkg", LEGEND, settings)
    layer = geopandas.read_file(tmp_path / "9.gpkg", layer="segments")
    assert (tmp_path / "9.gpkg").read_bytes() == (tmp_path / "512.gpkg").read_bytes()
    assert layer.is_valid.all()
    assert all(g.exterior.is_ccw for g in layer.geometry)
    np.testing.assert_allclose(layer.area_m2, layer.area * GROUND, rtol=3e-6)
    np.testing.assert_allclose(layer.perim_m, layer.length * np.sqrt(GROUND), rtol=2e-6)
    corners = np.array([GRIDS[name] * c for c in ((0, 0), (83, 0), (83, 61), (0, 61))])
    rim = shapely.Polygon(corners)
    assert layer.area.sum() == pytest.approx(rim.area, rel=1e-9)
    assert shapely.coverage_is_valid(layer.geometry.to_numpy())


def test_simplified_areas_in_degrees_are_geodesic(tmp_path: Path) -> None:
    from pyproj import Geod

    mask = blobs(60, 15)
    place = Affine(1e-4, 0, 10, 0, -1e-4, 60)
    path = write_mask(tmp_path / "mask.tif", mask, place, crs="EPSG:4326")
    polygonize(path, tmp_path / "map.gpkg", LEGEND_4, PolygonSettings(simplify_px=2))
    geod = Geod(ellps="WGS84")
    for row in geopandas.read_file(tmp_path / "map.gpkg", layer="segments").itertuples():
        area, length = geod.geometry_area_perimeter(row.geometry)
        assert row.area_m2 == pytest.approx(area, rel=1e-4, abs=0.01)
        assert row.perim_m == pytest.approx(length, rel=1e-4)


def test_metres_are_pixels_times_their_size(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", patches(3))  # pixels of 0.5 m
    polygonize(path, tmp_path / "px.gpkg", LEGEND, PolygonSettings(simplify_px=2))
    polygonize(path, tmp_path / "m.gpkg", LEGEND, PolygonSettings(simplify_m=1))
    one, other = (geopandas.read_file(tmp_path / f"{n}.gpkg", layer="segments").geometry for n in ("px", "m"))
    assert len(one) == len(other)
    assert abs(shapely.get_num_coordinates(one).sum() / shapely.get_num_coordinates(other).sum() - 1) < 0.01
    with pytest.raises(ValidationError, match="give one"):
        PolygonSettings(simplify_px=2, simplify_m=1)


@pytest.mark.parametrize("way", [{}, {"simplify_px": 2.0}])
def test_dissolved_classes_hold_what_their_polygons_held(tmp_path: Path, way: dict[str, float]) -> None:
    mask = patches(4)
    path = write_mask(tmp_path / "mask.tif", mask)
    sure = write_mask(tmp_path / "sure.tif", np.arange(mask.size, dtype=np.uint8).reshape(mask.shape))
    polygonize(path, tmp_path / "many.gpkg", LEGEND, PolygonSettings(**way), confidence=sure)
    count = polygonize(
        path, tmp_path / "few.gpkg", LEGEND, PolygonSettings(dissolve=True, **way), confidence=sure
    )  # fmt: skip
    many, few = (geopandas.read_file(tmp_path / f"{n}.gpkg", layer="segments") for n in ("many", "few"))
    assert count == len(few) == 3
    assert few.class_id.tolist() == [0, 1, 2]
    assert set(few.geom_type) == {"MultiPolygon"}
    assert few.is_valid.all()
    for row in few.itertuples():
        part = many[many.class_id == row.class_id]
        assert row.n_px == part.n_px.sum()
        assert row.area_m2 == pytest.approx(part.area_m2.sum())
        assert row.perim_m == pytest.approx(part.perim_m.sum())
        assert len(row.geometry.geoms) == len(part)
        assert row.geometry.area * GROUND == pytest.approx(row.area_m2, rel=3e-6)
    if not way:
        valued = np.arange(mask.size, dtype=np.uint8).reshape(mask.shape)
        for row in few.itertuples():
            inside = valued[(mask == row.class_id) & (valued != 255)]
            assert row.conf == pytest.approx(inside.mean() / 254, rel=1e-3)


def test_a_mask_without_classes_dissolves_to_nothing(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", np.full((5, 5), 255, np.uint8))
    for way in (PolygonSettings(dissolve=True), PolygonSettings(simplify_px=2, smooth=True)):
        assert polygonize(path, tmp_path / "out.gpkg", LEGEND, way, overwrite=True) == 0
