import logging
import os
import re
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from ground import noise
from rasterio.enums import ColorInterp

from geosemi.errors import GeosemiError, InputError, ResourceError, SceneUnreadable, UnsafeInput
from geosemi.geo.raster import open_raster
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window

Make = Callable[..., Path]
TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def refusal(path: Path | str, kind: type[GeosemiError] = SceneUnreadable) -> GeosemiError:
    with pytest.raises(kind) as caught, open_raster(path):
        pass
    assert type(caught.value) is kind
    assert caught.value.exit_code == kind.exit_code
    return caught.value


def smooth(height: int = 256, width: int = 256) -> np.ndarray:
    """Pixels that codecs really compress, unlike noise, which they store as it is."""
    rows, cols = np.mgrid[:height, :width]
    planes = (
        np.sin(rows / 9) * 60 + np.cos(cols / 7) * 50 + 120,
        (rows + cols) / 2,
        (rows // 16 + cols // 16) % 2 * 90,
    )
    return np.stack(planes).astype(np.uint8)


def bare_tiff(samples: int, width: int = 1, height: int = 1) -> bytes:
    """A TIFF of a few bytes that claims what we like."""
    size = width * height * samples
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 200),
        (277, samples),
        (278, 1),
        (279, size),
    ]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (head + body + bytes(4)).ljust(200, b"\0") + b"\1" * 64


# --- what is read


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "float32", "float64"])
def test_pixels_come_as_they_were_written(make_scene: Make, dtype: str):
    image = noise(40, 50, 3, dtype)
    path = make_scene(image=image, descriptions=("red", "", "nir"), nodata=7)
    with open_raster(path) as file:
        assert (file.count, file.dtype, file.nodata, file.alpha) == (3, np.dtype(dtype), 7.0, None)
        assert file.band_names == ("red", "band_2", "nir")
        window = Window(3, 5, 20, 30)
        np.testing.assert_array_equal(file.read(window, [3, 1]), image[[2, 0], 3:23, 5:35])
        np.testing.assert_array_equal(file.read(window, 2), image[1, 3:23, 5:35])


@pytest.mark.parametrize(
    "creation",
    [
        {},
        {"bigtiff": "yes"},
        {"endianness": "big"},
        {"bigtiff": "yes", "endianness": "big"},
        {"interleave": "band"},
        {"compress": "lzw", "predictor": 2, **TILED},
        {"compress": "zstd", **TILED},
        {"compress": "deflate", "blockysize": 1},
        {"compress": "lzma"},
    ],
    ids=str,
)
def test_every_encoding_gives_the_same_pixels(make_scene: Make, creation: dict):
    image = smooth(100, 120)
    with open_raster(make_scene(image=image, **creation)) as file:
        np.testing.assert_array_equal(file.read(file.grid.window, [1, 2, 3]), image)


@pytest.mark.parametrize("driver", ["PNG", "JPEG"])
def test_png_and_jpeg_open_by_their_content(tmp_path: Path, driver: str):
    image = smooth(64, 80)
    path = tmp_path / "photo.dat"
    with rasterio.MemoryFile() as memory:
        with memory.open(driver=driver, count=3, height=64, width=80, dtype="uint8") as dataset:
            dataset.write(image)
        path.write_bytes(memory.getbuffer())
    with open_raster(path) as file:
        assert file.grid.crs is None
        error = np.abs(file.read(file.grid.window, [1, 2, 3]).astype(int) - image).mean()
        assert error == 0 if driver == "PNG" else error < 12


def test_a_window_that_leaves_the_raster_is_a_programming_error(make_scene: Make):
    with (
        open_raster(make_scene(height=10, width=20)) as file,
        pytest.raises(ValueError, match="leaves the raster of 10"),
    ):
        file.read(Window(0, 15, 5, 6), 1)


def test_every_shared_edge_case_opens(shared: Path):
    paths = sorted((shared / "data" / "geotiff-edge-cases").iterdir())
    assert len(paths) >= 10
    for path in paths:
        scene = Scene.open(path)
        with reading(scene) as reader:
            tile = reader.read(Window(0, 0, min(64, scene.grid.height), min(64, scene.grid.width)))
        assert tile.image.shape == (len(scene.bands), *tile.valid.shape), path.name
        assert np.isfinite(tile.image).all(), path.name


