"""Band statistics on disk: measured once a run, read again when it is resumed, refused for other scenes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from geosemi.data.normalise import Radiometry
from geosemi.data.scenes import SceneFiles
from geosemi.errors import ConfigError, InputError
from geosemi.geo.commit import write_files

_MAX_BYTES = 1_000_000


def save_radiometry(path: Path, radiometry: Radiometry, scenes: Sequence[SceneFiles]) -> None:
    """Write statistics with a fingerprint of the scenes that they hold for.

    Raises:
        OutputError: the disk is full.
    """
    plain = {"scenes_sha256": fingerprint(scenes), "bands": scenes[0].scene.bands, **asdict(radiometry)}
    write_files({path: json.dumps(plain, indent=1).encode()})


def load_radiometry(path: Path, scenes: Sequence[SceneFiles]) -> Radiometry | None:
    """Return the statistics that were written for these scenes, the very same numbers; None if there is no file.

    Raises:
        ConfigError: they were measured on other scenes, or on scenes that have changed.
        InputError: the file was damaged or edited.
    """
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has {path.stat().st_size:,} bytes")
        plain = json.loads(path.read_bytes())
        known = plain.pop("scenes_sha256")
        del plain["bands"]
        rgb = plain.pop("rgb")
        numbers = {key: tuple(float(v) for v in values) for key, values in plain.items()}
        found = Radiometry(**numbers, rgb=None if rgb is None else (int(rgb[0]), int(rgb[1]), int(rgb[2])))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(
            f"`{path}` holds no band statistics: {error}", hint="delete it; they are measured again"
        ) from error
    if known != fingerprint(scenes) or found.bands != len(scenes[0].scene.bands):
        raise ConfigError(
            f"the training scenes are others than those that `{path}` was measured on, or have changed",
            hint="bring the data back as they were, or start a new run with another `--out`",
        )
    return found


def fingerprint(scenes: Sequence[SceneFiles]) -> str:
    """Hash names, grids, bands, number types and sizes in bytes; where the files lie does not count."""
    digest = hashlib.sha256()
    for files in scenes:
        scene, grid = files.scene, files.scene.grid
        size = scene.path.stat().st_size if scene.path.is_file() else None
        facts = (files.name, grid.shape, tuple(grid.transform), scene.bands, scene.indexes, scene.dtype, size)
        digest.update(repr(facts).encode())
    return digest.hexdigest()
