"""geosemi from Python: scenes as files, rasterio datasets or DataArrays in; masks and polygons out.

import geosemi

model = geosemi.load_model("runs/first")
mask = geosemi.predict("scene.tif", model)          # an xarray.DataArray on the scene's pixels
polygons = geosemi.vectorize(mask, min_area_m2=20)  # a geopandas.GeoDataFrame
"""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, overload

import geopandas as gpd
import pyogrio
import rasterio.io
import rasterio.vrt
import xarray as xr
from pydantic import BaseModel

from geosemi import __version__
from geosemi.errors import ConfigError, InputError, LegendError
from geosemi.geo.dataarrays import array_of
from geosemi.geo.maskarrays import legend_of_dataarray, to_dataarray, write_confidence, write_mask
from geosemi.geo.remote import Remote
from geosemi.geo.scene import Place
from geosemi.geo.sources import find_scenes
from geosemi.geo.style import legend_of
from geosemi.geo.target import discard, placed, url_of
from geosemi.legend import Legend
from geosemi.models.bundle import Bundle
from geosemi.polygons.polygonize import PolygonSettings, polygonize
from geosemi.polygons.vectors import LAYER
from geosemi.predict.answers import Extra
from geosemi.predict.memory import map_scene
from geosemi.predict.predict import PredictionFacts, predict_scene
from geosemi.predict.runs import find_bundle
from geosemi.predict.settings import PredictSettings
from geosemi.settings import settings_of

__all__ = ["load_model", "predict", "vectorize"]

SceneLike = str | Path | Any
"""A path, a URL, an open rasterio dataset, or an xarray.DataArray."""
ModelLike = str | Path | Bundle | None
OnProgress = Callable[[int, int], None]
S = TypeVar("S", bound=BaseModel)


def load_model(model: str | Path | None = None) -> Bundle:
    """Read a trained model; nothing in the file is run.

    Args:
        model: a bundle, or a run folder; None takes the newest run in `runs/`.

    Raises:
        BundleError: there is none, or it is damaged.
        UnsafeInput: the file is a pickle.
    """
    return Bundle.load(find_bundle(None if model is None else Path(model)))