def test_what_the_edge_cases_say_of_themselves(shared: Path):
    folder = shared / "data" / "geotiff-edge-cases"
    rgba = Scene.open(folder / "deepness_fotomap_small_2cm_rgba.tif")
    assert (rgba.indexes, rgba.alpha) == ((1, 2, 3), 4)
    gcps = Scene.open(folder / "riotiler_cog_gcps.tif")
    assert gcps.has_gcps
    assert gcps.grid.crs is None
    assert Scene.open(folder / "riotiler_cog_cmap.tif").grid.shape == (8704, 7168)
    europa = Scene.open(folder / "riotiler_cog_nonearth.tif").grid
    assert "EUROPA" in europa.crs.to_string()
    assert europa.metres_per_pixel() == pytest.approx(274.6, abs=0.1)


# --- what is refused, and how it is told


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b'<VRTDataset rasterXSize="5" rasterYSize="5"></VRTDataset>', "<VRTDataset"),
        (b"<GDAL_WMS><Service name='TMS'></Service></GDAL_WMS>", "<GDAL_WMS>"),
        (b"<!DOCTYPE html><html>404</html>", "<!DOCTYPE html"),
        (b"hello\x1b[31m world, this is no raster", "hello"),
        (b"II", "II"),
    ],
)
def test_text_named_tif_is_refused(tmp_path: Path, content: bytes, start: str):
    path = tmp_path / "scene.tif"
    path.write_bytes(content)
    error = refusal(path)
    assert f"`{path}` is no GeoTIFF, PNG or JPEG (starts with b" in error.message
    assert start in error.message
    assert error.message.isprintable()
    assert "saved web page" in error.hint


