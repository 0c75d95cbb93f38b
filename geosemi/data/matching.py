"""Which files belong together: rasters that a folder or glob names, and labels and opinions named like their scenes."""

from collections.abc import Container, Sequence
from pathlib import Path

from geosemi.errors import ConfigError, DatasetMissing
from geosemi.geo.burn import VECTOR_SUFFIXES

RASTER_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def match_rasters(root: Path, pattern: str, *, key: str, required: bool) -> list[Path]:
    """Return the rasters in a folder, or those that a glob matches, sorted.

    Raises:
        DatasetMissing: none was found although some are `required`; the message names the setting `data.KEY`.
    """
    folder = root / pattern
    paths = list(folder.iterdir()) if folder.is_dir() else list(root.glob(pattern))
    rasters = sorted(p for p in paths if p.suffix.lower() in RASTER_SUFFIXES and not p.name.startswith("."))
    if required and not rasters:
        raise DatasetMissing(
            f"no scene matches `{folder}`",
            hint=f"give the folder of your GeoTIFFs, e.g. `--set data.{key}=orthophotos`",
        )
    return rasters


def partner(folder: Path | str, stem: str, suffixes: Sequence[str]) -> Path | None:
    """Return the file in a folder that is named like a scene, or None.

    Raises:
        ConfigError: there are two.
    """
    candidates = [Path(folder) / f"{stem}{suffix}" for suffix in suffixes]
    existing = [c for c in candidates if c.is_file()]
    if len(existing) > 1:
        raise ConfigError(
            f"`{stem}` has two labels: `{existing[0].name}` and `{existing[1].name}`",
            hint="keep one of them in the folder",
        )
    return existing[0] if existing else None


def strays(root: Path, folders: Sequence[str | None], stems: Container[str]) -> tuple[str, ...]:
    """Return `folder/name` of rasters and vector layers that are named like no scene: perhaps they are misspelt."""
    return tuple(
        f"{folder}/{path.name}"
        for folder in folders
        if folder and (root / folder).is_dir()
        for path in sorted((root / folder).iterdir())
        if path.suffix.lower() in (*RASTER_SUFFIXES, *VECTOR_SUFFIXES) and path.stem not in stems
    )
