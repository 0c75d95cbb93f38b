"""Does QGIS open a mask and its polygons coloured, named and in the right place?

    /usr/bin/python3 benchmarks/qgis_check.py --mask mask.tif --polygons map.gpkg --scene scene.tif --png map.png
        [--point LON LAT CLASS]

Needs the Python that QGIS was installed for (Debian: `apt install python3-qgis`), and nothing of geosemi. Both layers
are loaded as a drag into the window does; what QGIS makes of them is compared with the legend that the mask carries.
`--point` names a place on the ground, in degrees, and the class that both layers must show there.
Prints the legend as QGIS shows it and draws the map; ends with 1 and a list where anything differs.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsGeometry,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsRaster,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def legend_of(mask):
    """Return [(id, name, #rrggbb)] from the mask's own tag."""
    gdal.UseExceptions()
    text = gdal.Open(str(mask)).GetMetadataItem("GEOSEMI_LEGEND")
    if text is None:
        sys.exit(f"error: {mask} carries no GEOSEMI_LEGEND")
    return [(c["id"], c["name"], c["colour"].lower()) for c in json.loads(text)["classes"]]


def check_mask(layer, path, legend):
    renderer = layer.renderer()
    if not isinstance(renderer, QgsPalettedRasterRenderer):
        return [f"mask: renderer is {type(renderer).__name__}, not paletted"]
    shown = [(int(c.value), c.label, c.color.name()) for c in renderer.classes()]
    faults = []
    if shown != legend:
        faults.append(
            f"mask: QGIS shows {len(shown)} classes that begin {shown[: len(legend)]}, the legend is {legend}"
        )
    print(f"mask, as QGIS shows it ({len(shown)} classes):")
    for value, label, colour in shown[:32]:
        print(f"  {value}  {colour}  {label}")
    dataset = gdal.Open(str(path))  # kept by name: a band that outlives its dataset crashes
    table = dataset.GetRasterBand(1).GetDefaultRAT()
    rows = range(table.GetRowCount()) if table else []
    value, name = (table.GetColOfUsage(u) for u in (gdal.GFU_MinMax, gdal.GFU_Name)) if table else (-1, -1)
    read = [(table.GetValueAsInt(r, value), table.GetValueAsString(r, name)) for r in rows]
    if read != [(value, name) for value, name, _ in legend]:
        faults.append(f"mask: GDAL's attribute table says {read}")
    return faults


def check_polygons(layer, legend):
    renderer = layer.renderer()
    if not isinstance(renderer, QgsCategorizedSymbolRenderer):
        return [f"polygons: renderer is {type(renderer).__name__}, not categorised"]
    shown = [(int(c.value()), c.label(), c.symbol().symbolLayer(0).fillColor().name()) for c in renderer.categories()]
    print(f"polygons, as QGIS shows them, by `{renderer.classAttribute()}`:")
    counts = dict.fromkeys((value for value, _, _ in shown), 0)
    faults = [] if shown == legend else [f"polygons: QGIS shows {shown}, the legend is {legend}"]
    for feature in layer.getFeatures():
        if (
            feature["class_id"] not in counts
            or feature["class_name"] != {v: n for v, n, _ in legend}[feature["class_id"]]
        ):
            faults.append(f"polygons: feature {feature.id()} is {feature['class_id']} {feature['class_name']}")
            break
        counts[feature["class_id"]] += 1
        if not feature.geometry().isGeosValid():
            faults.append(f"polygons: feature {feature.id()} is invalid")
    for value, label, colour in shown:
        print(f"  {value}  {colour}  {label}  ({counts[value]} polygons)")
    return faults


def check_place(mask, polygons, scene):
    faults = []
    reference = scene or mask
    for name, layer in (("mask", mask), ("polygons", polygons)):
        if not layer.crs().isValid() or layer.crs() != reference.crs():
            faults.append(
                f"{name}: lies in {layer.crs().authid() or 'no crs'}, the scene in {reference.crs().authid()}"
            )
    if scene is not None and mask.extent() != scene.extent():
        faults.append(f"mask: covers {mask.extent().toString()}, the scene {scene.extent().toString()}")
    outer = QgsRectangle(mask.extent())
    turned = gdal.Open(mask.source()).GetGeoTransform()[2] != 0  # QGIS puts such a raster onto upright pixels first
    outer.grow(mask.rasterUnitsPerPixelX() * (1 if turned else 0.01))
    if polygons.featureCount() and not outer.contains(polygons.extent()):
        faults.append(f"polygons: cover {polygons.extent().toString()}, the mask {mask.extent().toString()}")
    return faults


def check_point(mask, polygons, lon, lat, wanted):
    """Ask both layers what lies at a place, as QGIS's identify tool does."""
    project = QgsProject.instance()
    degrees = QgsCoordinateReferenceSystem("EPSG:4326")
    at = {
        layer: QgsCoordinateTransform(degrees, layer.crs(), project).transform(lon, lat) for layer in (mask, polygons)
    }
    found = mask.dataProvider().identify(at[mask], QgsRaster.IdentifyFormatValue).results().get(1)
    there = QgsGeometry.fromPointXY(at[polygons])
    classes = [f["class_id"] for f in polygons.getFeatures() if f.geometry().contains(there)]
    print(f"at {lon:.7f}° {lat:.7f}°: the mask shows {found:.0f}, the polygons {classes}")
    if (found, classes) != (wanted, [wanted]):
        return [f"at {lon}° {lat}° the mask shows {found} and the polygons {classes}, not {wanted}"]
    return []


def draw(layers, extent, crs, png):
    settings = QgsMapSettings()
    settings.setLayers(layers)  # the first is on top
    settings.setDestinationCrs(crs)
    settings.setExtent(extent)
    ratio = extent.height() / extent.width()
    settings.setOutputSize(
        QSize(1000, max(100, round(1000 * ratio))) if ratio < 1 else QSize(round(1000 / ratio), 1000)
    )
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    return [f"drawing: {e.message}" for e in job.errors()] + (
        [] if job.renderedImage().save(png) else [f"{png} not written"]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mask", type=Path, required=True)
    parser.add_argument("--polygons", type=Path, required=True)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--png", type=Path, required=True)
    parser.add_argument("--point", type=float, nargs=3, metavar=("LON", "LAT", "CLASS"))
    args = parser.parse_args()
    legend = legend_of(args.mask)
    application = QgsApplication([], False)
    application.initQgis()
    mask = QgsRasterLayer(str(args.mask), "mask")
    polygons = QgsVectorLayer(str(args.polygons), "polygons", "ogr")
    scene = QgsRasterLayer(str(args.scene), "scene") if args.scene else None
    faults = [
        f"QGIS cannot open {layer.source()}" for layer in (mask, polygons, scene) if layer and not layer.isValid()
    ]
    if not faults:
        print(f"QGIS {Qgis.QGIS_VERSION}, {mask.crs().authid()}, {mask.width()} × {mask.height()} pixels")
        faults = (
            check_mask(mask, args.mask, legend) + check_polygons(polygons, legend) + check_place(mask, polygons, scene)
        )
        faults += check_point(mask, polygons, *args.point) if args.point else []
        mask.setOpacity(0.35 if scene else 1.0)
        layers = [layer for layer in (polygons, mask, scene) if layer]
        faults += draw(layers, mask.extent(), mask.crs(), str(args.png))
    for fault in faults:
        print(f"FAULT {fault}", file=sys.stderr)
    print(f"{args.png}: drawn; {'all as it should be' if not faults else f'{len(faults)} faults'}")
    sys.stdout.flush()
    # leaving through Python's own teardown crashes in Qt's destructors, which would hide the result
    os._exit(1 if faults else 0)


if __name__ == "__main__":
    main()
