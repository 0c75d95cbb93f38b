"""Every raster that can go wrong, as one table: each case makes its file, and gets its clear error or its right answer.

The letters are those of the table of malformed inputs: A file and container, B bands, types and nodata, C place. A case
that is refused names the kind of error, what the message says and which way out the hint shows; a case that is answered
names the pixels that the mask must come from, and what the run must say.
"""

import os
import re
import shutil
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from fakes import TinySegmenter, bundle_of
from ground import NORTH_UP, UTM, noise
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC

from geosemi.errors import BandMismatch, GeosemiError, InputError, ResourceError, SceneUnreadable, UnsafeInput
from geosemi.predict.check import check_scene
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

IMAGE = noise(64, 96)
TILED = {"tiled": True, "blockxsize": 32, "blockysize": 32}
COMPRESSED = {**TILED, "compress": "lzw"}
WHOLE = np.ones((64, 96), bool)
CPU = PredictSettings(device="cpu", tile=32)


@dataclass(frozen=True)
class Refused:
    """What must be said: kind of error, message and hint (regular expressions)."""

    kind: type[GeosemiError]
    message: str
    hint: str


@dataclass(frozen=True)
class Answered:
    """What the mask must come from: the scene's pixels, where they are valid; and what must be said."""

    image: np.ndarray = field(default_factory=lambda: IMAGE)
    valid: np.ndarray = field(default_factory=lambda: WHOLE)
    told: str = ""
    check: Callable[[Path, Path], None] | None = None


CASES: dict[str, tuple[Callable[[Path], Path], Refused | Answered]] = {}


def case(name: str, outcome: Refused | Answered) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Add a case under a name; the function makes the file in a folder."""

    def add(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        assert name not in CASES
        CASES[name] = (make, outcome)
        return make

    return add


def write(path: Path, image: np.ndarray = IMAGE, *, crs: object = UTM, transform: Affine | None = NORTH_UP, **more):
    """Write a GeoTIFF with plain rasterio."""
    mask, gcps, rpcs = more.pop("mask", None), more.pop("gcps", None), more.pop("rpcs", None)
    names, tags, colours = more.pop("names", ()), more.pop("tags", {}), more.pop("colours", None)
    place = {"transform": transform} if transform is not None else {}
    shape = {"count": image.shape[0], "height": image.shape[1], "width": image.shape[2], "dtype": image.dtype.name}
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
    ):
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", **shape, **place, crs=crs, **more) as dataset:
            if gcps is not None:
                dataset.gcps = (gcps, CRS.from_user_input("EPSG:4326"))
            if rpcs is not None:
                dataset.rpcs = rpcs
            if colours is not None:
                dataset.write_colormap(1, colours)
            for number, name in enumerate(names, start=1):
                dataset.set_band_description(number, name)
            for domain, values in tags.items():
                dataset.update_tags(ns=domain, **values)
            dataset.write(image)
            if mask is not None:
                dataset.write_mask(mask)
    Path(f"{path}.aux.xml").unlink(missing_ok=True)
    return path


def entry(content: bytes, tag: int) -> int:
    """Where the directory of a little-endian classic TIFF holds a tag."""
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    for number in range(count):
        place = at + 2 + 12 * number
        if struct.unpack_from("<H", content, place)[0] == tag:
            return place
    raise AssertionError(f"no tag {tag}")


def patch(path: Path, tag: int, value: int, *, form: str = "<H", at: int = 8) -> Path:
    """Overwrite a tag's value, or another field of its entry, in place."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, entry(content, tag) + at, value)
    path.write_bytes(content)
    return path


def block(path: Path, col: int, row: int) -> tuple[int, int]:
    with rasterio.open(path) as dataset:
        offset, size = (dataset.get_tag_item(f"BLOCK_{w}_{col}_{row}", "TIFF", bidx=1) for w in ("OFFSET", "SIZE"))
    return int(offset), int(size)


