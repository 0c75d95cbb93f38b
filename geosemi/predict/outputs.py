"""Can the outputs of a task be written where they are asked for? Looked at by a plan, and before any work."""

from collections.abc import Mapping
from pathlib import Path

from geosemi.errors import OutputError
from geosemi.geo.layers import Layer, files_of, require_free
from geosemi.geo.remote import Remote
from geosemi.geo.scene import Scene
from geosemi.geo.target import is_there, url_of
from geosemi.predict.answers import Extra
from geosemi.predict.catalogue import Catalogue
from geosemi.predict.task import Task


def layers_of(task: Task, out: Path, extras: Mapping[Extra, Path]) -> dict[Path, Layer]:
    """Return raster → what its values mean, the mask last.

    Raises:
        OutputError: two of them have one name.
    """
    outputs = [*extras.values(), out]
    layers = dict(zip(outputs, task.answers.layers, strict=True))
    if len(layers) < len(outputs):
        raise _twice(out)
    return layers


def require_rasters(
    layers: Mapping[Path, Layer], scene: Scene, *, overwrite: bool, own: frozenset[Path] = frozenset()
) -> None:
    """Check, before any work, that rasters of a scene and their side files can be written.

    Args:
        layers: raster → what its values mean.
        scene: must be none of them.
        overwrite: whether existing files are replaced.
        own: files of an interrupted run of this work, which are replaced in any case.

    Raises:
        OutputError: a name does not fit, is the scene or twice there, exists, or cannot be written.
    """
    names: set[Path] = set()
    for path, layer in layers.items():
        files = {f.resolve() for f in files_of(path, layer)}
        if files & names:
            raise _twice(path)
        names |= files
        if isinstance(scene.place, Remote) and url_of(path) == str(scene.place):
            raise OutputError(f"the output `{scene.place}` is an input", hint="choose another name")
        require_free(path, layer, overwrite=overwrite or path.absolute() in own, inputs=scene.files)


def _twice(path: Path) -> OutputError:
    return OutputError(f"`{path}` would be two outputs", hint="give each a name of its own")


def check_outputs(
    task: Task, out: Path, extras: Mapping[Extra, Path], *, stac: Path | None = None, taken: str | None = None
) -> tuple[Path, ...]:
    """Refuse outputs that no run could write, and return those files that exist, which a run would replace or keep.

    Args:
        task: what is to be mapped, with the same extras.
        out: the mask, a `.tif`.
        extras: further rasters, each with its `.tif`.
        stac: a STAC item, a `.json`, or None.
        taken: when the scene was taken, for that item; None asks the scene.

    Raises:
        OutputError: a name does not fit, is the scene or twice there, or its folder is missing or not writable.
        ConfigError: an item is wanted, and nothing says when the scene was taken.
    """
    layers = layers_of(task, out, extras)
    require_rasters(layers, task.checked.scene, overwrite=True)
    files = [file for path, layer in layers.items() for file in files_of(path, layer)]
    if stac is not None:
        files.append(Catalogue.of(stac, task, taken, overwrite=True).path)
    return tuple(path for path in files if is_there(path))
