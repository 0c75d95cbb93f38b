"""The call of each peer, as its documentation gives it, and ours: what `peers.py` runs, each in a process of its own.

Each is a generator that takes the raster and the file to make: what stands before its `yield` (imports, the network,
compilation) is not timed. Where a recipe leaves the best class to its user, it is `max`, five times as fast on a CPU as
`argmax` (1.0 and 4.7 CPU seconds for 36 Mpx of six classes).
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

TILE, OVERLAP, CLASSES = 512, 64, 6
MEAN, STD = 120.0, 60.0  # of the bundle in predict.py
TIE, NEAR = 255, 1e-5


def ours(kind):
    def work(scene, out):
        import rasterio  # noqa: F401
        import torch  # noqa: F401
        from predict import WORK

        if kind not in {"floor", "forward"}:
            import geosemi.predict.predict  # noqa: F401

        yield
        WORK[kind](scene, out)

    return work


def forward(scene, _out):
    """The network alone, with malloc as the C library sets it."""
    import torch
    from predict import count_pixels

    model, windows = normalised(), -(-count_pixels(scene) // TILE**2)
    image = torch.randint(0, 256, (1, 3, TILE, TILE), dtype=torch.uint8)
    yield
    with torch.inference_mode():
        for _ in range(windows):
            model(image)


def normalised():
    """The network of predict.py for pixels as they are in the file."""
    import torch
    from predict import network

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, image):
            return self.net(torch.sub(image, MEAN).div_(STD))  # never in place: it may be a view of the scene

    return Net().eval()


def omnicloudmask(scene, out):
    import rasterio
    from omnicloudmask import predict_from_load_func
    from predict import network

    def load(input_path):
        with rasterio.open(input_path) as d:
            return d.read(), d.profile

    yield
    (made,) = predict_from_load_func(
        [scene], load, patch_size=TILE, patch_overlap=OVERLAP, batch_size=1, inference_device="cpu",
        custom_models=network(), pred_classes=CLASSES, output_dir=out.parent,
    )  # fmt: skip
    made.rename(out)


def geodeep(scene, out):
    from geodeep import segment
    from geodeep.segmentation import save_mask_to_raster

    yield
    save_mask_to_raster(scene, segment(str(scene), str(out.parent / "model.onnx"), max_threads=1), out)


def export(_scene, out):
    """Write the network for GeoDeep, which divides by 255 and reads the rest from the file."""
    import onnx
    import torch

    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = normalised()

        def forward(self, image):
            return self.net(image * 255)

    yield
    path = str(out.parent / "model.onnx")
    with torch.inference_mode():
        torch.onnx.export(Scaled(), (torch.zeros(1, 3, TILE, TILE),), path, dynamo=True, external_data=False)
    model = onnx.load(path)
    notes = {
        "model_type": '"Segmentor"', "resolution": "5", "tiles_overlap": str(100 * OVERLAP / TILE),
        "seg_thresh": "-inf", "seg_small_segment": "0", "class_names": json.dumps({k: str(k) for k in range(CLASSES)}),
    }  # fmt: skip
    onnx.helper.set_model_props(model, notes)
    onnx.save(model, path)


def torchgeo(scene, out):
    import numpy as np
    import rasterio
    import torch
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    model, cut = normalised(), OVERLAP // 2
    yield
    with rasterio.open(scene) as d:
        profile = {**d.profile, "count": 1, "photometric": None}
    (height, width), transform = (profile["height"], profile["width"]), ~profile["transform"]
    data = RasterDataset(str(scene))
    windows = GridGeoSampler(data, TILE, TILE - OVERLAP)
    mask = np.zeros((height, width), np.uint8)
    with torch.inference_mode():
        for sample in DataLoader(data, batch_size=1, sampler=windows, collate_fn=stack_samples):
            x, y, *_ = sample["bounds"][0]
            left, top = (round(v) for v in transform * (x.start, y.stop))
            part = model(sample["image"])[0].max(0).indices.byte().numpy()
            # cut the rim where a neighbour shows it better, not at the rim of the scene, which the grid may overrun
            north, west = max(-top, cut if top > 0 else 0), max(-left, cut if left > 0 else 0)
            south, east = (
                min(n - at, TILE - cut if at + TILE < n else TILE) for n, at in ((height, top), (width, left))
            )
            mask[top + north : top + south, left + west : left + east] = part[north:south, west:east]
    with rasterio.open(out, "w", **profile) as d:
        d.write(mask, 1)


def samgeo(scene, out):
    import torch
    from samgeo.common import tiff_to_tiff

    model = normalised()

    def label(image, **_):
        with torch.inference_mode():
            return model(torch.from_numpy(image).permute(2, 0, 1)[None])[0].max(0).indices.byte().numpy()

    yield
    tiff_to_tiff(str(scene), str(out), label, sample_size=(TILE - OVERLAP,) * 2, bound=OVERLAP // 2)


def monai(mode):
    def work(scene, out):
        import rasterio
        import torch
        from monai.inferers import SlidingWindowInferer

        model = normalised()
        yield
        with rasterio.open(scene) as d:
            image, profile = torch.from_numpy(d.read())[None], {**d.profile, "count": 1, "photometric": None}
        infer = SlidingWindowInferer(TILE, sw_batch_size=1, overlap=OVERLAP / TILE, mode=mode)
        with torch.inference_mode():
            # it gathers in the type of its input, so the scene is made float before
            mask = infer(image.float(), model)[0].max(0).indices.byte()
        with rasterio.open(out, "w", **profile) as d:
            d.write(mask.numpy(), 1)

    return work


def whole(scene, out):
    """One forward over the whole scene: what each mask is held against. Takes some 150 bytes a pixel."""
    import numpy as np
    import rasterio
    import torch

    model = normalised()
    yield
    with rasterio.open(scene) as d, torch.inference_mode():
        best = model(torch.from_numpy(d.read())[None])[0].topk(2, dim=0)
    labels = best.indices[0].byte()
    labels[best.values[0] - best.values[1] < NEAR] = TIE
    np.save(out.parent / "whole.npy", labels.numpy())


def recipe(labels, out):
    """What people write by hand."""
    import geopandas
    import rasterio
    from rasterio.features import shapes
    from shapely.geometry import shape

    yield
    with rasterio.open(labels) as d:
        pairs, crs = list(shapes(d.read(1), transform=d.transform, connectivity=4)), d.crs
    frame = geopandas.GeoDataFrame(
        {"class_id": [int(v) for _, v in pairs]}, geometry=[shape(g) for g, _ in pairs], crs=crs
    )
    frame.to_file(out, driver="GPKG")


def our_polygons(labels, out):
    from geosemi.legend import ClassDef, Legend
    from geosemi.polygons.polygonize import PolygonSettings, polygonize

    legend = Legend(tuple(ClassDef(k, f"class {k}", f"#{k * 8:02x}8040") for k in range(CLASSES)))
    yield
    polygonize(labels, out, legend, PolygonSettings())


def samgeo_polygons(labels, out):
    from samgeo.common import raster_to_vector

    yield
    raster_to_vector(str(labels), str(out), driver="GPKG")


def geoai_polygons(labels, out):
    from geoai.utils import raster_to_vector

    yield
    raster_to_vector(str(labels), str(out), min_area=0, class_values=list(range(CLASSES)), output_format="gpkg")


def xarray_spatial(labels, out):
    import numpy as np
    import rioxarray

    try:
        from xrspatial.polygonize import polygonize
    except ImportError:
        from xrspatial.experimental.polygonize import polygonize  # before 0.6
    labels = rioxarray.open_rasterio(labels)[0]
    step = np.array(labels.rio.transform()[:6])
    polygonize(labels[:64, :64].load(), transform=step, return_type="geopandas")  # compiles
    yield
    frame = polygonize(labels.load(), transform=step, return_type="geopandas")
    frame.set_crs(labels.rio.crs, allow_override=True).to_file(out, driver="GPKG")


class Line(NamedTuple):
    """A line of the table: the environment and the package it needs, and what it does."""

    peer: str | None
    package: str
    work: Callable[[Path, Path], Iterator[None]]
    remark: str = ""


MAPPED = {
    "floor": Line(None, "torch", ours("floor"), "imports and one batch"),
    "forward": Line(None, "torch", ours("forward"), "the network alone, with the malloc settings of geosemi"),
    "forward, plain malloc": Line(None, "torch", forward, "the network alone"),
    "geosemi `blend`": Line(None, "geosemi", ours("blend")),
    "geosemi `centre`": Line(None, "geosemi", ours("centre")),
    "GeoDeep": Line("geodeep", "geodeep", geodeep, "ONNX Runtime, no torch; always filters the mask (5 × 5 median)"),
    "OmniCloudMask": Line("omnicloudmask", "omnicloudmask", omnicloudmask, "normalises each window by itself"),
    "samgeo": Line("samgeo", "segment-geospatial", samgeo, "`tiff_to_tiff`"),
    "torchgeo": Line("torchgeo", "torchgeo", torchgeo, "GridGeoSampler, DataLoader, paste the middles"),
    "MONAI constant": Line("monai", "monai", monai("constant"), "SlidingWindowInferer"),
    "MONAI gaussian": Line("monai", "monai", monai("gaussian"), "SlidingWindowInferer"),
}
TRACED = {
    "rasterio recipe": Line(None, "rasterio", recipe, "shapes, shapely, geopandas"),
    "geosemi": Line(None, "geosemi", our_polygons, "with class names, areas, perimeters and a style"),
    "xarray-spatial": Line("xarray-spatial", "xarray-spatial", xarray_spatial, "crs lost, set by hand"),
    "xarray-spatial new": Line("xarray-spatial-new", "xarray-spatial", xarray_spatial, "asks for Python 3.12"),
    "geoai": Line("geoai", "geoai-py", geoai_polygons, "`raster_to_vector`, class by class"),
    "samgeo": Line("samgeo", "segment-geospatial", samgeo_polygons, "`raster_to_vector` leaves class 0 out"),
}
PREPARED = {"whole": Line(None, "torch", whole), "export": Line("geodeep", "geodeep", export)}
