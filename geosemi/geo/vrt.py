"""Mosaics from `.vrt` files. The XML is read here, and GDAL never sees it: only plain mosaics of files are taken."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from geosemi.errors import ResourceError, SceneUnreadable, UnsafeInput
from geosemi.geo.gate import MAX_BANDS, driver_of, head_of
from geosemi.geo.grid import Grid
from geosemi.geo.mosaic import MAX_SHRINK, Box, Mosaic, Piece

_DTYPES = {
    "Byte": "uint8", "Int8": "int8", "UInt16": "uint16", "Int16": "int16", "UInt32": "uint32", "Int32": "int32",
    "Float32": "float32", "Float64": "float64",
}  # fmt: skip
_MAX_BYTES = 64 * 2**20
# children of a source that change nothing about its pixels here; anything else (LUT, ScaleRatio, Kernel …) does
_PLAIN = frozenset({
    "SourceFilename", "OpenOptions", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA", "UseMaskBand",
})  # fmt: skip
# a code or WKT; GDAL would also take the name of a file or a URL
_SRS = re.compile(r"EPSG:\d+$|[A-Z_]+\[")
_COPY = "make a GeoTIFF of it, if you trust it: `gdal_translate in.vrt out.tif`"


def load_vrt(path: Path) -> Mosaic:
    """Read a VRT that lays local files side by side, on top of each other, or as bands.

    Raises:
        SceneUnreadable: no VRT, one that computes more than a mosaic, or a member that is missing.
        UnsafeInput: it names something else than plain raster files: URLs, raw files, other VRTs.
        ResourceError: it is larger than is sane.
    """
    root = _root(path)
    if root.get("subClass") or root.find("GCPList") is not None:
        what = root.get("subClass") or "ground control points"
        raise SceneUnreadable(f"`{path}` is more than a mosaic ({what})", hint=_COPY)
    bands = [b for b in root if b.tag == "VRTRasterBand"]
    if not 0 < len(bands) <= MAX_BANDS:
        raise ResourceError(f"`{path}` has {len(bands)} bands; the limit is {MAX_BANDS}", hint="choose fewer bands")
    dtypes = {band.get("dataType", "Byte") for band in bands}
    if len(dtypes) > 1 or not dtypes <= set(_DTYPES):
        raise SceneUnreadable(f"`{path}` has bands of {', '.join(sorted(dtypes))}", hint=_COPY)
    mosaic = Mosaic(
        path=path,
        grid=_grid(path, root),
        dtype=_DTYPES[dtypes.pop()],
        names=tuple(_text(b, "Description") or f"band_{i}" for i, b in enumerate(bands, start=1)),
        nodatas=tuple(_optional(path, b, "NoDataValue") for b in bands),
        pieces=tuple(tuple(_pieces(path, band)) for band in bands),
        alpha=next((i for i, b in enumerate(bands, start=1) if _text(b, "ColorInterp") == "Alpha"), None),
        palette=_palette(path, bands[0]),
    )
    for member in mosaic.members:
        if isinstance(member, Path):
            driver_of(member)
    return mosaic


def _root(path: Path) -> ET.Element:
    if not head_of(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<VRTDataset", b"<?xml")):
        raise SceneUnreadable(f"`{path}` is no VRT", hint="check the path; a VRT begins with `<VRTDataset`")
    if path.stat().st_size > _MAX_BYTES:
        raise ResourceError(f"`{path}` is larger than {_MAX_BYTES / 2**20:.0f} MB", hint="map its parts one by one")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # entities can name files, and grow without end
        raise UnsafeInput(f"`{path}` declares XML entities", hint=_COPY)
    try:
        root = ET.fromstring(content)  # noqa: S314 - the two attacks on this parser need a DOCTYPE, refused above
    except ET.ParseError as error:
        raise SceneUnreadable(f"`{path}` is no readable XML ({error})", hint="make it again") from error
    if root.tag != "VRTDataset":
        raise SceneUnreadable(f"`{path}` is no VRT but `{root.tag}`", hint="check the path")
    return root


def _grid(path: Path, root: ET.Element) -> Grid:
    numbers = [_number(path, n) for n in (_text(root, "GeoTransform") or "0,1,0,0,0,1").split(",")]
    if len(numbers) != 6:
        raise _wrong(path, "GeoTransform")
    srs = _text(root, "SRS")
    if srs is not None and not _SRS.match(srs):
        raise _wrong(path, "SRS")
    try:
        crs = CRS.from_user_input(srs) if srs else None
    except CRSError as error:
        raise _wrong(path, "SRS") from error
    height, width = (_number(path, root.get(f"raster{axis}Size", "")) for axis in "YX")
    return Grid(crs, Affine.from_gdal(*numbers), int(height), int(width))


def _pieces(path: Path, band: ET.Element) -> Iterator[Piece]:
    if band.get("subClass"):
        raise UnsafeInput(f"`{path}` computes a band ({band.get('subClass')})", hint=_COPY)
    for source in band:
        if not source.tag.endswith("Source"):
            continue
        strange = sorted({child.tag for child in source} - _PLAIN)
        if source.tag not in ("SimpleSource", "ComplexSource") or strange:
            raise SceneUnreadable(f"`{path}` is more than a mosaic ({', '.join([source.tag, *strange])})", hint=_COPY)
        yield _piece(path, source)


def _piece(path: Path, source: ET.Element) -> Piece:
    where, target = _box(path, source, "SrcRect"), _box(path, source, "DstRect")
    if max(where.width / target.width, where.height / target.height) > MAX_SHRINK:
        raise SceneUnreadable(
            f"`{path}` shrinks a member more than {MAX_SHRINK:g}-fold",
            hint="make it at the members' resolution (`gdalbuildvrt -resolution highest`)",
        )
    number = _text(source, "SourceBand") or "1"
    if not number.isdecimal() or int(number) < 1:  # e.g. `mask,1`
        raise SceneUnreadable(f"`{path}` takes `{number}` for a band", hint=_COPY)
    return Piece(_member(path, source), int(number), where, target, _optional(path, source, "NODATA"))


def _member(path: Path, source: ET.Element) -> Path:
    named = source.find("SourceFilename")
    name = (named.text or "") if named is not None else ""
    if named is None or not name or "://" in name or name.startswith(("/vsi", "<")) or name.lower().endswith(".vrt"):
        raise UnsafeInput(f"`{path}` names `{name}`, which is no raster file", hint=_COPY)
    return path.parent / name if named.get("relativeToVRT") == "1" else Path(name)


def _box(path: Path, source: ET.Element, tag: str) -> Box:
    found = source.find(tag)
    if found is None:
        raise _wrong(path, tag)
    box = Box(*(_number(path, found.get(name, "")) for name in ("xOff", "yOff", "xSize", "ySize")))
    if box.width <= 0 or box.height <= 0:
        raise _wrong(path, tag)
    return box


def _palette(path: Path, band: ET.Element) -> tuple[tuple[int, int, int, int], ...] | None:
    table = band.find("ColorTable")
    if table is None or _text(band, "ColorInterp") != "Palette" or band.get("dataType", "Byte") != "Byte":
        return None
    entries = [[int(_number(path, e.get(f"c{i}", "255"))) & 255 for i in range(1, 5)] for e in table.findall("Entry")]
    colours = [(r, g, b, a) for r, g, b, a in entries[:256]]
    return (*colours, *[(0, 0, 0, 0)] * (256 - len(colours)))


def _text(element: ET.Element, tag: str) -> str | None:
    found = element.find(tag)
    return found.text.strip() if found is not None and found.text else None


def _optional(path: Path, element: ET.Element, tag: str) -> float | None:
    text = _text(element, tag)
    return None if text is None else float("nan") if text.lower() == "nan" else _number(path, text)


def _number(path: Path, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise SceneUnreadable(f"`{path}` holds `{text}` where a number belongs", hint="make it again") from None
    if not math.isfinite(number):
        raise SceneUnreadable(f"`{path}` holds `{text}` where a number belongs", hint="make it again")
    return number


def _wrong(path: Path, tag: str) -> SceneUnreadable:
    return SceneUnreadable(f"`{path}` has no proper `{tag}`", hint="make it again, e.g. with gdalbuildvrt")
