"""Mosaics from VRT files, with GDAL's own VRT driver as the oracle, and all the ways in which a VRT can lie."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from ground import UTM, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import windows_inside

from geosemi.errors import GeosemiError, ResourceError, SceneUnreadable, UnsafeInput
from geosemi.geo.grid import Grid
from geosemi.geo.mosaic import Mosaic
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window, cover


def source(name: str, band: int, src: tuple, dst: tuple, *, nodata: float | None = None, more: str = "") -> str:
    kind = "SimpleSource" if nodata is None and not more else "ComplexSource"
    hidden = "" if nodata is None else f"<NODATA>{nodata}</NODATA>"
    boxes = "".join(
        f'<{tag} xOff="{x}" yOff="{y}" xSize="{w}" ySize="{h}"/>'
        for tag, (x, y, w, h) in (("SrcRect", src), ("DstRect", dst))
    )
    file = f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
    return f"<{kind}>{file}{boxes}{hidden}{more}</{kind}>"


def vrt(path: Path, bands: list[str], size: tuple[int, int], *, dtype: str = "Byte", inner: str = "") -> Path:
    """Write a VRT of (height, width) at the place of the test scenes; `bands` hold sources and tags of each band."""
    body = "".join(
        f'<VRTRasterBand dataType="{dtype}" band="{i}">{text}</VRTRasterBand>' for i, text in enumerate(bands, 1)
    )
    place = "<GeoTransform>450000, 0.5, 0, 40000, 0, -0.5</GeoTransform>"
    path.write_text(
        f'<VRTDataset rasterXSize="{size[1]}" rasterYSize="{size[0]}"><SRS dataAxisToSRSAxisMapping="1,2">{UTM}</SRS>'
        f"{place}{inner}{body}</VRTDataset>"
    )
    return path


def whole(place):
    scene = Scene.open(place)
    with reading(scene) as reader:
        return scene, reader.read(scene.grid.window)


def gdal(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture
def four(make_scene, tmp_path):
    """A 2 × 2 mosaic with a gap and an overlap, of members with nodata 0 in their corners."""
    sources = [[], [], []]
    for number, (col, row) in enumerate([(0, 0), (60, 0), (0, 50), (70, 55)]):
        image = noise(50, 64, seed=number) | 1
        image[:, :9, :7] = 0
        make_scene(f"part{number}.tif", image=image, nodata=0, tiled=True, blockxsize=32, blockysize=16)
        for band in range(3):
            src, dst = (0, 0, 64, 50), (col, row, 64, 50)
            sources[band].append(source(f"part{number}.tif", band + 1, src, dst, nodata=0))
    names = ["red", "green", "blue"]
    bands = [
        f"<Description>{n}</Description><NoDataValue>0</NoDataValue>{''.join(s)}"
        for n, s in zip(names, sources, strict=True)
    ]
    return vrt(tmp_path / "all.vrt", bands, (105, 140))


def test_a_mosaic_has_the_pixels_that_gdal_sees(four):
    scene, tile = whole(four)
    assert (scene.bands, scene.indexes, scene.nodata, scene.dtype) == (("red", "green", "blue"), (1, 2, 3), 0, "uint8")
    with rasterio.open(four) as dataset:
        assert scene.grid == Grid(dataset.crs, dataset.transform, *dataset.shape)
    np.testing.assert_array_equal(tile.image, gdal(four))
    np.testing.assert_array_equal(tile.valid, gdal(four).any(axis=0))
    assert not tile.valid.all()
    assert [f.name for f in scene.files] == ["all.vrt", "part0.tif", "part1.tif", "part2.tif", "part3.tif"]


def test_windows_pieced_together_are_the_mosaic(four):
    scene, tile = whole(four)
    picked = scene.select(["blue", 1])
    with reading(picked) as reader:
        for window in cover(105, 140, 33, 6):
            part = reader.read(window)
            np.testing.assert_array_equal(part.image, tile.image[[2, 0], *window.slices])
            np.testing.assert_array_equal(part.valid, tile.valid[window.slices])


def test_more_members_than_may_be_open(make_scene, tmp_path):
    bands = ""
    for number in range(70):
        make_scene(f"{number}.tif", image=noise(8, 3, 1, seed=number))
        bands += source(f"{number}.tif", 1, (0, 0, 3, 8), (3 * number, 0, 3, 8))
    path = vrt(tmp_path / "wide.vrt", [bands], (8, 210))
    np.testing.assert_array_equal(whole(path)[1].image, gdal(path))


@given(data=st.data())
@settings(max_examples=40)
def test_parts_at_other_scales_come_from_the_nearest_pixel(make_scene, tmp_path, data):
    """GDAL's default for sources without resampling; equal sizes, doubled, and shrunk by whole factors."""
    image = noise(48, 60, 1, "uint16")
    make_scene("m.tif", image=image)
    src = data.draw(windows_inside(48, 60))
    grow = data.draw(st.sampled_from([1, 2, 3]))
    row, col = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))
    boxes = (src.col, src.row, src.width, src.height), (col, row, src.width * grow, src.height * grow)
    path = vrt(tmp_path / "s.vrt", [source("m.tif", 1, *boxes)], (200, 210), dtype="UInt16")
    np.testing.assert_array_equal(whole(path)[1].image, gdal(path))
    covered = np.zeros((200, 210), bool)
    covered[row : row + src.height * grow, col : col + src.width * grow] = True
    np.testing.assert_array_equal(whole(path)[1].valid, covered)


