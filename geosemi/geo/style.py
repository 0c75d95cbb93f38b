"""Colours and names for QGIS and GDAL, made from one legend.

A GeoTIFF's own colour table opens coloured but unnamed, and QGIS lists all 256 palette entries of it; a `.qml` beside
the mask shows exactly the legend's classes, an `.aux.xml` gives the names to everything else that reads GDAL files.
The mask itself carries the whole legend in the tag `GEOSEMI_LEGEND`.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from geosemi.errors import LegendError
from geosemi.geo.raster import open_raster
from geosemi.legend import ClassDef, Legend

LEGEND_TAG = "GEOSEMI_LEGEND"  # JSON of Legend.to_dict()
_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_FILL_ALPHA = 140  # of 255: polygons lie over a scene that people want to see through them
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)  # as a path it has lost a slash
_RASTERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG", b"\xff\xd8\xff")
MAX_ENTRIES = 256  # combinations of classes that a style of an opinion raster lists
_OUTLINE_MM = 0.26
# GDAL's codes in a raster attribute table: type 0 integer, 2 string; usage 5 value, 2 name, 6–8 red, green, blue
_RAT_FIELDS = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))


def colour_table(legend: Legend) -> dict[int, tuple[int, int, int, int]]:
    """Return value → (red, green, blue, alpha), 0 … 255, for a GeoTIFF; the ignore value is transparent black."""
    return {**{c.id: (*c.rgb, 255) for c in legend}, legend.ignore: (0, 0, 0, 0)}


def qml_raster(legend: Legend) -> str:
    """Return a QGIS style for a mask: a paletted renderer with exactly the legend's K named classes."""
    root = ET.Element("qgis", version="3.22", styleCategories="AllStyleCategories")
    renderer = ET.SubElement(
        ET.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ET.SubElement(renderer, "colorPalette")
    for c in legend:
        ET.SubElement(palette, "paletteEntry", value=str(c.id), color=c.colour.lower(), alpha="255", label=c.name)
    return _DOCTYPE + _text(root)


def qml_bits(legend: Legend, values: Sequence[int]) -> str:
    """Return a QGIS style for an opinion raster: every class alone, and several at once in the mean of their colours.

    It lets a scene below shine through, for which opinions are looked at.

    Args:
        legend: whose class k is bit k.
        values: class bits that occur; of many the first `MAX_ENTRIES` are listed, the rest stays invisible.
    """
    root = ET.Element("qgis", version="3.22", styleCategories="AllStyleCategories")
    renderer = ET.SubElement(
        ET.SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="0.7", alphaBand="-1"
    )
    palette = ET.SubElement(renderer, "colorPalette")
    alone = [1 << c.id for c in legend]
    for bits in (*alone, *[v for v in values if v and v not in alone][: MAX_ENTRIES - len(alone)]):
        seen = [c for c in legend if bits >> c.id & 1]
        mean = (round(sum(c.rgb[i] for c in seen) / len(seen)) for i in range(3))
        colour = "#" + "".join(f"{part:02x}" for part in mean)
        label = " + ".join(c.name for c in seen)
        ET.SubElement(palette, "paletteEntry", value=str(bits), color=colour, alpha="255", label=label)
    return _DOCTYPE + _text(root)


def aux_xml(legend: Legend) -> str:
    """Return GDAL's side file (`mask.tif.aux.xml`): category names and a thematic attribute table of band 1."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    for c in legend:
        ET.SubElement(names, "Category").text = c.name
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_RAT_FIELDS):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, content in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(field, tag).text = str(content)
    for c in legend:
        row = ET.SubElement(table, "Row", index=str(c.id))
        for content in (c.id, c.name, *c.rgb):
            ET.SubElement(row, "F").text = str(content)
    return _text(root)


def qml_vector(legend: Legend) -> str:
    """Return a QGIS style for polygons: one category a class on `class_id`, half transparent with a solid outline."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class_id", symbollevels="0")
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for c in legend:
        ET.SubElement(
            categories, "category", value=str(c.id), type="long", label=c.name, symbol=str(c.id), render="true"
        )
        _fill_symbol(symbols, c)
    ET.SubElement(root, "layerGeometryType").text = "2"
    return _DOCTYPE + _text(root)


