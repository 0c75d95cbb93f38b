"""Headers of our own against GDAL's: its COG driver writes the same raster, its validator judges the bytes."""

import shutil
import struct
import subprocess
import zlib

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from fakes import legend_of
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.windows import Window
from rasters import NORTH_UP, UTM, grid_of, write_raster
from rio_cogeo import cog_validate

from geosemi.geo import tiff
from geosemi.geo.blocks import BLOCK, predictor_of
from geosemi.geo.gcps import ControlPoints
from geosemi.geo.layers import Layer, amount_layer, mask_layer
from geosemi.geo.pyramid import level_shapes
from geosemi.geo.tiff import Level, framed, header, read_tags

LAYERS = {
    "mask": mask_layer(legend_of(4, ignore=200)),
    "amounts": amount_layer(["p", "q"], "how sure"),
    "halves": Layer(("x", "y", "z"), float("nan"), "AVERAGE", dtype="float16", tags={"NOTE": "<&> é\n1"}),
}
MERCATOR = CRS.from_proj4("+proj=tmerc +lat_0=0.3 +lon_0=9.1 +k=0.9996 +x_0=1000 +y_0=0 +ellps=bessel +units=m")
PLACES = {
    "north up": (UTM, NORTH_UP),
    "south up": (UTM, Affine(0.5, 0, 450_000, 0, 0.5, 40_000)),
    "rotated": (UTM, Affine(0.5, 0.1, 450_000, 0.1, -0.5, 40_000)),
    "degrees": (CRS.from_epsg(4326), Affine(1e-4, 0, 13, 0, -1e-4, 52)),
    "own crs": (MERCATOR, NORTH_UP),
    "site": (CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'), NORTH_UP),
    "no crs": (None, NORTH_UP),
    "crs alone": (UTM, Affine.identity()),
    "nowhere": (None, Affine.identity()),
    "points": (None, Affine.identity()),
}
POINTS = ControlPoints(
    tuple(GroundControlPoint(r, c, 450_000 + c / 2, 40_000 - r / 2, 3.0) for r in (0, 40) for c in (0, 60)), UTM
)
PYTHON = "/usr/bin/python3"  # GDAL's own validator comes with Debian's Python, if at all
VALIDATE = """
import sys
from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate
for path in sys.argv[1:]:
    warnings, errors, _ = validate(path, full_check=True)
    print(path, warnings + errors or "is fine")
"""


def has_validator():
    command = [PYTHON, "-c", "import osgeo_utils.samples.validate_cloud_optimized_geotiff"]
    return (
        shutil.which(PYTHON) is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def validated(*paths):
    done = subprocess.run([PYTHON, "-c", VALIDATE, *paths], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.split(" ", 1)[1] for line in done.stdout.splitlines()]


def pixels_of(layer, height=700, width=600):
    draw = np.random.default_rng(0)
    shape = (len(layer.bands), height, width)
    if layer.overviews == "MODE":
        return draw.choice([0, 1, 2, 3, 200], shape).astype("uint8")
    return draw.random(shape).astype("float16") if layer.dtype == "float16" else draw.integers(0, 256, shape, "uint8")


def write_by_gdal(path, rows, layer, *, crs, transform, points, tags):
    """Write a raster as GDAL's COG driver does."""
    count, height, width = rows.shape
    half = {"nbits": 16} if layer.dtype == "float16" else {}
    place = {"crs": crs, **({"transform": transform} if transform != Affine.identity() else {})}
    if points:
        place = {"gcps": list(points.points), "crs": points.crs}
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "interleave": "pixel"}
    source = path.with_suffix(".source.tif")
    with rasterio.open(
        source, "w", **profile, **place, **half, nodata=layer.nodata, dtype="float32" if half else "uint8"
    ) as dataset:
        dataset.write(rows.astype("float32" if half else "uint8"))
        for number, name in enumerate(layer.bands, start=1):
            dataset.set_band_description(number, name)
        if layer.colours:
            dataset.write_colormap(1, layer.colours)
        if layer.scale != 1:
            dataset.scales = (layer.scale,) * count
        dataset.update_tags(**layer.tags, **tags)
    predictor = "YES" if predictor_of(layer) == tiff.HORIZONTAL else "NO"
    rasterio.shutil.copy(
        source, path, driver="COG", blocksize=BLOCK, compress="deflate", predictor=predictor,
        overview_resampling=layer.overviews.lower(), **half,
    )  # fmt: skip


def facts(path):
    """Return all that a reader is told about a raster."""
    with rasterio.open(path) as d:
        return {
            "crs": d.crs, "transform": d.transform, "nodata": [str(n) for n in d.nodatavals], "dtypes": d.dtypes,
            "shape": d.shape, "overviews": d.overviews(1), "blocks": d.block_shapes, "names": d.descriptions,
            "scales": d.scales, "offsets": d.offsets, "units": d.units, "colours": d.colorinterp,
            "table": d.colormap(1) if d.colorinterp[0].name == "palette" else None, "tags": d.tags(),
            "bands": [d.tags(i) for i in d.indexes], "structure": d.tags(ns="IMAGE_STRUCTURE"),
            "structures": [d.tags(i, ns="IMAGE_STRUCTURE") for i in d.indexes], "masks": d.mask_flag_enums,
            "points": [(g.row, g.col, g.x, g.y, g.z) for g in d.gcps[0]], "points crs": d.gcps[1],
        }  # fmt: skip


def directories(content):
    """Return the tags of every directory of a file, the finest level's first."""
    found, (place,) = [], struct.unpack_from("<I", content, 4)
    while place:
        found.append(normal(read_tags(content[:4] + struct.pack("<I", place) + content[8:])))
        (count,) = struct.unpack_from("<H", content, place)
        (place,) = struct.unpack_from("<I", content, place + 2 + 12 * count)
    return found


def normal(tags):
    """Return the values of tags: where they lie is not compared, nor whether a number takes two bytes or four."""
    kept = {c: t for c, t in tags.items() if c not in (324, 325)}
    for code in (256, 257):
        kept[code] = int.from_bytes(kept[code].data, "little")
    kept.setdefault(317, tiff._numbers(3, 1))  # no predictor is the default, and GDAL says so
    return kept


@pytest.mark.parametrize(
    ("name", "place", "kind"),
    [
        *((name, place, "Area") for name in LAYERS for place in PLACES),
        *(("mask", place, "Point") for place in ("north up", "rotated", "degrees", "points")),
    ],
)
def test_tags_are_those_of_gdals_cog_driver(tmp_path, name, place, kind):
    """GDAL's own files are the oracle: byte by byte in every directory, and in all that a reader is told."""
    layer, (crs, transform) = LAYERS[name], PLACES[place]
    points = POINTS if place == "points" else None
    tags = {"MODEL": "a", **({"AREA_OR_POINT": "Point"} if kind == "Point" else {})}
    rows = pixels_of(layer)
    write_raster(tmp_path / "ours.tif", rows, layer, grid=grid_of(700, 600, crs, transform), tags=tags, points=points)
    write_by_gdal(tmp_path / "gdal.tif", rows, layer, crs=crs, transform=transform, points=points, tags=tags)
    ours, gdals = ((tmp_path / f).read_bytes() for f in ("ours.tif", "gdal.tif"))
    assert directories(ours) == directories(gdals)
    assert len(directories(ours)) == 2
    for side in layer.sides:  # names and classes beside the file are ours alone
        (tmp_path / side.format(name="ours.tif", stem="ours")).unlink()
    assert facts(tmp_path / "ours.tif") == facts(tmp_path / "gdal.tif")
    assert facts(tmp_path / "ours.tif")["structure"]["LAYOUT"] == "COG"


def test_gdal_reads_the_note_about_the_layout_as_its_own(tmp_path):
    layer = LAYERS["amounts"]
    rows = pixels_of(layer)
    write_raster(tmp_path / "ours.tif", rows, layer)
    write_by_gdal(tmp_path / "gdal.tif", rows, layer, crs=UTM, transform=NORTH_UP, points=None, tags={})
    ours, gdals = ((tmp_path / f).read_bytes() for f in ("ours.tif", "gdal.tif"))
    end = ours.index(b"KNOWN_INCOMPATIBLE_EDITION=NO\n ") + 31
    assert ours[8:end] == gdals[8:end]
    assert struct.unpack_from("<I", ours, 4) == struct.unpack_from("<I", gdals, 4)


@pytest.mark.parametrize("shape", [(3, 5), (1100, 600)])
@pytest.mark.parametrize("name", LAYERS)
def test_a_bigtiff_is_the_same_raster(tmp_path, monkeypatch, name, shape):
    layer = LAYERS[name]
    rows = pixels_of(layer, *shape)
    write_raster(tmp_path / "small.tif", rows, layer)
    monkeypatch.setattr(tiff, "_CLASSIC_LIMIT", 0)
    write_raster(tmp_path / "big.tif", rows, layer)
    assert (tmp_path / "small.tif").read_bytes()[:4] == b"II*\0"
    assert (tmp_path / "big.tif").read_bytes()[:4] == b"II+\0"
    assert facts(tmp_path / "big.tif") == facts(tmp_path / "small.tif")
    for level in range(-1, len(level_shapes(*shape, BLOCK)) - 1):
        options = {} if level < 0 else {"overview_level": level}
        with rasterio.open(tmp_path / "big.tif", **options) as b, rasterio.open(tmp_path / "small.tif", **options) as s:
            np.testing.assert_array_equal(b.read(), s.read())


def test_a_file_is_a_bigtiff_when_four_bytes_reach_no_further():
    tags = read_small_tags()
    sizes = [2**20] * (4096 - 1)
    assert header([Level(BLOCK, BLOCK * len(sizes), sizes[:-2])], tags, block=BLOCK, predictor=1)[:4] == b"II*\0"
    assert header([Level(BLOCK, BLOCK * len(sizes), sizes)], tags, block=BLOCK, predictor=1)[:4] == b"II+\0"


def read_small_tags():
    return tiff.tags_by_gdal({"count": 1, "dtype": "uint8", "nodata": 255}, lambda dataset: None)


def test_pixels_beyond_four_gigabytes_are_found(tmp_path):
    """A sparse file: only the last block is there, behind ten of a gigabyte each."""
    block = zlib.compress(np.full((BLOCK, BLOCK), 7, "uint8").tobytes())
    level = Level(BLOCK, 11 * BLOCK, [2**30] * 10 + [len(block)])
    head = header([level], read_small_tags(), block=BLOCK, predictor=1)
    with (tmp_path / "huge.tif").open("wb") as out:
        out.write(head)
        out.truncate(len(head) + level.stored)
        out.seek(len(head) + level.stored - len(block) - 8)
        for part in framed(block):
            out.write(part)
    with rasterio.open(tmp_path / "huge.tif") as made:
        for number in range(11):
            offset = made.get_tag_item(f"BLOCK_OFFSET_{number}_0", "TIFF", bidx=1)
            assert int(offset) == len(head) + 4 + number * (2**30 + 8)
        assert (made.read(1, window=Window(10 * BLOCK, 0, BLOCK, BLOCK)) == 7).all()


@pytest.mark.skipif(not has_validator(), reason="GDAL's validator is not installed (Debian: python3-gdal)")
class TestValidator:
    @pytest.mark.parametrize("big", [False, True])
    def test_every_block_stands_where_a_cog_has_it(self, tmp_path, monkeypatch, big):
        if big:
            monkeypatch.setattr(tiff, "_CLASSIC_LIMIT", 0)
        paths = []
        for name, layer in LAYERS.items():
            for height, width in ((1, 1), (512, 512), (513, 512), (1100, 600)):
                paths.append(tmp_path / f"{name}{height}.tif")
                write_raster(paths[-1], pixels_of(layer, height, width), layer, steps=(100,))
        assert validated(*paths) == ["is fine"] * len(paths)

    def test_it_sees_a_wrong_byte_before_or_behind_a_block(self, tmp_path):
        """The control: the full check does look at the blocks' frames."""
        layer = LAYERS["mask"]
        write_raster(tmp_path / "good.tif", pixels_of(layer), layer)
        content = (tmp_path / "good.tif").read_bytes()
        with rasterio.open(tmp_path / "good.tif") as made:
            begin, size = (int(made.get_tag_item(f"BLOCK_{k}_0_0", "TIFF", bidx=1)) for k in ("OFFSET", "SIZE"))
        for name, place in (("leader", begin - 4), ("trailer", begin + size)):
            broken = bytearray(content)
            broken[place] ^= 1
            (tmp_path / f"{name}.tif").write_bytes(broken)
            assert name in validated(tmp_path / f"{name}.tif")[0]


@pytest.mark.parametrize("big", [False, True])
def test_rio_cogeo_agrees(tmp_path, monkeypatch, big):
    if big:
        monkeypatch.setattr(tiff, "_CLASSIC_LIMIT", 0)
    for name, layer in LAYERS.items():
        path = tmp_path / f"{name}.tif"
        write_raster(path, pixels_of(layer, 1100, 600), layer)
        assert cog_validate(path, strict=True) == (True, [], [])


def test_a_block_stands_between_its_size_and_its_last_bytes():
    assert framed(b"abcdef") == (b"\x06\0\0\0", b"abcdef", b"cdef")
    assert framed(b"ab") == (b"\x02\0\0\0", b"ab", b"\0\0ab")


@pytest.mark.parametrize("content", [b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n"])
def test_tags_are_read_from_small_little_endian_files_only(content):
    with pytest.raises(ValueError, match="not a little-endian classic TIFF"):
        read_tags(content)
