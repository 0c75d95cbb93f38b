"""What QGIS itself makes of our files; where QGIS is not installed, the styles' golden files stand in."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasters import write_raster

from geosemi.geo.grid import Grid
from geosemi.geo.layers import mask_layer
from geosemi.legend import ClassDef, Legend
from geosemi.polygons.polygonize import PolygonSettings, polygonize

PYTHON = Path("/usr/bin/python3")  # Debian's QGIS speaks to Debian's Python only
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "qgis_check.py"
LEGEND = Legend(
    (ClassDef(0, "wood", "#106010"), ClassDef(1, 'lake "A" <& sea>', "#2040d0"), ClassDef(2, "Straße", "#fff000"))
)
GRIDS = {
    "north up": Grid(CRS.from_epsg(32633), Affine(10, 0, 400_000, 0, -10, 5_800_000), 60, 80),
    "south up": Grid(CRS.from_epsg(32633), Affine(10, 0, 400_000, 0, 10, 5_800_000), 60, 80),
    "degrees": Grid(CRS.from_epsg(4326), Affine(1e-4, 0, 13, 0, -1e-4, 52), 60, 80),
}


def has_qgis() -> bool:
    command = [str(PYTHON), "-c", "import qgis.core"]
    return PYTHON.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not has_qgis(), reason="/usr/bin/python3 cannot import qgis.core (python3-qgis)")


def files(folder: Path, grid: Grid) -> tuple[Path, Path, Path]:
    """Write a scene, a mask on its grid and the mask's polygons."""
    rows, cols = np.indices(grid.shape)
    mask = ((rows // 13 + cols // 17) % 3).astype(np.uint8)
    mask[:5, :5] = LEGEND.ignore
    scene = folder / "scene.tif"
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": grid.height, "width": grid.width}
    with rasterio.open(scene, "w", crs=grid.crs, transform=grid.transform, **profile) as d:
        d.write(np.stack([mask * 40, mask * 60, 255 - mask]))
    write_raster(folder / "mask.tif", mask, mask_layer(LEGEND), grid=grid)
    polygonize(folder / "mask.tif", folder / "map.gpkg", LEGEND, PolygonSettings())
    return scene, folder / "mask.tif", folder / "map.gpkg"


def check(scene: Path, mask: Path, polygons: Path, png: Path) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, SCRIPT, "--scene", scene, "--mask", mask, "--polygons", polygons, "--png", png]
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", GRIDS)
def test_mask_and_polygons_open_coloured_named_and_in_place(tmp_path: Path, name: str) -> None:
    result = check(*files(tmp_path, GRIDS[name]), tmp_path / "map.png")
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(c.name in result.stdout for c in LEGEND)
    with rasterio.open(tmp_path / "map.png") as d:
        assert len(np.unique(d.read().reshape(d.count, -1), axis=1).T) > 3


def test_the_check_fails_where_styles_or_places_are_lost(tmp_path: Path) -> None:
    """The negative control: without side files, and with a scene elsewhere, the script must complain."""
    scene, mask, polygons = files(tmp_path, GRIDS["north up"])
    (tmp_path / "mask.qml").unlink()
    with rasterio.open(scene, "r+") as d:
        d.transform = Affine(10, 0, 400_010, 0, -10, 5_800_000)
    result = check(scene, mask, polygons, tmp_path / "map.png")
    assert result.returncode == 1
    assert "mask: QGIS shows" in result.stderr
    assert "the scene" in result.stderr