def lose(path: Path, col: int, row: int, *, share: float = 1.0) -> Path:
    """Overwrite the end of a stored block with zeros."""
    begin, size = block(path, col, row)
    content = bytearray(path.read_bytes())
    lost = int(size * share)
    content[begin + size - lost : begin + size] = bytes(lost)
    path.write_bytes(content)
    return path


# --- A. file and container

COPY = "copy (it|the file) again"


@case("A1 empty", Refused(SceneUnreadable, r"`.*scene.tif` is empty \(0 bytes\)", "copy it again"))
def _(folder):
    (folder / "scene.tif").touch()
    return folder / "scene.tif"


for _name, _text in (
    ("text", b"this is a note"),
    ("html", b"<!DOCTYPE html><html>404</html>"),
    ("vrt", b"<VRTDataset/>"),
):

    @case(f"A2 {_name}", Refused(SceneUnreadable, "is no GeoTIFF, PNG or JPEG .starts with", "saved web page"))
    def _(folder, text=_text):
        (folder / "scene.tif").write_bytes(text)
        return folder / "scene.tif"


@case("A3 header only", Refused(SceneUnreadable, "scene.tif` cannot be opened", COPY))
def _(folder):
    path = write(folder / "scene.tif")
    path.write_bytes(path.read_bytes()[:8])
    return path


for _name, _kept in (("half", 0.5), ("nine tenths", 0.9), ("all but a byte", None)):

    @case(f"A3 {_name} of it", Refused(SceneUnreadable, r"is cut off: a block ends at byte|cannot be opened", COPY))
    def _(folder, kept=_kept):
        content = write(folder / "scene.tif", **TILED).read_bytes()
        (folder / "scene.tif").write_bytes(content[: -1 if kept is None else int(len(content) * kept)])
        return folder / "scene.tif"


@case("A4 damaged block", Refused(SceneUnreadable, r"cannot be decoded at rows \d+–\d+, columns", COPY))
def _(folder):
    return lose(write(folder / "scene.tif", **COMPRESSED), 1, 1)


@case("A5 damaged JPEG tile", Refused(SceneUnreadable, r"cannot be decoded at rows \d+–\d+, columns", COPY))
def _(folder):
    rows, cols = np.mgrid[:64, :96]
    smooth = np.stack([rows * 2, cols * 2, rows + cols]).astype(np.uint8)
    layout = {**TILED, "compress": "jpeg", "photometric": "ycbcr"}
    return lose(write(folder / "scene.tif", smooth, **layout), 1, 1, share=0.7)


HOLE = WHOLE.copy()
HOLE[32:, 32:64] = False


@case("A6 missing block", Answered(valid=HOLE, told="1 of 6 blocks were never written, and are taken for nodata"))
def _(folder):
    return patch_blocks(write(folder / "scene.tif", **TILED), {4: (0, 0)})


def patch_blocks(path: Path, blocks: dict[int, tuple[int, int]]) -> Path:
    """Give stored blocks another (offset, size)."""
    content = bytearray(path.read_bytes())
    for tag, part in ((324, 0), (325, 1)):
        place = entry(content, tag)
        kind, _, at = struct.unpack_from("<HII", content, place + 2)
        form, size = ("<H", 2) if kind == 3 else ("<I", 4)
        for number, values in blocks.items():
            struct.pack_into(form, content, at + size * number, values[part])
    path.write_bytes(content)
    return path


@case("A7 offset behind the end", Refused(SceneUnreadable, r"is cut off: a block ends at byte 9,0", COPY))
def _(folder):
    return patch_blocks(write(folder / "scene.tif", **TILED), {2: (9_000_000, 3072)})


@case("A7 directory loop", Answered())
def _(folder):
    """The next directory is the first one again; the first is read."""
    path = write(folder / "scene.tif")
    content = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    struct.pack_into("<I", content, at + 2 + 12 * count, at)
    path.write_bytes(content)
    return path