@overload
def predict(
    scene: SceneLike, model: ModelLike = None, *, out: None = None, extras: tuple[()] = (),
    on_progress: OnProgress | None = None, settings: PredictSettings | None = None, **options: Any,
) -> xr.DataArray: ...  # fmt: skip
@overload
def predict(
    scene: SceneLike, model: ModelLike = None, *, out: None = None, extras: Sequence[Extra],
    on_progress: OnProgress | None = None, settings: PredictSettings | None = None, **options: Any,
) -> xr.Dataset: ...  # fmt: skip
@overload
def predict(
    scene: SceneLike, model: ModelLike = None, *, out: str | Path,
    extras: Sequence[Extra] | Mapping[Extra, str | Path] = (), stac: str | Path | None = None,
    taken: str | None = None, overwrite: bool = False, resume: bool | None = None,
    on_progress: OnProgress | None = None, settings: PredictSettings | None = None, **options: Any,
) -> PredictionFacts: ...  # fmt: skip
def predict(  # noqa: PLR0913 - the one verb of this file; all but two are options
    scene: SceneLike,
    model: ModelLike = None,
    *,
    out: str | Path | None = None,
    extras: Sequence[Extra] | Mapping[Extra, str | Path] = (),
    stac: str | Path | None = None,
    taken: str | None = None,
    overwrite: bool = False,
    resume: bool | None = None,
    on_progress: OnProgress | None = None,
    settings: PredictSettings | None = None,
    **options: Any,
) -> xr.DataArray | xr.Dataset | PredictionFacts:
    """Map a scene to classes, in memory or to files; both have the same pixels.

    Args:
        scene: a path; a URL, as text; an open rasterio dataset, which is read again from its file; or a DataArray
            (band, y, x) or (y, x), which is read window by window, never as a whole.
        model: a bundle, a run folder, or what `load_model` gave; None takes the newest run.
        out: the mask, a `.tif`, with its side files; None keeps everything in memory. A text may be a URL of a
            bucket: `s3://…`, `gs://…`, `az://…`.
        extras: what else is wanted of `confidence`, `entropy`, `margin`, `probabilities`, `probabilities_float16`:
            names, or name → file. With `out` alone the files are named `mask_confidence.tif` after it.
        stac: a STAC item of what `out` and `extras` name, a `.json`.
        taken: when the scene was taken, for that item: `2024-06-01`, or a span with a slash; None asks the scene.
        overwrite: replace existing files.
        resume: as `geosemi.predict.predict.predict_scene`.
        on_progress: told (windows done, windows in all).
        settings: how to cut and what to run on, instead of `options`.
        **options: single settings, as `geosemi.predict.settings.PredictSettings` names them: `tile=512`.

    Returns:
        the classes as a DataArray, uint8, on the scene's own pixels: nodata in `_FillValue`, class names in `classes`
        and CF's `flag_meanings`. With extras a Dataset of `class` and them. With `out` the facts of what was written.

    Raises:
        ConfigError: an option is unknown or wrong.
        GeosemiError: as `predict_scene`.
    """
    chosen = _settings(PredictSettings, settings, options)
    if isinstance(extras, str):
        raise ConfigError(f"`extras` is the text {extras!r}, not a list", hint=f"write `extras=[{extras!r}]`")
    bundle = model if isinstance(model, Bundle) else load_model(model)
    place = _place(scene, [str(b) for b in chosen.bands or ()] or list(bundle.card.bands))
    if out is not None:
        target = placed(out)
        files = extras if isinstance(extras, Mapping) else {e: target.with_stem(f"{target.stem}_{e}") for e in extras}
        facts = predict_scene(
            bundle, place, target, chosen, extras={e: placed(p) for e, p in files.items()}, overwrite=overwrite,
            resume=resume, on_progress=on_progress, stac=None if stac is None else placed(stac), taken=taken,
        )  # fmt: skip
        discard(facts.files)
        urls = {f: url for f in facts.files if (url := url_of(f))}
        return replace(facts, files=tuple(f for f in facts.files if f not in urls), urls=tuple(urls.values()))
    if stac is not None:
        raise ConfigError("`stac` is an item of files, and `out` names none", hint="give `out` too")
    if isinstance(extras, Mapping):
        raise ConfigError("`extras` names files, and `out` names none", hint="give `out` too, or names alone")
    mapped = map_scene(bundle, place, chosen, extras=extras, on_progress=on_progress)
    for text in mapped.warnings:
        warnings.warn(text, stacklevel=3)  # through `geosemi.predict(…)`
    like = scene if isinstance(scene, xr.DataArray) else None
    found = {
        name: to_dataarray(pixels, mapped.layers[name], mapped.scene.grid, name=name, like=like)
        for name, pixels in mapped.pixels.items()
    }
    for layer in found.values():
        layer.attrs["source"] = f"geosemi {__version__}" + (f", model {bundle.digest}" if bundle.digest else "")
    return xr.Dataset(found) if extras else found["class"]


