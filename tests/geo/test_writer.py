"""Masks as files: what GDAL and rasterio read back, what lies beside them, and what happens when writing fails."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes import legend_of
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import grid_of, write_raster

from geosemi.errors import OutputError
from geosemi.geo.layers import Layer, amount_layer, mask_layer
from geosemi.geo.pyramid import average, level_shapes, mode
from geosemi.geo.style import legend_of as legend_in
from geosemi.geo.unfinished import unfinished
from geosemi.geo.writer import RasterSet

LEGEND = legend_of(4, ignore=200)
HALVES = Layer(("x", "y", "z"), float("nan"), "AVERAGE", dtype="float16")
LAYERS = {"mask": mask_layer(LEGEND), "amounts": amount_layer(["a", "b"], "how much"), "halves": HALVES}


def write(path, rows, layer=None, **more):
    return write_raster(path, rows, layer or mask_layer(LEGEND), **more)


def pixels_of(layer, height, width, seed=0):
    draw = np.random.default_rng(seed)
    shape = (len(layer.bands), height, width)
    if layer.overviews == "MODE":
        return draw.choice([0, 1, 2, 3, 200], shape).astype("uint8")
    if layer.dtype == "uint8":
        return draw.integers(0, 256, shape, "uint8")
    values = (draw.standard_normal(shape) * 10.0 ** draw.integers(-8, 5)).astype("float16")
    values[draw.random(shape) < 0.2] = np.nan
    return values


def patches(height, width, seed=0):
    return np.kron(
        np.random.default_rng(seed).integers(0, 4, (height // 20 + 1, width // 20 + 1)), np.ones((20, 20), int)
    ).astype("uint8")[:height, :width]


# --- what readers find


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=12)
@given(
    st.integers(1, 1300), st.integers(1, 600), st.lists(st.integers(1, 700), min_size=1, max_size=4), st.integers(0, 9)
)
def test_rows_come_back_whatever_the_steps_and_so_do_the_bytes(tmp_path, name, height, width, steps, seed):
    rows = pixels_of(LAYERS[name], height, width, seed)
    write(tmp_path / "a.tif", rows, LAYERS[name], steps=steps)
    write(tmp_path / "b.tif", rows, LAYERS[name])
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with rasterio.open(tmp_path / "a.tif") as made:
        assert made.dtypes == ("float32" if name == "halves" else "uint8",) * len(rows)  # GDAL widens half floats
        np.testing.assert_array_equal(made.read(), rows)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(1300, 700), (513, 1025), (2049, 3)])
def test_overviews_are_halves_of_halves(tmp_path, name, shape):
    layer = LAYERS[name]
    rows = pixels_of(layer, *shape)
    write(tmp_path / "a.tif", rows, layer, steps=(300,))
    shapes = level_shapes(*shape, 512)
    for level, expected in enumerate(shapes[1:]):
        rows = mode(rows, 200) if name == "mask" else average(rows, layer.nodata)
        with rasterio.open(tmp_path / "a.tif", overview_level=level) as small:
            assert small.shape == expected
            np.testing.assert_array_equal(small.read(), rows)
    with rasterio.open(tmp_path / "a.tif") as made:
        assert len(made.overviews(1)) == len(shapes) - 1


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
    write(tmp_path / "sure.tif", rows, layer=amount_layer(["confidence"], "how sure"))
    with rasterio.open(tmp_path / "sure.tif") as made:
        assert made.nodata == 255
        assert made.scales == (pytest.approx(1 / 254),)
        assert made.descriptions == ("confidence",)
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


def test_the_histogram_counts_the_main_raster(tmp_path):
    rows = pixels_of(LAYERS["mask"], 1100, 30)
    layers = {tmp_path / "sure.tif": amount_layer(["a"], "x"), tmp_path / "mask.tif": LAYERS["mask"]}
    with unfinished(tmp_path / "mask.tif", {}) as work, RasterSet(layers, grid_of(1100, 30), work) as made:
        made.write(0, [rows[0], rows[0]])
        assert made.begin == 1100
        assert made.histogram.tolist() == [(rows == value).sum() for value in range(256)]
        made.finish({})


# --- rows that do not fit


@pytest.mark.parametrize("wrong", ["row", "width", "bands", "dtype", "too many", "too few", "a raster too few"])
def test_rows_out_of_order_are_refused(tmp_path, wrong):
    good = np.zeros((4, 8), "uint8")
    row, rows = {
        "row": (1, [good]), "width": (0, [good[:, :7]]), "bands": (0, [np.stack([good, good])]),
        "dtype": (0, [good.astype(int)]), "too many": (0, [np.zeros((5, 8), "uint8")]), "too few": (0, [good[:3]]),
        "a raster too few": (0, []),
    }[wrong]  # fmt: skip
    message = {
        "row": r"from row 0 on", "width": r"expected \(1, 8\) uint8 .*got \(1, 4, 7\)",
        "bands": r"expected \(1, 8\) uint8 .*got \(2, 4, 8\)", "dtype": "expected .* uint8",
        "too many": "rows 0 … 4 leave those before 4", "too few": "rows 0 … 3 were not handed in",
        "a raster too few": "shorter",
    }[wrong]  # fmt: skip

    def hand_in():
        path = tmp_path / "m.tif"
        with unfinished(path, {}) as work, RasterSet({path: mask_layer(LEGEND)}, grid_of(4, 8), work) as made:
            made.write(row, rows)
            made.finish({})

    with pytest.raises(ValueError, match=message):
        hand_in()
    assert list(tmp_path.iterdir()) == []


def test_rows_are_never_skipped_nor_given_twice(tmp_path):
    path, rows = tmp_path / "m.tif", np.zeros((600, 8), "uint8")
    with unfinished(path, {}) as work, RasterSet({path: mask_layer(LEGEND)}, grid_of(600, 8), work) as made:
        made.write(0, [rows[:100]])
        for row in (0, 99, 101, 512):
            with pytest.raises(ValueError, match="from row 100 on"):
                made.write(row, [rows[:10]])
        made.write(100, [rows[100:]])
        made.finish({})
    with rasterio.open(path) as found:
        assert found.shape == (600, 8)


# --- names and disks


def test_side_files_come_before_the_raster_and_the_main_raster_last_all_flushed(tmp_path, monkeypatch):
    calls = []
    real_replace, real_sync = os.replace, os.fsync
    layers = {tmp_path / "sure.tif": amount_layer(["a"], "x"), tmp_path / "mask.tif": LAYERS["mask"]}
    rows = np.zeros((20, 30), "uint8")
    with unfinished(tmp_path / "mask.tif", {}) as work, RasterSet(layers, grid_of(20, 30), work) as made:
        made.write(0, [rows, rows])
        monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(Path(b).name), real_replace(a, b))[1])
        monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), real_sync(fd))[1])
        files = made.finish({})
    names = ["sure.tif", "mask.tif.aux.xml", "mask.qml", "mask.tif"]
    assert calls == ["sync"] * 4 + names + ["sync"]
    assert [f.name for f in files] == names
    assert sorted(names) == sorted(p.name for p in tmp_path.iterdir())


@pytest.mark.parametrize("what", ["pixels", "place", "cut"])
def test_bytes_that_were_spoilt_are_never_given_a_name(tmp_path, monkeypatch, what):
    """A disk can lose what it took; here a hand that changes the finished file before it is read back."""
    import geosemi.geo.writer as module

    real = module._joined

    def spoil(made, head, parts):
        real(made, head, parts)
        if what == "cut":
            os.truncate(made, made.stat().st_size - 9)
            return
        with rasterio.open(made, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            if what == "pixels":
                dataset.write(np.full((1, 1), 3, "uint8"), 1, window=rasterio.windows.Window(0, 0, 1, 1))
            else:
                dataset.transform *= rasterio.Affine.translation(1, 0)

    (tmp_path / "mask.tif").write_text("old")
    monkeypatch.setattr(module, "_joined", spoil)
    with pytest.raises(OutputError, match=r"mask.tif` does not read back as it was written \(.+\)") as caught:
        write(tmp_path / "mask.tif", np.zeros((20, 20), "uint8"))
    assert "--restart" in caught.value.hint
    assert (tmp_path / "mask.tif").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if p.name[0] != "."] == ["mask.tif"]


def attempt(path, rows):
    """Write a mask, the same work at every call; return why it failed, or None."""
    try:
        with unfinished(path, {}) as work, RasterSet({path: LAYERS["mask"]}, grid_of(*rows.shape), work) as made:
            made.write(made.begin, [rows[made.begin :]])
            made.finish({})
    except OutputError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (errno.ENOSPC, "no space left on the disk of", "free some space and run the same command again"),
        (errno.EIO, "cannot be written: ", "check the folder and the disk"),
    ],
)
def test_a_disk_that_fails_at_any_step_keeps_what_was_there(tmp_path, monkeypatch, code, message, hint):
    path, rows, real = tmp_path / "mask.tif", patches(1100, 60), os.fsync
    assert attempt(path, rows) is None
    complete = path.read_bytes()
    for failing in range(1, 99):
        for file in tmp_path.glob("mask*"):
            file.unlink()
        path.write_text("old")
        calls = []

        def sync(descriptor, calls=calls, failing=failing):
            calls.append(descriptor)
            if len(calls) == failing:
                raise OSError(code, os.strerror(code))
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sync)
            error = attempt(path, rows)
        if error is None:
            break
        assert message in error.message
        assert str(tmp_path) in error.message
        assert hint in error.hint
        assert path.read_bytes() in (b"old", complete)
        assert attempt(path, rows) is None  # the same command again
        assert path.read_bytes() == complete
    assert failing > 9  # blocks, journal lines, files and folder


FULL = """
import os, shutil, sys
from pathlib import Path