@case("A7 tag of a wrong type", Refused(SceneUnreadable, "has a damaged directory|cannot be opened", COPY))
def _(folder):
    return patch(write(folder / "scene.tif", **TILED), 324, 2, at=2)


for _name, _tag in (("width", 256), ("height", 257)):

    @case(f"A8 zero {_name}", Refused(SceneUnreadable, "scene.tif` cannot be opened", COPY))
    def _(folder, tag=_tag):
        return patch(write(folder / "scene.tif"), tag, 0)


@case("A9 vast claim", Refused(ResourceError, r"claims 1,000,000 × 1,000,000 pixels but is", "gdal_translate -srcwin"))
def _(folder):
    profile = {"driver": "GTiff", "count": 3, "height": 10**6, "width": 10**6, "dtype": "uint8", "sparse_ok": True}
    big = {"tiled": True, "blockxsize": 4096, "blockysize": 4096, "bigtiff": "yes"}
    with rasterio.open(folder / "scene.tif", "w", **profile, **big, crs=UTM, transform=NORTH_UP):
        return folder / "scene.tif"


BOMB = np.full((3, 1500, 1500), 99, np.uint8)


@case("A9 small file, many pixels", Answered(BOMB, np.ones(BOMB.shape[1:], bool)))
def _(folder):
    return write(folder / "scene.tif", BOMB, compress="deflate", tiled=True)


@case("A10 giant block", Refused(ResourceError, r"stores 549 MB a block; the limit is 512 MB", "TILED=YES"))
def _(folder):
    layout = {"tiled": True, "blockxsize": 24_000, "blockysize": 24_000, "compress": "deflate", "sparse_ok": True}
    profile = {"driver": "GTiff", "count": 1, "height": 24_000, "width": 24_000, "dtype": "uint8"}
    with rasterio.open(folder / "scene.tif", "w", **profile, **layout):
        return folder / "scene.tif"


@case("A10b many bands", Refused(ResourceError, "claims 65535 bands; the limit is 1024", "gdal_translate -b"))
def _(folder):
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 200), (277, 65535), (278, 1), (279, 65535)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    (folder / "scene.tif").write_bytes((head + body + bytes(4)).ljust(300, b"\0"))
    return folder / "scene.tif"


@case("A10c overview elsewhere", Refused(UnsafeInput, "names another file as its overview", "clean copy"))
def _(folder):
    return write(folder / "scene.tif", tags={"OVERVIEWS": {"OVERVIEW_FILE": "/vsicurl/http://127.0.0.1:9/o.tif"}})


@case("A10c overview beside it", Answered())
def _(folder):
    write(folder / "o.tif", np.full((3, 32, 48), 9, np.uint8))
    (folder / "o.tif").rename(folder / "scene.tif.ovr")
    return write(folder / "scene.tif")


@case("A11 unknown codec", Refused(SceneUnreadable, "scene.tif` cannot be opened", "gdal_translate -co COMPRESS|copy"))
def _(folder):
    return patch(write(folder / "scene.tif", **COMPRESSED), 259, 65535)


ENCODINGS = {
    "BigTIFF": {"bigtiff": "yes"}, "big-endian": {"endianness": "big"}, "LZW": {"compress": "lzw", "predictor": 2},
    "ZSTD": {"compress": "zstd"}, "LERC": {"compress": "lerc"}, "LZMA": {"compress": "lzma"},
    "WebP": {"compress": "webp", "webp_lossless": True}, "deflate": {"compress": "deflate", "predictor": 2},
    "small blocks": {"tiled": True, "blockxsize": 16, "blockysize": 16}, "strips of a row": {"blockysize": 1},
    "planes": {"interleave": "band"}, "planes in tiles": {"interleave": "band", **COMPRESSED},
}  # fmt: skip
for _name, _options in ENCODINGS.items():

    @case(f"A12 {_name}", Answered())
    def _(folder, options=_options):
        return write(folder / "scene.tif", **options)