@overload
def vectorize(
    mask: str | Path | xr.DataArray, out: None = None, *, legend: Legend | str | Path | None = None,
    confidence: str | Path | xr.DataArray | None = None, on_progress: OnProgress | None = None,
    settings: PolygonSettings | None = None, **options: Any,
) -> gpd.GeoDataFrame: ...  # fmt: skip
@overload
def vectorize(
    mask: str | Path | xr.DataArray, out: str | Path, *, legend: Legend | str | Path | None = None,
    confidence: str | Path | xr.DataArray | None = None, overwrite: bool = False, on_progress: OnProgress | None = None,
    settings: PolygonSettings | None = None, **options: Any,
) -> int: ...  # fmt: skip
def vectorize(
    mask: str | Path | xr.DataArray,
    out: str | Path | None = None,
    *,
    legend: Legend | str | Path | None = None,
    confidence: str | Path | xr.DataArray | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    settings: PolygonSettings | None = None,
    **options: Any,
) -> gpd.GeoDataFrame | int:
    """Make polygons of a mask: one for every patch of a class, valid, never cut, areas measured on the ellipsoid.

    Args:
        mask: a mask file, or a DataArray of class ids, such as `predict` returns.
        out: .gpkg, .fgb, .geojson, .parquet or .shp; None returns the polygons.
        legend: the classes; None takes those that the mask carries.
        confidence: raster on the mask's pixels, a file or a DataArray; its mean becomes the attribute `conf`.
        overwrite: replace an existing file.
        on_progress: told (rows done, rows in all).
        settings: how, instead of `options`.
        **options: single settings, as `geosemi.polygons.polygonize.PolygonSettings` names them: `min_area_m2=20`.

    Returns:
        a GeoDataFrame with `class_id`, `class_name`, `area_m2`, `perim_m`, `n_px`, in the mask's crs; with `out` the
        number of polygons that were written.

    Raises:
        ConfigError: an option is unknown or wrong.
        LegendError: nothing says what the values mean, or a value is no class.
        GeosemiError: as `geosemi.polygons.polygonize.polygonize`.
    """
    chosen = _settings(PolygonSettings, settings, options)
    classes = _legend(mask, legend)
    with tempfile.TemporaryDirectory(prefix="geosemi-") as folder:
        if isinstance(mask, xr.DataArray):
            source = Path(folder) / "mask.tif"
            write_mask(mask, source, classes)
        else:
            source = Path(mask)
        sure = Path(folder) / "confidence.tif" if isinstance(confidence, xr.DataArray) else confidence
        if isinstance(confidence, xr.DataArray):
            write_confidence(confidence, Path(folder) / "confidence.tif")
        target = Path(folder) / "polygons.gpkg" if out is None else placed(out)
        count = polygonize(
            source, target, classes, chosen, confidence=None if sure is None else Path(sure), overwrite=overwrite,
            on_progress=on_progress,
        )  # fmt: skip
        discard([target])
        return count if out is not None else pyogrio.read_dataframe(target, layer=LAYER)


def _place(scene: SceneLike, bands: Sequence[str]) -> Place:
    if isinstance(scene, xr.DataArray):
        return array_of(scene)
    if isinstance(scene, (rasterio.io.DatasetReader, rasterio.io.DatasetWriter, rasterio.vrt.WarpedVRT)):
        return _reopened(scene)
    if not isinstance(scene, (str, Path)):
        raise InputError(
            f"a scene cannot be a `{type(scene).__name__}`",
            hint="give a path, a URL, an open rasterio dataset or an xarray.DataArray (of a Dataset: one variable)",
        )
    found = find_scenes([scene], bands=bands)
    if len(found) > 1:
        raise InputError(f"`{scene}` means {len(found)} scenes", hint="call it once for each of them")
    return found[0].place


def _reopened(dataset: Any) -> Place:
    """Return the file behind an open dataset: GDAL may have opened it by rules that are not ours."""
    if isinstance(dataset, (rasterio.io.DatasetWriter, rasterio.vrt.WarpedVRT)) or dataset.name.startswith("/vsimem/"):
        kind = "is open for writing" if isinstance(dataset, rasterio.io.DatasetWriter) else "lies in memory alone"
        raise InputError(
            f"the dataset `{dataset.name}` {kind}",
            hint="write it to a GeoTIFF and close it, or give its pixels as a DataArray",
        )
    remote = Remote.parse(dataset.name)
    if remote is None and not Path(dataset.name).is_file():
        raise InputError(
            f"the dataset `{dataset.name}` ({dataset.driver}) is no file of its own",
            hint="write it to a GeoTIFF, e.g. with gdal_translate, or give its pixels as a DataArray",
        )
    return remote or Path(dataset.name)


def _legend(mask: str | Path | xr.DataArray, legend: Legend | str | Path | None) -> Legend:
    if isinstance(legend, Legend):
        return legend
    if legend is not None:
        return Legend.load(Path(legend))
    found = legend_of_dataarray(mask) if isinstance(mask, xr.DataArray) else legend_of(Path(mask))
    if found is None:
        what = "the DataArray" if isinstance(mask, xr.DataArray) else f"`{mask}`"
        raise LegendError(f"{what} does not say what its values mean", hint="give its classes: `legend=…`")
    return found


def _settings(kind: type[S], settings: S | None, options: Mapping[str, Any]) -> S:
    if settings is not None and options:
        raise ConfigError(
            f"`settings` and `{next(iter(options))}` both say how", hint="give all of it as settings, or as options"
        )
    if settings is not None:
        return settings
    return settings_of(kind, options)