def test_files_as_bands(make_scene, tmp_path):
    for name, seed in (("r", 1), ("n", 2)):
        make_scene(f"{name}.tif", image=noise(40, 50, 1, "int16", seed), nodata=3)
    box = (0, 0, 50, 40)
    bands = [f"<NoDataValue>3</NoDataValue>{source(f'{name}.tif', 1, box, box)}" for name in "rn"]
    path = vrt(tmp_path / "stack.vrt", bands, (40, 50), dtype="Int16")
    scene, tile = whole(path)
    np.testing.assert_array_equal(tile.image, gdal(path))
    np.testing.assert_array_equal(tile.valid, (gdal(path) != 3).any(axis=0))
    assert scene.bands == ("band_1", "band_2")


def test_a_nodata_value_of_each_band(make_scene, tmp_path):
    make_scene("m.tif", image=np.stack([np.full((4, 4), 5), np.full((4, 4), 9)]).astype("uint8"))
    box = (0, 0, 4, 4)
    bands = [f"<NoDataValue>{n}</NoDataValue>{source('m.tif', i, box, box)}" for i, n in ((1, 5), (2, 9))]
    assert not whole(vrt(tmp_path / "a.vrt", bands, (4, 4)))[1].valid.any()
    bands[1] = bands[1].replace("<NoDataValue>9", "<NoDataValue>5")
    assert whole(vrt(tmp_path / "b.vrt", bands, (4, 4)))[1].valid.all()


def test_members_masks_and_alpha_count(make_scene, tmp_path):
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[:5] = 0
    mask = np.ones((20, 30), bool)
    mask[:, :4] = False
    make_scene("alpha.tif", image=noise(20, 30), alpha=alpha)
    make_scene("mask.tif", image=noise(20, 30), mask=mask)
    box = (0, 0, 30, 20)
    bands = [source("alpha.tif", i, box, box) + source("mask.tif", i, box, (30, 0, 30, 20)) for i in (1, 2, 3)]
    valid = whole(vrt(tmp_path / "a.vrt", bands, (20, 60)))[1].valid
    np.testing.assert_array_equal(valid, np.hstack([alpha > 0, mask]))