@case("A13 several images", Answered(told=r"the file holds 2 images; the first is taken \(64 × 96 pixels\)"))
def _(folder):
    pillow = pytest.importorskip("PIL.Image")
    pages = [pillow.fromarray(np.moveaxis(i, 0, -1)) for i in (IMAGE, noise(32, 40))]
    pages[0].save(folder / "scene.tif", save_all=True, append_images=pages[1:])
    return folder / "scene.tif"


@case("A14 folder", Refused(SceneUnreadable, "scene.tif` is not a regular file", "path of a raster file"))
def _(folder):
    (folder / "scene.tif").mkdir()
    return folder / "scene.tif"


@case("A14 pipe", Refused(SceneUnreadable, "scene.tif` is not a regular file", "path of a raster file"))
def _(folder):
    os.mkfifo(folder / "scene.tif")
    return folder / "scene.tif"


@case("A14 device", Refused(SceneUnreadable, "`/dev/zero` is not a regular file", "path of a raster file"))
def _(folder):
    return Path("/dev/zero")


@case("A14 dangling link", Refused(SceneUnreadable, "scene.tif` does not exist", "the link's target is gone"))
def _(folder):
    (folder / "scene.tif").symlink_to(folder / "gone.tif")
    return folder / "scene.tif"


@case("A14 link loop", Refused(SceneUnreadable, "scene.tif` cannot be read: Too many levels", "permissions"))
def _(folder):
    (folder / "scene.tif").symlink_to(folder / "scene.tif")
    return folder / "scene.tif"


@case("A15 no permission", Refused(SceneUnreadable, "cannot be read: [Pp]ermission denied", "permissions"))
def _(folder):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    path = write(folder / "scene.tif")
    path.chmod(0)
    return path


for _name in ("Köln 地図.tif", "a b.tif", "line\nbreak.tif", "-dash.tif", "$(touch x).tif", "a;b&c.tif", "100%s.tif",
              "vrt:x.tif", "a'b\".tif", "scene"):  # fmt: skip

    @case(f"A16 {_name!r}", Answered())
    def _(folder, name=_name):
        write(folder / "plain.tif")
        return (folder / "plain.tif").rename(folder / name)


@case("A17 link", Answered())
def _(folder):
    write(folder / "real.tif")
    (folder / "scene.tif").symlink_to("real.tif")
    return folder / "scene.tif"


# --- B. bands, types, nodata

BANDS = {True: "gdalbuildvrt -separate", False: "--bands"}  # fewer than the model takes, or more
for _count in (1, 2, 5, 8):

    @case(
        f"B{1 if _count < 3 else 2} {_count} bands",
        Refused(BandMismatch, rf"it has {_count} bands? .*takes 3", BANDS[_count < 3]),
    )
    def _(folder, count=_count):
        return write(folder / "scene.tif", noise(64, 96, count), photometric="minisblack")


@case("B2 near-infrared tagged alpha", Refused(BandMismatch, r"it has 4 bands .*takes 3", "--bands 1,2,3"))
def _(folder):
    return write(folder / "scene.tif", noise(64, 96, 4), photometric="rgb", alpha="yes")


@case("B2 bands by their names", Answered(noise(64, 96, 4)[[2, 0, 1]]))
def _(folder):
    names = ("green", "blue", "red", "nir")
    return write(folder / "scene.tif", noise(64, 96, 4), photometric="minisblack", names=names)


for _dtype, _scale in (("uint16", 40), ("int16", 40), ("float32", 1 / 255), ("float64", 1 / 255)):

    @case(f"B3 {_dtype}", Refused(InputError, rf"its pixels are {_dtype}, the model was trained on uint8", "rescale"))
    def _(folder, dtype=_dtype, scale=_scale):
        return write(folder / "scene.tif", (IMAGE * scale).astype(dtype))


@case("B4 complex", Refused(SceneUnreadable, "holds complex samples", "amplitude"))
def _(folder):
    return write(folder / "scene.tif", IMAGE.astype("complex64"))


