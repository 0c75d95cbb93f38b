"""How QGIS shows class bits: every class by its name and colour, combinations in between."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rasters import grid_of, write_raster

from geosemi.annotate.maps import Tally
from geosemi.geo.opinion import opinion_layer
from geosemi.geo.style import MAX_ENTRIES, qml_bits
from geosemi.legend import ClassDef, Legend

PYTHON = Path("/usr/bin/python3")  # Debian's QGIS speaks to Debian's Python only
LEGEND = Legend((ClassDef(0, "wood", "#104010"), ClassDef(1, 'lake "A" <&', "#2060d0"), ClassDef(2, "road", "#808080")))
SHOW = """
import os, sys
from qgis.core import QgsApplication, QgsRasterLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "opinion")
for c in layer.renderer().classes():
    print(int(c.value), c.label, c.color.name(), sep="|", flush=True)
os._exit(0)
"""


def entries(text: str) -> list[tuple[int, str, str]]:
    root = ET.fromstring(text.partition("\n")[2])
    return [(int(e.attrib["value"]), e.attrib["label"], e.attrib["color"]) for e in root.iter("paletteEntry")]


def test_classes_come_first_and_combinations_by_how_often_they_occur():
    tally = Tally(LEGEND)
    tally.add(np.array([[0, 0, 0, 1], [6, 6, 6, 1], [3, 3, 2, 7]], np.uint8))
    assert entries(tally.style()) == [
        (1, "wood", "#104010"),
        (2, 'lake "A" <&', "#2060d0"),
        (4, "road", "#808080"),
        (6, 'lake "A" <& + road', "#5070a8"),
        (3, 'wood + lake "A" <&', "#185070"),
        (7, 'wood + lake "A" <& + road', "#3b6075"),
    ]
    facts = tally.facts(Path("x.tif"), "a test")
    assert (facts.pixels, facts.several, facts.spoken, facts.total) == ((5, 7, 4), 6, 9, 12)


def test_the_list_of_combinations_is_bounded():
    legend = Legend(tuple(ClassDef(k, f"class {k}", "#123456") for k in range(20)))
    assert len(entries(qml_bits(legend, range(5000)))) == MAX_ENTRIES


def has_qgis() -> bool:
    command = [str(PYTHON), "-c", "import qgis.core"]
    return PYTHON.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(sys.platform == "win32" or not has_qgis(), reason="/usr/bin/python3 cannot import qgis.core")
def test_qgis_takes_the_style(tmp_path: Path):
    bits = np.array([[1, 2, 4, 0], [3, 3, 6, 0]], np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    path = tmp_path / "scene.tif"
    write_raster(path, bits, opinion_layer(LEGEND, "a test"), grid=grid_of(*bits.shape))
    tally = Tally(LEGEND)
    tally.add(bits)
    path.with_suffix(".qml").write_text(tally.style())
    environment = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [PYTHON, "-c", SHOW, path], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert [line.split("|") for line in done.stdout.splitlines()] == [
        [str(value), label, colour] for value, label, colour in entries(tally.style())
    ], done.stderr