def test_a_palette_of_a_mosaic_is_expanded_on_demand(make_scene, tmp_path):
    make_scene("m.tif", image=np.array([[[0, 1], [1, 2]]], np.uint8))
    table = '<ColorTable><Entry c1="9" c2="8" c3="7" c4="255"/><Entry c1="1" c2="2" c3="3" c4="255"/></ColorTable>'
    box = (0, 0, 2, 2)
    band = f"<ColorInterp>Palette</ColorInterp>{table}{source('m.tif', 1, box, box)}"
    path = vrt(tmp_path / "p.vrt", [band], (2, 2))
    scene = Scene.open(path, expand_palette=True)
    with reading(scene) as reader:
        tile = reader.read(scene.grid.window)
    assert tile.image[:, 0].T.tolist() == [[9, 8, 7], [1, 2, 3]]
    assert tile.valid.tolist() == [[True, True], [True, False]]


# --- what a VRT can name besides rasters

BOX = (0, 0, 5, 5)
ONE = source("m.tif", 1, BOX, BOX)
LIES: dict[str, tuple[str, type[GeosemiError], str]] = {
    "a URL": (ONE.replace("m.tif", "/vsicurl/http://127.0.0.1:9/m.tif"), UnsafeInput, "which is no raster file"),
    "a plain URL": (ONE.replace("m.tif", "https://127.0.0.1:9/m.tif"), UnsafeInput, "which is no raster file"),
    "an archive": (ONE.replace("m.tif", "/vsizip/a.zip/m.tif"), UnsafeInput, "which is no raster file"),
    "a VRT within": (ONE.replace("m.tif", "other.vrt"), UnsafeInput, "which is no raster file"),
    "inline XML": (ONE.replace("m.tif", "&lt;VRTDataset/&gt;"), UnsafeInput, "which is no raster file"),
    "a text file": (ONE.replace("m.tif", "secret.txt"), SceneUnreadable, "is no GeoTIFF, PNG or JPEG"),
    "a missing file": (ONE.replace("m.tif", "none.tif"), SceneUnreadable, "does not exist"),
    "a look-up table": (ONE.replace("</Simple", "<LUT>0:9</LUT></Simple"), SceneUnreadable, "a mosaic .*LUT"),
    "a filter": (ONE.replace("SimpleSource", "KernelFilteredSource"), SceneUnreadable, "KernelFilteredSource"),
    "a mask for a band": (ONE.replace(">1<", ">mask,1<"), SceneUnreadable, "takes `mask,1` for a band"),
    "a band it lacks": (ONE.replace(">1<", ">9<"), SceneUnreadable, "wants band 9 of"),
    "no rectangle": (ONE.replace("SrcRect", "Properties"), SceneUnreadable, "Properties|SrcRect"),
    "no number": (ONE.replace('xOff="0"', 'xOff="nan"', 1), SceneUnreadable, "holds `nan` where a number belongs"),
    "an empty rectangle": (ONE.replace('xSize="5"', 'xSize="0"', 1), SceneUnreadable, "no proper `SrcRect`"),
    "a great shrinking": (source("m.tif", 1, (0, 0, 500, 500), BOX), SceneUnreadable, "more than 8-fold"),
    "another dtype": (ONE.replace("m.tif", "wide.tif"), SceneUnreadable, "holds uint16, but .* says uint8"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_vrt_that_names_more_than_rasters_is_refused(make_scene, tmp_path, lie):
    make_scene("m.tif", image=noise(5, 5, 1))
    make_scene("wide.tif", image=noise(5, 5, 1, "uint16"))
    (tmp_path / "secret.txt").write_text("not for you, not for you at all")
    body, kind, told = LIES[lie]
    with pytest.raises(kind, match=told) as caught:
        whole(vrt(tmp_path / "lie.vrt", [body], (5, 5)))
    assert type(caught.value) is kind
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (("<VRTDataset ", '<VRTDataset subClass="VRTWarpedDataset" '), SceneUnreadable, "VRTWarpedDataset"),
        (('band="1"', 'band="1" subClass="VRTRawRasterBand"'), UnsafeInput, r"computes a band \(VRTRawRasterBand\)"),
        (('band="1"', 'band="1" subClass="VRTDerivedRasterBand"'), UnsafeInput, "VRTDerivedRasterBand"),
        (("<VRTDataset ", "<!DOCTYPE x><VRTDataset "), SceneUnreadable, "is no VRT"),
        (("<SRS", '<?xml version="1.0"?><SRS'), SceneUnreadable, "no readable XML"),
        (("450000, ", ""), SceneUnreadable, "no proper `GeoTransform`"),
        (("EPSG:32636", "EPSG:what"), SceneUnreadable, "no proper `SRS`"),
        (("EPSG:32636", "http://127.0.0.1:9/epsg"), SceneUnreadable, "no proper `SRS`"),
        (("EPSG:32636", "PROJCS[&quot;what&quot;]"), SceneUnreadable, "no proper `SRS`"),
        (('dataType="Byte"', 'dataType="CFloat32"'), SceneUnreadable, "bands of CFloat32"),
        (("<VRTRasterBand", "<Nothing"), SceneUnreadable, "no readable XML"),
        (("<VRTDataset ", "<GDAL_WMS "), SceneUnreadable, "is no VRT"),
    ],
)
def test_a_strange_vrt_is_refused(make_scene, tmp_path, change, kind, told):
    make_scene("m.tif", image=noise(5, 5, 1))
    path = vrt(tmp_path / "a.vrt", [ONE], (5, 5))
    whole(path)  # without the change it is fine
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(kind, match=told) as caught:
        Scene.open(path)
    assert caught.value.hint