@case("B4 1-bit", Refused(BandMismatch, r"its pixels are 1-bit", "the image that it was made from"))
def _(folder):
    return write(folder / "scene.tif", IMAGE[:1] % 2, nbits=1)


for _kind, _bands in (("CMYK", 4), ("CIELAB", 3)):

    @case(f"B4 {_kind}", Refused(InputError, f"its colours are {_kind}", "convert it to red, green and blue"))
    def _(folder, kind=_kind, bands=_bands):
        return write(folder / "scene.tif", noise(64, 96, bands), photometric=kind)


@case("B4 min is white", Refused(BandMismatch, r"inverted \(min-is-white\)", "-scale 0 255 255 0"))
def _(folder):
    return write(folder / "scene.tif", IMAGE[:1], photometric="miniswhite")


@case("B5 palette", Refused(BandMismatch, "it is a palette image", "--expand-palette"))
def _(folder):
    return write(folder / "scene.tif", IMAGE[:1], colours={i: (i, i, i, 255) for i in range(256)})


RIM = WHOLE.copy()
RIM[:, :20] = False
RIM[:9] = False


@case("B6 alpha", Answered(valid=RIM))
def _(folder):
    alpha = (RIM * 255).astype(np.uint8)[None]
    return write(folder / "scene.tif", np.concatenate([IMAGE, alpha]), photometric="rgb", alpha="yes")


@case("B6 mask within", Answered(valid=RIM))
def _(folder):
    return write(folder / "scene.tif", mask=RIM)


@case("B6 mask beside", Answered(valid=RIM, told="the mask `scene.tif.msk` beside it is read too"))
def _(folder):
    write(folder / "m.tif", (RIM * 255).astype(np.uint8)[None], tags={"": {"INTERNAL_MASK_FLAGS_1": "2"}})
    (folder / "m.tif").rename(folder / "scene.tif.msk")
    return write(folder / "scene.tif")


DARK = np.where(RIM, np.maximum(IMAGE, 1), 0).astype(np.uint8)
DARK[0, 40:50, 40:60] = 0  # black in one band is a colour


@case("B7 nodata 0 at the rim, zeros within", Answered(DARK, RIM))
def _(folder):
    return write(folder / "scene.tif", DARK, nodata=0)


@case("B8 nothing but nodata", Answered(np.zeros_like(IMAGE), ~WHOLE))
def _(folder):
    return write(folder / "scene.tif", np.zeros_like(IMAGE), nodata=0)


ROOFS = np.minimum(IMAGE, 254)
ROOFS[:, 20:40, 30:60] = 255


@case(
    "B10 white roofs under nodata 255",
    Answered(ROOFS, (ROOFS < 255).all(axis=0), told="nodata = 255 hides 9.8% of the pixels amid the image"),
)
def _(folder):
    return write(folder / "scene.tif", ROOFS, nodata=255)


# --- C. place


def nowhere(scene: Path, mask: Path) -> None:
    with rasterio.open(mask) as dataset:
        assert dataset.crs is None
        assert dataset.transform.is_identity


@case("C1 no crs, no transform", Answered(told="no coordinate system, so the mask has none", check=nowhere))
def _(folder):
    return write(folder / "scene.tif", crs=None, transform=None)


@case("C1 no crs", Answered(told="no coordinate system, so the mask has none"))
def _(folder):
    return write(folder / "scene.tif", crs=None)


