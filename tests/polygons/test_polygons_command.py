"""`geosemi vectorize` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine

from geosemi.geo.style import LEGEND_TAG
from geosemi.legend import ClassDef, Legend

LEGEND = Legend((ClassDef(0, "wood", "#106010"), ClassDef(1, "lake", "#2040d0")))


def geosemi(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geosemi", "vectorize", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 40, "width": 50, "crs": "EPSG:32633"}
    rows, cols = np.indices((40, 50))
    for name, tags in (("mask.tif", {LEGEND_TAG: json.dumps(LEGEND.to_dict())}), ("bare.tif", {})):
        with rasterio.open(tmp_path / name, "w", transform=Affine(1, 0, 4e5, 0, -1, 5e6), **profile) as d:
            d.write(((rows // 20 + cols // 25) % 2).astype(np.uint8), 1)
            d.update_tags(**tags)
    (tmp_path / "legend.yaml").write_text(
        'classes:\n  - {id: 0, name: Wald, colour: "#106010"}\n  - {id: 1, name: See, colour: "#2040d0"}\n'
    )
    return tmp_path


def test_the_classes_come_from_the_mask(folder: Path) -> None:
    result = geosemi(folder, "mask.tif", "--out", "map.gpkg")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "map.gpkg: 4 polygons of 2 classes\n"
    layer = geopandas.read_file(folder / "map.gpkg", layer="segments")
    assert sorted(layer.class_name) == ["lake", "lake", "wood", "wood"]


def test_or_from_a_legend(folder: Path) -> None:
    result = geosemi(folder, "bare.tif", "--out", "map.fgb", "--legend", "legend.yaml", "--min-area", "501")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "map.fgb: 1 polygon of 2 classes\n"


def test_all_ways_at_once(folder: Path) -> None:
    with rasterio.open(folder / "mask.tif") as d:
        profile = d.profile
    with rasterio.open(folder / "sure.tif", "w", **profile) as d:
        d.write(np.full((40, 50), 127, np.uint8), 1)
    lines = ["--simplify", "1.5m", "--smooth", "--min-area", "3", "--regularize", "wood"]
    words = ["--confidence", "sure.tif", *lines, "--dissolve"]
    result = geosemi(folder, "mask.tif", "--out", "map.shp", *words)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "map.shp: 2 multipolygons of 2 classes\n"
    assert "warning  `map.shp` and its side files hold at most 2 GB" in result.stderr
    layer = geopandas.read_file(folder / "map.shp")
    assert layer.conf.tolist() == [0.5, 0.5]
    assert layer.n_px.tolist() == [1000, 1000]


@pytest.mark.parametrize(
    ("words", "code", "cause", "hint"),
    [
        (("bare.tif", "--out", "map.gpkg"), 3, "does not say what its values mean", "--legend"),
        (("bare.tif", "--out", "m.gpkg", "--legend", "mask.tif"), 3, "`mask.tif` is a raster", "leave the legend out"),
        (("https://host.org/a/m.tif", "--out", "m.gpkg"), 3, "`https://host.org/a/m.tif` is a URL", "download it"),
        (("none.tif", "--out", "map.gpkg"), 3, "`none.tif` does not exist", "check the path"),
        (("mask.tif", "--out", "mask.tif", "--overwrite"), 4, "no known extension", ".gpkg"),
        (("mask.tif", "--out", "legend.geojson/x.gpkg"), 4, "does not exist", "mkdir -p"),
        (("mask.tif", "--out", "a.gpkg", "--simplify", "5cm"), 2, "`--simplify 5cm` is no size", "`0.5m`"),
        (("mask.tif", "--out", "a.gpkg", "--simplify=-1"), 2, "`--simplify -1` is no size", "`2px`"),
        (("mask.tif", "--out", "a.gpkg", "--min-area", "inf"), 2, "`--min-area inf` is no area", "square metres"),
        (("mask.tif", "--out", "a.gpkg", "--regularize", "shed"), 3, "`shed` is no class", "`wood`, `lake`"),
        (("mask.tif", "--out", "a.gpkg", "--confidence", "no.tif"), 3, "`no.tif` does not exist", "check the path"),
    ],
)
def test_failures_are_two_lines(folder: Path, words: tuple[str, ...], code: int, cause: str, hint: str) -> None:
    result = geosemi(folder, *words)
    assert result.returncode == code
    first, second = [line for line in result.stderr.splitlines() if line.strip()]
    assert first.startswith("error:")
    assert cause in first
    assert second.startswith("hint:")
    assert hint in second
