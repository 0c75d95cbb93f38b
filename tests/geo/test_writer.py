"""Masks as files: what GDAL and rasterio read back, what lies beside them, and what happens when writing fails."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from fakes import legend_of
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from geosemi.errors import OutputError
from geosemi.geo.grid import Grid
from geosemi.geo.style import legend_of as legend_in
from geosemi.geo.writer import CogWriter, confidence_layer, mask_layer, require_free, write_cogs

LEGEND = legend_of(4, ignore=200)
UTM = CRS.from_epsg(32636)
NORTH_UP = Affine(0.5, 0, 450_000, 0, -0.5, 40_000)
VALIDATE = (
    "import sys; from osgeo_utils.samples import validate_cloud_optimized_geotiff as v; sys.exit(v.main(sys.argv))"
)


def grid_of(height, width, crs=UTM, transform=NORTH_UP):
    return Grid(crs, transform, height, width)


def write(path, rows, grid=None, layer=None, tags=(), steps=(10**9,)):
    """Hand in rows in steps of the given sizes, the last one for the rest."""
    with CogWriter(path, grid or grid_of(*rows.shape), layer or mask_layer(LEGEND)) as writer:
        row = 0
        for step in [*steps, *[steps[-1]] * len(rows)]:
            if row < len(rows):
                writer.write_rows(row, rows[row : row + step])
                row += step
        return write_cogs([writer], dict(tags))


@given(
    st.integers(1, 1300), st.integers(1, 40), st.lists(st.integers(1, 700), min_size=1, max_size=4), st.integers(0, 9)
)
def test_rows_come_back_whatever_the_steps_and_so_do_the_bytes(tmp_path, height, width, steps, seed):
    rows = np.random.default_rng(seed).choice([0, 1, 2, 3, 200], (height, width)).astype("uint8")
    write(tmp_path / "a.tif", rows, steps=steps)
    write(tmp_path / "b.tif", rows)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as made:
        assert (made.read(1) == rows).all()


def patches(height, width, seed=0):
    return np.kron(
        np.random.default_rng(seed).integers(0, 4, (height // 20 + 1, width // 20 + 1)), np.ones((20, 20), int)
    ).astype("uint8")[:height, :width]


def test_what_readers_find_in_a_mask(tmp_path):
    rows = patches(1200, 1100)
    rows[:300] = 200
    files = write(tmp_path / "mask.tif", rows, tags={"MODEL_SHA256": "abc"})
    assert [f.name for f in files] == ["mask.tif.aux.xml", "mask.qml", "mask.tif"]
    with rasterio.open(files[-1]) as made:
        assert (made.count, made.dtypes, made.nodata, made.descriptions) == (1, ("uint8",), 200, ("class",))
        assert made.block_shapes == [(512, 512)]
        assert made.compression.name == "deflate"
        colours = made.colormap(1)
        assert {i: colours[i][:3] for i in range(4)} == {c.id: c.rgb for c in LEGEND}
        assert made.tags()["MODEL_SHA256"] == "abc"
        assert made.overviews(1) == [2, 4]
        for level in (0, 1):
            with rasterio.open(files[-1], overview_level=level) as small:
                assert set(np.unique(small.read(1))) <= {0, 1, 2, 3, 200}
    assert legend_in(files[-1]) == LEGEND
    assert 'label="class a"' in files[1].read_text()


def test_overviews_hold_the_commonest_class_and_do_not_spread_nodata(tmp_path):
    rows = np.tile(np.array([[3, 3], [3, 0]], "uint8"), (600, 600))
    rows[:, :600:2], rows[1::2, 1:600:2] = 200, 200
    write(tmp_path / "mask.tif", rows)
    with rasterio.open(tmp_path / "mask.tif", overview_level=0) as small:
        assert (small.read(1) == 3).all()


def test_confidence_is_scaled_and_says_so(tmp_path):
    rows = np.array([[0, 127, 254, 255]], "uint8")
    write(tmp_path / "sure.tif", rows, layer=confidence_layer())
    with rasterio.open(tmp_path / "sure.tif") as made:
        assert made.nodata == 255
        assert made.scales == (pytest.approx(1 / 254),)
        assert made.descriptions == ("confidence × 254",)
        assert "value / 254" in made.tags()["GEOSEMI_SCALE"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sure.tif"]


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not installed (Debian: gdal-bin)")
def test_gdalinfo_reads_names_colours_and_layout(tmp_path):
    write(tmp_path / "mask.tif", patches(700, 700), layer=mask_layer(legend_of(4)))
    text = subprocess.run(["gdalinfo", tmp_path / "mask.tif"], capture_output=True, text=True, check=True).stdout
    assert "LAYOUT=COG" in text
    assert "ColorInterp=Palette" in text
    assert "NoData Value=255" in text
    assert "class a" in text.split("Categories:")[1]
    python = "/usr/bin/python3"  # GDAL's own validator comes with Debian's Python, if at all
    if subprocess.run([python, "-c", "import osgeo_utils"], capture_output=True, check=False).returncode:
        pytest.skip("GDAL's validator is not installed (Debian: python3-gdal)")
    done = subprocess.run([python, "-c", VALIDATE, tmp_path / "mask.tif"], capture_output=True, text=True, check=False)
    assert "is a valid cloud optimized GeoTIFF" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("wrong", ["row", "width", "dtype", "too many", "too few"])
def test_rows_out_of_order_are_refused(tmp_path, wrong):
    good = np.zeros((4, 8), "uint8")
    row, rows = {
        "row": (1, good), "width": (0, good[:, :7]), "dtype": (0, good.astype(int)),
        "too many": (0, np.zeros((5, 8), "uint8")), "too few": (0, good[:3]),
    }[wrong]  # fmt: skip

    def hand_in():
        with CogWriter(tmp_path / "m.tif", grid_of(4, 8), mask_layer(LEGEND)) as writer:
            writer.write_rows(row, rows)
            write_cogs([writer], {})

    with pytest.raises(ValueError, match="rows"):
        hand_in()
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_gdal_spoilt_are_never_given_a_name(tmp_path, monkeypatch):
    """GDAL can report success over a broken file; here a copy that loses a block stands for it."""
    import geosemi.geo.writer as module

    real = module.copy

    def spoil(source, target, **options):
        with rasterio.open(source, "r+") as dataset:
            dataset.write(np.full((1, 1), 3, "uint8"), 1, window=rasterio.windows.Window(0, 0, 1, 1))
        real(source, target, **options)

    monkeypatch.setattr(module, "copy", spoil)
    with pytest.raises(OutputError, match=r"mask.tif` could not be made in memory") as caught:
        write(tmp_path / "mask.tif", np.zeros((20, 20), "uint8"))
    assert "same command" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    import errno

    (tmp_path / "mask.tif").write_text("old")
    real = Path.write_bytes

    def full(self, content):
        if len(content) > 1000 and ".part-" in str(self.parent):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="no space left") as caught:
        write(tmp_path / "mask.tif", patches(300, 300))
    assert "free some space" in caught.value.hint
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("mask.tif", "old")]


def test_names_are_checked(tmp_path):
    require_free(tmp_path / "m.tiff", mask_layer(LEGEND), overwrite=False)
    with pytest.raises(OutputError, match="no name for a GeoTIFF"):
        require_free(tmp_path / "m.png", mask_layer(LEGEND), overwrite=False)
    (tmp_path / "m.qml").touch()
    with pytest.raises(OutputError, match=r"m.qml` exists"):
        require_free(tmp_path / "m.tif", mask_layer(LEGEND), overwrite=False)
    require_free(tmp_path / "m.tif", mask_layer(LEGEND), overwrite=True)