def test_a_vrt_named_tif_does_not_give_another_files_bytes(tmp_path: Path):
    """The negative control shows that plain rasterio would."""
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"0123456789abcdef")
    path = tmp_path / "scene.tif"
    path.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"'
        ' subClass="VRTRawRasterBand">'
        '<SourceFilename relativeToVRT="1">secret.txt</SourceFilename><ImageOffset>0</ImageOffset>'
        "<PixelOffset>1</PixelOffset><LineOffset>4</LineOffset></VRTRasterBand></VRTDataset>"
    )
    with rasterio.Env(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"), rasterio.open(path) as dataset:
        assert dataset.read(1).tobytes() == secret.read_bytes()
    with rasterio.Env(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"):
        refusal(path)


def test_a_geotiff_that_names_its_overviews_elsewhere_is_refused(make_scene: Make):
    path = make_scene(tags={"OVERVIEWS": {"OVERVIEW_FILE": "/vsicurl/http://127.0.0.1:9/other.tif"}})
    error = refusal(path, UnsafeInput)
    assert "names another file as its overview" in error.message
    assert "gdal_translate if you trust it" in error.hint
    assert error.exit_code == 7


def test_side_files_change_nothing(make_scene: Make, tmp_path: Path):
    """Sidecars by other programs are ignored. The control shows that plain rasterio reads them."""
    image = noise(64, 64)
    path = make_scene(image=image, transform=None, crs=None)
    before = Scene.open(path)
    (tmp_path / "scene.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>5,2,0,9,0,-2</GeoTransform></PAMDataset>"
    )
    (tmp_path / "scene.tfw").write_text("2\n0\n0\n-2\n100\n200\n")
    with rasterio.open(path) as naive:
        assert naive.crs is not None
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", count=3, height=32, width=32, dtype="uint8") as dataset:
            dataset.write(np.full((3, 32, 32), 99, np.uint8))
        (tmp_path / "scene.tif.ovr").write_bytes(memory.getbuffer())
    with rasterio.open(path) as naive:
        assert naive.overviews(1) == [2]
    with open_raster(path) as file:
        assert file.dataset.overviews(1) == []
    assert Scene.open(path) == before
    with reading(before) as reader:
        tile = reader.read(before.grid.window)
    assert tile.valid.all()
    np.testing.assert_array_equal(tile.image, image)


@pytest.mark.filterwarnings("ignore:.*statistics")
def test_nothing_is_written_beside_an_input(make_scene: Make, tmp_path: Path):
    path = make_scene()
    names, content, time_of = sorted(tmp_path.iterdir()), path.read_bytes(), path.stat().st_mtime_ns
    tmp_path.chmod(0o555)
    try:
        with open_raster(path) as file:
            file.read(file.grid.window, [1, 2, 3])
            file.dataset.statistics(1)
        assert sorted(tmp_path.iterdir()) == names
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, time_of)
    finally:
        tmp_path.chmod(0o755)
    with rasterio.open(path) as naive:  # control: plain GDAL leaves its statistics beside the file
        naive.statistics(1)
    assert (tmp_path / "scene.tif.aux.xml").exists()


def test_missing_empty_folder_and_link(tmp_path: Path):
    assert "does not exist" in (error := refusal(tmp_path / "none.tif")).message
    assert error.hint == "check the path"
    link = tmp_path / "link.tif"
    link.symlink_to(tmp_path / "gone.tif")
    assert refusal(link).hint == "the link's target is gone"
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    assert "cannot be read: Too many levels" in refusal(loop).message
    empty = tmp_path / "empty.tif"
    empty.touch()
    assert "is empty (0 bytes)" in (error := refusal(empty)).message
    assert error.hint == "copy it again"
    assert "is not a regular file" in (error := refusal(tmp_path)).message
    assert error.hint == "give the path of a raster file"
    assert "cannot be read: embedded null byte" in refusal("a\0b.tif").message


@pytest.mark.parametrize(
    "name", ["<VRTDataset></VRTDataset>", "vrt://scene.tif", "/vsicurl/http://x/y.tif", "GTIFF_DIR:1:a"]
)
def test_connection_strings_are_only_paths(name: str):
    assert "does not exist" in refusal(name).message


def test_a_pipe_is_refused_at_once(tmp_path: Path):
    pipe = tmp_path / "pipe.tif"
    os.mkfifo(pipe)
    begin = time.monotonic()
    assert "is not a regular file" in refusal(pipe).message
    assert time.monotonic() - begin < 5  # opening it would block for ever


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_permission(make_scene: Make):
    path = make_scene()
    path.chmod(0)
    error = refusal(path)
    assert "permission denied" in error.message.casefold()
    assert "permissions" in error.hint


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("share", [None, 0.2, 0.5, 0.9])
def test_a_file_cut_off_is_refused_before_any_read(
    make_scene: Make, interleave: str, compress: str, share: float | None
):
    """Also by its last byte; a planar file keeps its first band whole then, so the last one is looked at too."""
    path = make_scene(image=smooth(), interleave=interleave, compress=compress, **TILED)
    content = path.read_bytes()
    path.write_bytes(content[:-1] if share is None else content[: int(len(content) * share)])
    error = refusal(path)
    assert str(path) in error.message
    assert "copy it again" in error.hint
    if share is None:
        assert f"ends at byte {len(content):,} but the file has {len(content) - 1:,}" in error.message


@pytest.mark.parametrize("kept", [4, 8, 100])
def test_a_bare_header_is_refused(make_scene: Make, kept: int):
    path = make_scene()
    path.write_bytes(path.read_bytes()[:kept])
    error = refusal(path)
    assert "cannot be opened" in error.message
    assert error.hint == "the file is damaged; copy it again"


@pytest.mark.parametrize("bands", [1025, 65_535])
def test_claims_of_many_bands_are_refused_quickly(tmp_path: Path, bands: int):
    path = tmp_path / "claims.tif"
    path.write_bytes(bare_tiff(bands))
    begin = time.process_time()
    error = refusal(path, ResourceError)
    assert time.process_time() - begin < 10  # reading one window of such a file takes minutes
    assert f"claims {bands} bands; the limit is 1024" in error.message
    assert "gdal_translate -b" in error.hint
    assert error.exit_code == 5


def test_the_bare_tiff_is_a_tiff(tmp_path: Path):
    """Control: with sane claims the same few bytes open, so the refusals above are about the claims."""
    path = tmp_path / "claims.tif"
    path.write_bytes(bare_tiff(3, 4, 1))
    with open_raster(path) as file:
        assert (file.count, file.grid.shape) == (3, (1, 4))
    path.write_bytes(bare_tiff(1, 0, 1))
    refusal(path)


@pytest.mark.parametrize(("bands", "interleave"), [(1, "band"), (3, "pixel")])
def test_a_huge_block_is_refused(tmp_path: Path, bands: int, interleave: str):
    side = 24_000 if bands == 1 else 14_000  # 3 × 14000² bytes: a chunky block is decoded with all its bands
    path = tmp_path / "huge.tif"
    profile = {"driver": "GTiff", "count": bands, "height": side, "width": side, "dtype": "uint8"}
    layout = {"tiled": True, "blockxsize": side, "blockysize": side, "interleave": interleave}
    with rasterio.open(path, "w", **profile, **layout, compress="deflate", sparse_ok=True):
        pass
    error = refusal(path, ResourceError)
    assert re.search(r"stores [56]\d\d MB a block; the limit is 512 MB", error.message)
    assert "TILED=YES" in error.hint


def test_a_vast_sparse_claim_opens_and_reads_in_little_memory(tmp_path: Path):
    path = tmp_path / "vast.tif"
    profile = {"driver": "GTiff", "count": 1, "height": 200_000, "width": 200_000, "dtype": "uint8", **TILED}
    profile |= {"blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", **profile, sparse_ok=True):
        pass
    with open_raster(path) as file:
        assert file.read(Window(199_000, 199_000, 512, 512), 1).sum() == 0


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_samples_are_refused(tmp_path: Path, dtype: str):
    path = tmp_path / "radar.tif"
    with rasterio.open(path, "w", driver="GTiff", count=1, height=8, width=8, dtype=dtype) as dataset:
        dataset.write(np.ones((1, 8, 8), "complex64"))
    error = refusal(path)
    assert "holds complex samples" in error.message
    assert "amplitude" in error.hint


@pytest.mark.parametrize("tag", [273, 279])
def test_a_directory_with_a_wrong_type_is_told(make_scene: Make, tag: int):
    """The offsets of the blocks as text: GDAL opens such a file and fails at the first question about it."""
    path = make_scene(bands=1, blockysize=4)
    content = bytearray(path.read_bytes())
    entry = struct.pack("<HH", tag, 4 if tag == 273 else 3)
    at = content.find(entry)
    if at < 0:
        at = content.index(struct.pack("<HH", tag, 4))
    content[at + 2] = 2
    path.write_bytes(bytes(content))
    with pytest.raises(SceneUnreadable) as caught:
        Scene.open(path)
    assert str(path) in caught.value.message
    assert "copy it again" in caught.value.hint


def failure_of(path: Path) -> GeosemiError | None:
    try:
        scene = Scene.open(path)
        with reading(scene) as reader:
            reader.read(Window(0, 0, min(64, scene.grid.height), min(64, scene.grid.width)))
    except GeosemiError as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # rasterio logs messages with raw bytes
@pytest.mark.parametrize(
    "creation", [{"compress": "deflate"}, {"interleave": "band"}, {"bigtiff": "yes", **TILED}], ids=str
)
def test_random_damage_is_read_or_refused_in_words(make_scene: Make, creation: dict):
    path = make_scene(image=smooth(64, 64), nodata=3, tags={"": {"a": "b"}}, **creation)
    content, random = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(150):
        damage = bytearray(content)
        for at in random.integers(0, 700, 3):  # where header, directory and tags lie
            damage[at] = random.integers(256)
        path.write_bytes(bytes(damage))
        if (error := failure_of(path)) is not None:
            refused += 1
            assert error.message.isprintable()
            assert error.hint
    assert 0 < refused < 150


# --- damage inside


def damaged(path: Path, col: int, row: int, *, how: Callable[[bytes], bytes]) -> None:
    """Change the stored bytes of one 64 × 64 tile."""
    with rasterio.open(path) as dataset:
        tag = dataset.get_tag_item
        begin, size = (int(tag(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    content[begin : begin + size] = how(bytes(content[begin : begin + size]))
    path.write_bytes(bytes(content))


def second_half_lost(stored: bytes) -> bytes:
    return stored[: len(stored) // 2] + bytes(len(stored) - len(stored) // 2)


def all_lost(stored: bytes) -> bytes:
    return bytes(len(stored))


@pytest.mark.parametrize("codec", ["jpeg", "deflate", "lzw", "lerc", "zstd"])
def test_a_damaged_tile_is_an_error_that_says_where(make_scene: Make, codec: str):
    path = make_scene(image=smooth(), compress=codec, interleave="pixel", **TILED)
    # deflate and zstd streams that only lose their end can decode to wrong pixels without any sign; nothing tells then
    lose = all_lost if codec in ("deflate", "zstd") else second_half_lost
    damaged(path, 2, 1, how=lose)
    with open_raster(path) as file:
        file.read(Window(0, 0, 64, 64), [1, 2, 3])  # elsewhere all is well
        with pytest.raises(SceneUnreadable) as caught:
            file.read(Window(60, 120, 30, 40), [1, 2, 3])
        assert f"`{path}` cannot be decoded at rows 60–89, columns 120–159" in caught.value.message
        assert caught.value.hint == "copy the file again; it is damaged"
        file.read(Window(192, 0, 64, 64), [1, 2, 3])  # and an error leaves nothing behind for the next window


def test_plain_rasterio_reads_a_damaged_jpeg_tile_in_silence(make_scene: Make):
    """The control of the test above: why the log is watched."""
    image = smooth()
    path = make_scene(image=image, compress="jpeg", interleave="pixel", **TILED)
    with rasterio.open(path) as dataset:
        whole = dataset.read()
    damaged(path, 2, 1, how=second_half_lost)
    with rasterio.open(path) as dataset:
        assert (dataset.read() != whole).any()


def test_a_silenced_log_does_not_silence_damage(make_scene: Make):
    path = make_scene(image=smooth(), compress="jpeg", interleave="pixel", **TILED)
    damaged(path, 0, 0, how=second_half_lost)
    logger = logging.getLogger("rasterio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with open_raster(path) as file, pytest.raises(SceneUnreadable, match="JPEGLib"):
            file.read(Window(0, 0, 64, 64), [1, 2, 3])
    finally:
        logger.setLevel(level)
        logging.getLogger("rasterio._err").setLevel(logging.NOTSET)


def test_damage_in_one_thread_is_not_blamed_on_another(make_scene: Make):
    good = make_scene("good.tif", image=smooth(), compress="jpeg", interleave="pixel", **TILED)
    bad = make_scene("bad.tif", image=smooth(), compress="jpeg", interleave="pixel", **TILED)
    damaged(bad, 2, 1, how=second_half_lost)
    outcomes: dict[str, list[bool]] = {"good.tif": [], "bad.tif": []}
    together = threading.Barrier(2)

    def work(path: Path) -> None:
        for _ in range(20):
            with open_raster(path) as file:
                together.wait(timeout=60)
                try:
                    file.read(file.grid.window, [1, 2, 3])
                    outcomes[path.name].append(True)
                except InputError:
                    outcomes[path.name].append(False)

    threads = [threading.Thread(target=work, args=(path,)) for path in (good, bad)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"good.tif": [True] * 20, "bad.tif": [False] * 20}


def test_alpha_and_internal_mask_are_told_apart(make_scene: Make):
    alpha = make_scene("alpha.tif", alpha=np.full((64, 96), 255))
    masked = make_scene("masked.tif", mask=np.ones((64, 96), bool))
    with open_raster(alpha) as file:
        assert (file.alpha, file.has_internal_mask, file.count) == (4, False, 4)
        assert file.dataset.colorinterp[3] == ColorInterp.alpha
    with open_raster(masked) as file:
        assert (file.alpha, file.has_internal_mask, file.count) == (None, True, 3)
