"""Can the outputs of a task be written where they are asked for? What a plan looks at before anything is written."""

from collections.abc import Mapping
from pathlib import Path

from geosemi.errors import OutputError
from geosemi.geo.layers import files_of, require_free
from geosemi.geo.target import is_there
from geosemi.predict.answers import Extra
from geosemi.predict.catalogue import Catalogue
from geosemi.predict.task import Task


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
    files: list[Path] = []
    for path, layer in zip((*extras.values(), out), task.answers.layers, strict=True):
        own = files_of(path, layer)
        if {f.resolve() for f in own} & {f.resolve() for f in files}:
            raise OutputError(f"`{path}` would be two outputs", hint="give each a name of its own")
        require_free(path, layer, overwrite=True, inputs=task.checked.scene.files)
        files.extend(own)
    if stac is not None:
        files.append(Catalogue.of(stac, task, taken, overwrite=True).path)
    return tuple(path for path in files if is_there(path))