LOCAL = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
LAMBERT = "+proj=lcc +lat_1=40 +lat_2=60 +lat_0=50 +lon_0=10 +x_0=1 +y_0=2 +ellps=bessel +units=m +no_defs"
SYSTEMS: dict[str, tuple[object, Affine]] = {
    "C2 degrees": ("EPSG:4326", Affine(1e-5, 0, 25, 0, -1e-5, 60)),
    "C3 Web Mercator": ("EPSG:3857", Affine(0.5, 0, 1e6, 0, -0.5, 8e6)),
    "C3 US feet": ("EPSG:2263", Affine(1, 0, 1e6, 0, -1, 2e5)),
    "C3 polar": ("EPSG:3031", Affine(10, 0, -1e6, 0, -10, 1e6)),
    "C3 compound": ("EPSG:25832+5783", NORTH_UP),
    "C3 of one's own": (CRS.from_proj4(LAMBERT), Affine(1, 0, 1e5, 0, -1, 1e5)),
    "C3 local": (CRS.from_wkt(LOCAL), Affine(1, 0, 10, 0, -1, 90)),
    "C4 rotated": (UTM, Affine.translation(450_000, 40_000) * Affine.rotation(30) * Affine.scale(0.5, -0.5)),
    "C4 sheared": (UTM, Affine(0.5, 0.1, 450_000, -0.05, -0.5, 40_000)),
    "C4 south-up": (UTM, Affine(0.5, 0, 450_000, 0, 0.5, 40_000)),
    "C4 mirrored": (UTM, Affine(-0.5, 0, 450_000, 0, -0.5, 40_000)),
    "C4 oblong pixels": (UTM, Affine(0.5, 0, 450_000, 0, -0.8, 40_000)),
    "C10 antimeridian": ("EPSG:4326", Affine(1e-3, 0, 179.97, 0, -1e-3, -16)),
    "C10 pole": ("EPSG:4326", Affine(1e-3, 0, 10, 0, -1e-3, 90)),
}
for _name, (_crs, _transform) in SYSTEMS.items():

    @case(_name, Answered())
    def _(folder, crs=_crs, transform=_transform):
        return write(folder / "scene.tif", crs=crs, transform=transform)


POINTS = [GroundControlPoint(r, c, 10 + c / 1000, 50 - r / 1000) for r, c in ((0, 0), (0, 96), (64, 0), (64, 96))]


def same_points(scene: Path, mask: Path) -> None:
    with rasterio.open(scene) as one, rasterio.open(mask) as other:
        assert [(p.row, p.col, p.x, p.y) for p in one.gcps[0]] == [(p.row, p.col, p.x, p.y) for p in other.gcps[0]]
        assert one.gcps[1] == other.gcps[1]
        assert len(one.gcps[0]) == 4


@case("C5 control points", Answered(told="placed by ground control points", check=same_points))
def _(folder):
    return write(folder / "scene.tif", crs=None, transform=None, gcps=POINTS)


@case("C5 RPC only", Answered(told="no coordinate system"))
def _(folder):
    terms = [1.0] + [0.0] * 19
    numbers = {"height_off": 1, "height_scale": 1, "lat_off": 1, "lat_scale": 1, "line_off": 1, "line_scale": 1,
               "long_off": 1, "long_scale": 1, "samp_off": 1, "samp_scale": 1}  # fmt: skip
    coefficients = {f"{n}_coeff": terms for n in ("line_num", "line_den", "samp_num", "samp_den")}
    return write(folder / "scene.tif", crs=None, transform=None, rpcs=RPC(**numbers, **coefficients))


DEGENERATE = Refused(SceneUnreadable, "scene.tif`: a raster has a degenerate", "georeference it")
for _name, _transform in (("zero", Affine(0, 0, 9, 0, 0, 9)), ("flat", Affine(0.5, 0.25, 9, 1, 0.5, 9))):

    @case(f"C6 {_name} pixels", DEGENERATE)
    def _(folder, transform=_transform):
        return write(folder / "scene.tif", transform=transform)


def scaled(folder: Path, size: float) -> Path:
    """Overwrite the tag with the pixel size."""
    path = write(folder / "scene.tif")
    content = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", content, entry(content, 33550) + 8)
    struct.pack_into("<ddd", content, at, size, size, 0.0)
    path.write_bytes(content)
    return path


@case("C6 NaN pixel size", DEGENERATE)
def _(folder):
    return scaled(folder, float("nan"))