sys.path[:0] = sys.argv[2:]
from test_writer import attempt, patches

folder, rows = Path(sys.argv[1]), patches(1100, 600)
path, fill = folder / "mask.tif", folder / "fill"
assert attempt(path, rows) is None
complete = path.read_bytes()
for free in range(0, 2**19, 8192):
    for file in folder.glob("mask*"):
        file.unlink()
    path.write_text("old")
    room = os.statvfs(folder)
    fill.write_bytes(bytes(room.f_bavail * room.f_frsize - free))
    error = attempt(path, rows)
    fill.unlink()
    if error is None:
        assert path.read_bytes() == complete
        break
    print(error.message)
    assert "no space left on the disk of `" + str(folder) in error.message, error.message
    assert "nothing was lost" in error.hint
    assert path.read_text() == "old"
    assert attempt(path, rows) is None, "with the disk freed, the same command again"
    assert path.read_bytes() == complete
    assert not list(folder.glob(".*"))
"""


def can_mount(folder):
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", folder]
    return shutil.which("unshare") and subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path):
    """A disk of one megabyte, filled to every other page: each write in turn is the one that fails."""
    if not can_mount(tmp_path):
        pytest.skip("this machine lets nobody mount a small disk (needs unshare and user namespaces)")
    mount = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'
    here = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    command = ["unshare", "-Urm", "sh", "-c", mount, str(tmp_path), sys.executable, "-c", FULL, str(tmp_path), *here]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    failed = done.stdout.splitlines()
    assert len(failed) > 5
    assert len(set(failed)) > 2  # blocks, coarser levels, the joined file …


# --- memory

MEMORY = """
import resource, sys
from pathlib import Path

sys.path.append(sys.argv[2])
import numpy as np
from rasters import RasterSet, grid_of, unfinished
from geosemi.geo.layers import Layer
from geosemi.geo import raster

raster._SAFE["GDAL_CACHEMAX"] = 2**22  # which reading back fills whatever the height; 32 MB would hide what we keep
path, layer = Path(sys.argv[1]) / "mask.tif", Layer(("class",), 255, "MODE")
rows = np.random.default_rng(0).integers(0, 4, (512, 2000), "uint8")


def peak(blocks):
    with unfinished(path, {}) as work, RasterSet({path: layer}, grid_of(512 * blocks, 2000), work) as made:
        for number in range(blocks):
            made.write(512 * number, [rows])
        made.finish({})
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "linux" else 2**20)


print(peak(5), peak(50))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage there")
def test_memory_does_not_grow_with_the_height(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path, Path(__file__).parents[1]], capture_output=True, text=True, check=True
    )
    low, high = map(float, done.stdout.split())
    assert (tmp_path / "mask.tif").stat().st_size > 15e6  # compressed; raw it is 51 MB
    assert high - low < 6
