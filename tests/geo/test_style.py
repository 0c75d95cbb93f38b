"""Styles: what QGIS and GDAL read from them, and how names that hold markup survive."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy as rasterio_copy

from geosemi.errors import LegendError
from geosemi.geo.style import LEGEND_TAG, aux_xml, colour_table, legend_of, qml_raster, qml_vector, sld_vector
from geosemi.legend import ClassDef, Legend

GOLDEN = Path(__file__).parents[1] / "golden"
LEGEND = Legend(
    (ClassDef(0, "wood", "#106010"), ClassDef(1, 'lake "A" <& sea>', "#2040D0"), ClassDef(2, "Straße", "#fff000"))
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mask.qml", qml_raster(LEGEND)),
        ("polygons.qml", qml_vector(LEGEND)),
        ("polygons.sld", sld_vector(LEGEND, "segments")),
        ("mask.tif.aux.xml", aux_xml(LEGEND)),
    ],
)
def test_styles_are_those_that_were_looked_at_in_qgis(name: str, text: str) -> None:
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_palette_has_exactly_the_classes() -> None:
    entries = ET.fromstring(qml_raster(LEGEND)).findall(".//paletteEntry")
    assert [(e.get("value"), e.get("label"), e.get("color")) for e in entries] == [
        (str(c.id), c.name, c.colour.lower()) for c in LEGEND
    ]


def test_fill_colours_are_comma_separated() -> None:
    symbols = ET.fromstring(qml_vector(LEGEND)).findall(".//symbol")
    colours = [s.find(".//Option[@name='color']").get("value").split(",")[:3] for s in symbols]
    assert [tuple(int(v) for v in c) for c in colours] == [c.rgb for c in LEGEND]


def test_the_colour_table_covers_classes_and_ignore() -> None:
    assert colour_table(LEGEND) == {
        0: (16, 96, 16, 255), 1: (32, 64, 208, 255), 2: (255, 240, 0, 255), 255: (0, 0, 0, 0),
    }  # fmt: skip


def test_gdal_reads_the_names_from_the_side_file(tmp_path: Path) -> None:
    """rasterio does not show category names; GDAL keeps them when it copies a file with its side file."""
    path = mask_with(tmp_path, {})
    (tmp_path / "mask.tif.aux.xml").write_text(aux_xml(LEGEND), encoding="utf-8")
    rasterio_copy(path, tmp_path / "copy.png", driver="PNG")
    side = ET.parse(tmp_path / "copy.png.aux.xml")
    assert [e.text for e in side.findall(".//Category")] == list(LEGEND.names)


def mask_with(folder: Path, tags: dict[str, str]) -> Path:
    path = folder / "mask.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 2, "width": 2}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=Affine(1, 0, 5, 0, -1, 5), **profile) as d:
        d.write(np.zeros((1, 2, 2), dtype=np.uint8))
        d.update_tags(**tags)
    return path


def test_a_mask_carries_its_legend(tmp_path: Path) -> None:
    assert legend_of(mask_with(tmp_path, {LEGEND_TAG: json.dumps(LEGEND.to_dict())})) == LEGEND
    assert legend_of(mask_with(tmp_path, {})) is None


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "7", "{}", '{"classes": 3}', '{"classes": [{"id": 0}]}', "[" * 100_000,
     '{"classes": [{"id": 0, "name": "a", "colour": "#000000"}], "ignore": "x"}',
     '{"classes": [{"id": 0, "name": "a", "colour": "#000000"}], "ignore": null}'],
)  # fmt: skip
def test_a_broken_legend_tag_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(LegendError, match=f"`{LEGEND_TAG}` of .*mask.tif` holds no legend") as caught:
        legend_of(mask_with(tmp_path, {LEGEND_TAG: text}))
    assert "--legend" in caught.value.hint
