"""A known point of the ground: every reader finds its class there, whatever grid the scene lies on."""

import json
import subprocess

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from fakes import TinySegmenter, bundle_of
from rio_cogeo import cog_validate
from test_qgis import SCRIPT, has_qgis

from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.vectors import LAYER
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

LON, LAT = 13.0651, 52.3989
"""The marketplace of Potsdam."""
PLACE = (151, 98)  # row and column of the pixel that shows it
SHAPE = (230, 170)
SIZES = {  # crs, and the pixel without its place
    "UTM": (25833, Affine(0.2, 0, 0, 0, -0.2, 0)),
    "geographic": (4326, Affine(3e-6, 0, 0, 0, -2e-6, 0)),
    "rotated": (25833, Affine.rotation(33) @ Affine.scale(0.2, -0.2)),
    "rotated and not square": (25833, Affine.rotation(-70) @ Affine.scale(0.3, -0.2)),
    "south up": (25833, Affine(0.2, 0, 0, 0, 0.2, 0)),
    "far south": (32723, Affine(0.2, 0, 0, 0, -0.2, 0)),
}


def placed(crs, pixel):
    """Return the geotransform that puts the ground point into the middle of its pixel."""
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(LON, LAT)
    row, col = PLACE
    dx, dy = pixel @ (col + 0.5, row + 0.5)
    return Affine(pixel.a, pixel.b, x - dx, pixel.d, pixel.e, y - dy)


def colours_of(model):
    """Return two colours that the network takes for different classes, and the second one's class."""
    some = np.random.default_rng(0).integers(0, 255, (50, 3)).astype("uint8")
    with torch.inference_mode():
        classes = model((torch.from_numpy(some.astype("float32"))[:, :, None, None] - 100) / 50).argmax(1).ravel()
    other = next(i for i, found in enumerate(classes) if found != classes[0])
    return some[0], some[other], int(classes[other])


@pytest.fixture(scope="module", params=SIZES)
def made(request, tmp_path_factory):
    """Map a scene that shows another colour at the ground point, and return the folder and its class."""
    crs, pixel = SIZES[request.param]
    folder = tmp_path_factory.mktemp("place")
    model = TinySegmenter()
    ground, mark, wanted = colours_of(model)
    image = np.broadcast_to(ground[:, None, None], (3, *SHAPE)).copy()
    image[:, PLACE[0] - 2 : PLACE[0] + 3, PLACE[1] - 1 : PLACE[1] + 2] = mark[:, None, None]
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": SHAPE[0], "width": SHAPE[1]}
    with rasterio.open(folder / "scene.tif", "w", crs=f"EPSG:{crs}", transform=placed(crs, pixel), **profile) as d:
        d.write(image)
    bundle = bundle_of(model)
    predict_scene(bundle, folder / "scene.tif", folder / "mask.tif", PredictSettings(device="cpu"))
    polygonize(folder / "mask.tif", folder / "map.gpkg", bundle.card.legend, PolygonSettings())
    polygonize(folder / "mask.tif", folder / "map.geojson", bundle.card.legend, PolygonSettings())
    return folder, wanted


def test_rasterio_finds_the_mark_and_nothing_else(made):
    folder, wanted = made
    with rasterio.open(folder / "mask.tif") as mask:
        x, y = pyproj.Transformer.from_crs(4326, mask.crs, always_xy=True).transform(LON, LAT)
        assert next(mask.sample([(x, y)])) == wanted
        rows, cols = np.nonzero(mask.read(1) == wanted)
    assert (rows.mean(), cols.mean(), rows.size) == (*PLACE, 15)


def test_polygons_hold_it(made):
    folder, wanted = made
    frame = pyogrio.read_dataframe(folder / "map.gpkg", layer=LAYER)
    there = frame[frame.to_crs(4326).contains(shapely.Point(LON, LAT))]
    assert there["class_id"].tolist() == [wanted]
    assert there["n_px"].tolist() == [15]
    centre = there.to_crs(25833).centroid.to_crs(4326).iloc[0] if frame.crs.to_epsg() != 32723 else None
    if centre is not None:
        assert (centre.x, centre.y) == pytest.approx((LON, LAT), abs=2e-7)
    features = json.loads((folder / "map.geojson").read_text())["features"]  # lon, lat by RFC 7946
    found = [f for f in features if shapely.geometry.shape(f["geometry"]).contains(shapely.Point(LON, LAT))]
    assert [f["properties"]["class_id"] for f in found] == [wanted]


def test_gdals_own_tools_find_it(made):
    folder, wanted = made
    try:
        located = _said("gdallocationinfo", "-wgs84", "-valonly", folder / "mask.tif", LON, LAT)
    except FileNotFoundError:
        pytest.skip("gdallocationinfo is not installed (gdal-bin)")
    assert located.split() == [str(wanted)]
    info = json.loads(_said("gdalinfo", "-json", folder / "mask.tif"))
    assert info["bands"][0]["noDataValue"] == 255
    assert info["bands"][0]["colorTable"]
    assert "LAYOUT" in json.dumps(info["metadata"])
    summary = _said("ogrinfo", "-so", folder / "map.gpkg", LAYER)
    assert "Feature Count: 2" in summary


def _said(*words):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not has_qgis(), reason="/usr/bin/python3 cannot import qgis.core (python3-qgis)")
def test_qgis_shows_it(made):
    folder, wanted = made
    words = ["/usr/bin/python3", SCRIPT, "--mask", folder / "mask.tif", "--polygons", folder / "map.gpkg"]
    words += ["--scene", folder / "scene.tif", "--png", folder / "map.png", "--point", LON, LAT, wanted]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the mask shows {wanted}, the polygons [{wanted}" in done.stdout


def test_rio_cogeo_agrees(made):
    assert cog_validate(made[0] / "mask.tif", strict=True) == (True, [], [])
