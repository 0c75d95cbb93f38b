"""Opinions of a scene from a map or from labels: the two ways that need no model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geosemi.annotate.classtable import ClassTable
from geosemi.annotate.layer import reading_layer
from geosemi.annotate.maps import OpinionFacts, files_for, sha256_of, write_map
from geosemi.annotate.settings import Quality, Simulation
from geosemi.annotate.simulated import Simulated, Truth
from geosemi.data.labels import RasterLabels
from geosemi.errors import ConfigError, InputError, LegendError
from geosemi.geo.burn import VECTOR_SUFFIXES, VectorLabels, is_vector
from geosemi.geo.commit import require_writable
from geosemi.geo.grid import Grid
from geosemi.geo.raster import open_raster
from geosemi.geo.scene import Place, Scene
from geosemi.legend import Legend

Progress = Callable[[int, int], None]
_SUFFIXES = (".tif", ".tiff", ".png", *VECTOR_SUFFIXES)


def annotate_from_layer(
    place: Place,
    out: Path,
    layer: Path,
    *,
    table: ClassTable,
    overwrite: bool = False,
    on_progress: Progress = lambda _done, _total: None,
) -> OpinionFacts:
    """Write what an existing map says of a scene as an opinion raster.

    Args:
        place: the scene.
        out: the opinion, a `.tif`.
        layer: polygons or a class raster in any crs, or a folder of such files named like the scenes.
        table: which of its values means which class.
        overwrite: whether an existing opinion is replaced.
        on_progress: told how many rows of how many are done.

    Raises:
        InputError: the scene or the map cannot be used.
        OutputError: the opinion cannot be written.
    """
    scene = Scene.open(place)
    path = named_like(layer, scene.path.stem)
    require_outputs(out, overwrite=overwrite, inputs=(*scene.files, path))
    with reading_layer(path, scene.grid, table) as reader:
        key = {"provider": "layer", "file": path.name, "sha256": sha256_of(path)}
        facts = write_map(scene, reader, out, legend=table.legend, key=key, on_progress=on_progress)
        warnings = tuple(_warnings(path.name, reader.record()))
    return replace(facts, warnings=warnings)


def _warnings(name: str, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a person should know of a map that was read."""
    if layers := record.get("without_crs"):
        which = f" (layers {', '.join(layers)})" if len(layers) > 1 else ""
        yield f"`{name}`{which} has no coordinate system: its coordinates are taken to be in that of the scene"
    if columns := record.get("missing_columns"):
        yield f"`{name}` has no column {', '.join(columns)}"
    if layers := record.get("without_column"):
        yield f"layers of `{name}` without a class column are left out: {', '.join(layers)}"
    if unknown := record.get("unknown"):
        some = ", ".join(f"{value} ({count:,})" for value, count in list(unknown.items())[:5])
        yield f"values of `{name}` that mean no class: {some}"
    if thin := record.get("without_width"):
        yield f"{thin:,} lines and points of `{name}` are left out: no `widths:` says how wide they are"


def annotate_from_labels(
    place: Place,
    out: Path,
    labels: Path,
    *,
    legend: Legend,
    simulation: Simulation,
    overwrite: bool = False,
    on_progress: Progress = lambda _done, _total: None,
) -> OpinionFacts:
    """Write a simulated opinion: the truth of a scene, spoilt to a stated quality. For experiments only.

    Args:
        place: the scene.
        out: the opinion, a `.tif`.
        labels: its labels, a raster on its grid or polygons; or a folder of files named like the scenes.
        legend: the classes.
        simulation: how it is spoilt.
        overwrite: whether an existing opinion is replaced.
        on_progress: told how many rows of how many are done.

    Raises:
        InputError: scene or labels cannot be used.
        OutputError: the opinion cannot be written.
    """
    scene = Scene.open(place)
    path = named_like(labels, scene.path.stem)
    require_outputs(out, overwrite=overwrite, inputs=(*scene.files, path))
    with _truth(path, scene.grid, legend) as truth:
        rows = scene.grid.height
        reader = Simulated(truth, scene.grid, legend, simulation=simulation, on_progress=on_progress)
        key = {"provider": "labels", "file": path.name, "sha256": sha256_of(path)}

        def second_half(done: int, _total: int) -> None:
            on_progress(rows + done, 2 * rows)

        return write_map(scene, reader, out, legend=legend, key=key, on_progress=second_half)


def qualities_of(
    legend: Legend, precision: Sequence[str], recall: Sequence[str], shift: Sequence[str]
) -> tuple[Quality, ...]:
    """Return the quality of each class, from words: `0.9` for all, `car=0.5` for one.

    Raises:
        LegendError: a class is unknown.
        ConfigError: a number is none, or out of range.
    """
    chosen: list[dict[str, float]] = [{} for _ in legend]
    for name, words in (("precision", precision), ("recall", recall), ("shift", shift)):
        for word in sorted(words, key=lambda w: "=" in w):  # what holds for all comes first
            cls, _, number = word.rpartition("=")
            found = legend.find(cls) if cls else None
            if cls and found is None:
                raise LegendError(
                    f"`--{name} {word}`: `{cls}` is no class of `{legend.name}`",
                    hint=f"choose from {', '.join(legend.names)}",
                )
            value = _number(name, number, word)
            for k in range(len(legend)) if found is None else (found.id,):
                chosen[k][name] = value
    return tuple(Quality.model_validate(values) for values in chosen)


def _number(name: str, number: str, word: str) -> float:
    limits = {"precision": "above 0, up to 1", "recall": "0 to 1", "shift": "whole pixels, 0 to 64"}
    wrong = ConfigError(f"`--{name} {word}` is no {name}", hint=f"give {limits[name]}; `car=0.5` for one class")
    try:
        value = float(number)
        Quality.model_validate({name: value})
    except ValueError as error:  # pydantic's is one
        raise wrong from error
    return value


def named_like(path: Path, stem: str) -> Path:
    """Return a file, or of a folder the file that is named like a scene.

    Raises:
        InputError: there is none, or there are several.
    """
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"`{path}` does not exist", hint="check the path")
        return path
    found = [p for suffix in _SUFFIXES if (p := path / f"{stem}{suffix}").is_file()]
    if len(found) != 1:
        several = f"`{found[0].name}` and `{found[1].name}`" if found else f"no file named `{stem}`"
        raise InputError(
            f"`{path}` holds {several}", hint=f"it needs one file for the scene, `{stem}.tif` or `{stem}.gpkg`"
        )
    return found[0]


def require_outputs(out: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check, before any work, that an opinion and its side files can be written.

    Raises:
        OutputError: they cannot.
    """
    for file in reversed(files_for(out)):
        require_writable(file, overwrite=overwrite, inputs=inputs)


@contextmanager
def _truth(path: Path, grid: Grid, legend: Legend) -> Iterator[Truth]:
    if is_vector(path):
        yield VectorLabels.load(path, grid, legend)
        return
    with open_raster(path) as file:
        if file.grid.crs is not None or grid.shape != file.grid.shape:
            grid.require_same(file.grid, mine="the scene", theirs=str(path))
        if file.count != 1:
            raise LegendError(
                f"`{path}` has {file.count} bands; a label raster has one",
                hint="colour-coded labels of known data sets are converted by `geosemi prepare`",
            )
        yield RasterLabels(file, legend)