@case("C6 zero pixel size", Answered(told="placed by ground control points"))
def _(folder):
    """GDAL takes the tie point alone, as a control point."""
    return scaled(folder, 0.0)


@case(
    "C7 another place beside it",
    Answered(told="`scene.tif.aux.xml` beside it also says where it lies, and is not read"),
)
def _(folder):
    path = write(folder / "scene.tif")
    (folder / "scene.tif.aux.xml").write_text("<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>")
    return path


@case("C7 world file", Answered(told="the world file `scene.tfw` beside it is not read; to use it", check=nowhere))
def _(folder):
    (folder / "scene.tfw").write_text("2\n0\n0\n-2\n100\n200\n")
    return write(folder / "scene.tif", crs=None, transform=None)


@case(
    "C8 far larger pixels",
    Refused(InputError, "its pixels are 30 m, the model was trained at 0.5 m", "--resolution model"),
)
def _(folder):
    return write(folder / "scene.tif", transform=Affine(30, 0, 450_000, 0, -30, 40_000))


@case("C8 larger pixels", Answered(told="pixels are 2 m, the model was trained at 0.5 m: expect errors"))
def _(folder):
    return write(folder / "scene.tif", transform=Affine(2, 0, 450_000, 0, -2, 40_000))


@case("C9 pixel is point", Answered())
def _(folder):
    return write(folder / "scene.tif", tags={"": {"AREA_OR_POINT": "Point"}})


# --- the test

SIZED = ("C8", "A")  # cases in which the model knows its resolution; elsewhere pixels may be of any size


def model_of(name: str):
    named = "names" in name or name.startswith("B2 bands by")
    bands = ("red", "green", "blue") if named else ()
    resolution = 0.5 if name.startswith(SIZED) else None
    return bundle_of(TinySegmenter(), tile=32, names=bands, resolution=resolution, provenance={"dtype": "uint8"})