def test_entities_are_refused_before_the_parser_sees_them(tmp_path):
    path = tmp_path / "bomb.vrt"
    path.write_text('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha">]><VRTDataset/>')
    with pytest.raises(UnsafeInput, match="declares XML entities") as caught:
        Scene.open(path)
    assert "if you trust it" in caught.value.hint


def test_no_bands_and_a_vast_file_are_refused(tmp_path):
    with pytest.raises(ResourceError, match="has 0 bands"):
        Scene.open(vrt(tmp_path / "none.vrt", [], (5, 5)))
    path = tmp_path / "vast.vrt"
    with path.open("wb") as file:
        file.write(b"<VRTDataset")
        file.truncate(65 * 2**20)
    with pytest.raises(ResourceError, match="larger than 64 MB"):
        Scene.open(path)


def test_a_damaged_member_is_named(make_scene, tmp_path):
    path = make_scene("m.tif", image=noise(64, 64, 1), tiled=True, blockxsize=32, blockysize=32, compress="lzw")
    with rasterio.open(path) as dataset:
        begin, size = (int(dataset.get_tag_item(f"BLOCK_{w}_1_1", "TIFF", bidx=1)) for w in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    content[begin : begin + size] = bytes(size)
    path.write_bytes(content)
    box = (0, 0, 64, 64)
    mosaic = vrt(tmp_path / "a.vrt", [source("m.tif", 1, box, (10, 10, 64, 64))], (80, 80))
    with (
        reading(Scene.open(mosaic)) as reader,
        pytest.raises(SceneUnreadable, match=r"m\.tif` cannot be decoded at rows 30") as caught,
    ):
        reader.read(Window(40, 40, 20, 20))
    assert "copy the file again" in caught.value.hint


def test_a_mosaic_can_be_made_without_a_file(make_scene):
    from geosemi.geo.mosaic import Box, Piece

    image = noise(10, 12, 1)
    member = make_scene("m.tif", image=image)
    box = Box(0, 0, 12, 10)
    grid = Grid(None, Affine.identity(), 10, 12)
    mosaic = Mosaic(Path("item.json"), grid, "uint8", ("pan",), (None,), ((Piece(member, 1, box, box),),))
    scene, tile = whole(mosaic)
    assert (scene.path, scene.bands, str(mosaic), mosaic.stem) == (Path("item.json"), ("pan",), "item.json", "item")
    np.testing.assert_array_equal(tile.image, image)