def sld_vector(legend: Legend, layer: str) -> str:
    """Return the same style as an OGC Styled Layer Descriptor 1.0, for servers and other programs."""
    root = ET.Element(
        "StyledLayerDescriptor",
        {
            "version": "1.0.0",
            "xmlns": "http://www.opengis.net/sld",
            "xmlns:ogc": "http://www.opengis.net/ogc",
        },
    )
    named = ET.SubElement(root, "NamedLayer")
    ET.SubElement(named, "Name").text = layer
    feature_style = ET.SubElement(ET.SubElement(named, "UserStyle"), "FeatureTypeStyle")
    for c in legend:
        rule = ET.SubElement(feature_style, "Rule")
        ET.SubElement(rule, "Name").text = c.name
        equal = ET.SubElement(ET.SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
        ET.SubElement(equal, "ogc:PropertyName").text = "class_id"
        ET.SubElement(equal, "ogc:Literal").text = str(c.id)
        symbolizer = ET.SubElement(rule, "PolygonSymbolizer")
        fill = ET.SubElement(symbolizer, "Fill")
        ET.SubElement(fill, "CssParameter", name="fill").text = c.colour.lower()
        ET.SubElement(fill, "CssParameter", name="fill-opacity").text = f"{_FILL_ALPHA / 255:.2f}"
        ET.SubElement(ET.SubElement(symbolizer, "Stroke"), "CssParameter", name="stroke").text = c.colour.lower()
    return _text(root)


def require_legend(mask: Path, legend: Path | None) -> Legend:
    """Return the legend in a YAML file, or without one the legend that a mask carries.

    Raises:
        LegendError: there is neither, the legend is a raster, or the mask is a URL.
    """
    if legend is not None and _is_raster(legend):
        raise LegendError(
            f"`{legend}` is a raster, a legend is a YAML file",
            hint="leave the legend out: masks of `geosemi predict` carry theirs; for other masks write it in YAML",
        )
    if (url := _URL.match(str(mask))) is not None:
        raise LegendError(
            f"`{url[1]}://{url[2]}` is a URL, masks are read from disk", hint="download it and give the file's path"
        )
    classes = Legend.load(legend) if legend is not None else legend_of(mask)
    if classes is None:
        raise LegendError(f"`{mask}` does not say what its values mean", hint="give its classes with `--legend`")
    return classes


def _is_raster(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8).startswith(_RASTERS)


def legend_of(path: Path) -> Legend | None:
    """Return the legend that a mask carries in its tag `GEOSEMI_LEGEND`, or None where it has none.

    Raises:
        LegendError: the tag is there but holds no legend.
        SceneUnreadable, UnsafeInput, ResourceError: as `geosemi.geo.raster.open_raster`.
    """
    with open_raster(path) as file:
        text = file.tags.get(LEGEND_TAG)
    if text is None:
        return None
    try:
        content = json.loads(text)
        return Legend.from_dict(content if isinstance(content, dict) else {}, source=str(path))
    except (LegendError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise LegendError(
            f"the tag `{LEGEND_TAG}` of `{path}` holds no legend ({error})", hint="pass the classes with `--legend`"
        ) from error


def _fill_symbol(symbols: ET.Element, c: ClassDef) -> None:
    # QGIS reads "r,g,b,a" here; "#rrggbbaa" it would take for aarrggbb
    rgb = ",".join(str(v) for v in c.rgb)
    options = {
        "color": f"{rgb},{_FILL_ALPHA}",
        "style": "solid",
        "outline_color": f"{rgb},255",
        "outline_style": "solid",
        "outline_width": str(_OUTLINE_MM),
        "outline_width_unit": "MM",
        "joinstyle": "miter",
    }
    symbol = ET.SubElement(symbols, "symbol", type="fill", name=str(c.id), alpha="1", clip_to_extent="1")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "pass": "0", "locked": "0"})
    mapping = ET.SubElement(layer, "Option", type="Map")
    for name, value in options.items():
        ET.SubElement(mapping, "Option", name=name, value=value, type="QString")
        ET.SubElement(layer, "prop", k=name, v=value)  # QGIS before 3.26 reads these


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