def answer(bundle, image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """What a pointwise network says of every valid pixel, in one pass."""
    with torch.inference_mode():
        logits = bundle.model((torch.from_numpy(image.astype("float32"))[None] - 100) / 50)[0]
    return np.where(valid, logits.argmax(0).numpy(), bundle.card.legend.ignore).astype(np.uint8)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # rasterio logs messages with raw bytes
@pytest.mark.parametrize("name", CASES)
def test_malformed(tmp_path: Path, name: str):
    make, outcome = CASES[name]
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    scene, bundle = make(folder), model_of(name)
    before = sorted(p.name for p in folder.iterdir())
    if isinstance(outcome, Refused):
        with pytest.raises(GeosemiError) as caught:
            predict_scene(bundle, scene, out / "mask.tif", CPU)
        error = caught.value
        assert type(error) is outcome.kind, error
        assert re.search(outcome.message, error.message), error.message
        assert re.search(outcome.hint, error.hint), error.hint
        assert all(line.isprintable() for line in error.lines) or "line\nbreak" in name
        assert not (out / "mask.tif").exists()
    else:
        facts = predict_scene(bundle, scene, out / "mask.tif", CPU)
        expect(bundle, scene, out / "mask.tif", outcome, facts)
    assert sorted(p.name for p in folder.iterdir()) == before  # nothing is left beside an input


def expect(bundle, scene: Path, mask: Path, outcome: Answered, facts) -> None:
    text = "; ".join(facts.warnings)
    assert re.search(outcome.told, text), text
    assert outcome.told or not facts.warnings, text
    with warnings.catch_warnings(), rasterio.open(mask) as other:
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(other.read(1), answer(bundle, outcome.image, outcome.valid))
        shutil.copy(scene, mask.with_name("alone.tif"))  # as it is without what lies beside it
        with rasterio.open(mask.with_name("alone.tif")) as one:
            assert (one.crs, one.transform, one.shape) == (other.crs, other.transform, other.shape)
    if outcome.check is not None:
        outcome.check(scene, mask)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_b9_a_poisoned_pixel_is_nodata_and_changes_no_other(tmp_path: Path, dtype: str):
    image = noise(64, 96, 3, dtype)
    clean = write(tmp_path / "clean.tif", image)
    poison = image.copy()
    for place, value in {(0, 5, 7): np.nan, (1, 30, 31): np.inf, (2, 63, 95): -np.inf, (0, 40, 3): 3e38}.items():
        poison[place] = value
    dirty = write(tmp_path / "dirty.tif", poison, nodata=3e38)
    bundle = bundle_of(TinySegmenter(), tile=32)
    for path in (clean, dirty):
        predict_scene(bundle, path, path.with_suffix(".mask.tif"), CPU)
    masks = []
    for path in (clean, dirty):
        with rasterio.open(path.with_suffix(".mask.tif")) as dataset:
            masks.append(dataset.read(1))
    changed = masks[0] != masks[1]
    assert {tuple(p) for p in np.argwhere(changed)} <= {(5, 7), (30, 31), (63, 95), (40, 3)}
    assert all(masks[1][p] == 255 for p in ((5, 7), (30, 31), (63, 95)))


def test_a12_every_encoding_gives_the_same_mask(tmp_path: Path):
    """Also a 16-bit model on 16-bit scenes; the bytes differ in nothing but the scene's checksum."""
    masks = set()
    image = noise(64, 96, 3, "uint16") * 9
    bundle = bundle_of(TinySegmenter(), tile=32, mean=(1000.0,) * 3, std=(600.0,) * 3, provenance={"dtype": "uint16"})
    for number, options in enumerate([{}, {"compress": "lzw"}, {"interleave": "band"}, {"endianness": "big", **TILED}]):
        path = write(tmp_path / f"{number}.tif", image, **options)
        predict_scene(bundle, path, tmp_path / "mask.tif", CPU, overwrite=True)
        with rasterio.open(tmp_path / "mask.tif") as dataset:
            masks.add(dataset.read(1).tobytes())
    assert len(masks) == 1


def test_a18_a_file_that_changes_meanwhile(tmp_path: Path):
    path = write(tmp_path / "scene.tif", noise(300, 96))

    def touch(done: int, total: int) -> None:
        os.utime(path, ns=(1, 1 + done))

    with pytest.raises(SceneUnreadable, match=r"scene.tif` changed while it was being read") as caught:
        predict_scene(bundle_of(TinySegmenter(), tile=32), path, tmp_path / "mask.tif", CPU, on_progress=touch)
    assert caught.value.hint == "run again when the copy has finished"
    assert not (tmp_path / "mask.tif").exists()


def test_c2_a_pixel_of_degrees_is_measured_on_the_ellipsoid(tmp_path: Path):
    path = write(tmp_path / "scene.tif", crs="EPSG:4326", transform=Affine(1e-3, 0, 10, 0, -1e-3, 60.0325))
    grid = check_scene(path, bundle_of(TinySegmenter()).card).scene.grid
    assert grid.metres_per_pixel() ** 2 == pytest.approx(6216.71, rel=1e-3)  # at 60° north, not 12,392


def test_b8_an_empty_scene_has_an_empty_mask(tmp_path: Path):
    scene = write(tmp_path / "scene.tif", np.zeros_like(IMAGE), nodata=0)
    facts = predict_scene(bundle_of(TinySegmenter()), scene, tmp_path / "mask.tif", CPU)
    assert (facts.nodata, facts.pixels) == (64 * 96, (0, 0, 0, 0))


def test_the_table_is_whole():
    """Every row of the table of malformed inputs has a case or a test of its own."""
    rows = {f"A{n}" for n in range(1, 18)} | {"A10b", "A10c"} | {f"B{n}" for n in range(1, 11)} - {"B9"}
    rows |= {f"C{n}" for n in range(1, 11)}
    assert {name.split()[0] for name in CASES} == rows
