"""From what the user typed to scenes: files, globs, folders, mosaics, STAC items, URLs."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from geosemi.errors import InputError, SceneUnreadable
from geosemi.geo.remote import Remote
from geosemi.geo.scene import Place
from geosemi.geo.stac_items import load_stac

RASTERS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".vrt")
_STAC = (".json", ".geojson")


@dataclass(frozen=True, slots=True)
class SceneSource:
    """A scene that was asked for; nothing of it is opened but what STAC needs.

    Attributes:
        name: for the names of outputs; unique among the scenes found together.
        place: what `Scene.open` takes.
    """

    name: str
    place: Place


def find_scenes(sources: Sequence[str | Path], *, bands: Sequence[str] = ()) -> tuple[SceneSource, ...]:
    """Return the scenes that were typed, in that order; those of a folder or a glob by name.

    - a file: GeoTIFF, PNG, JPEG, or a `.vrt` mosaic
    - a folder: the rasters in it, not those in folders below
    - a pattern: `2024/*.tif`, `**/*.tif`; a file of exactly that name comes first
    - a STAC item or collection, as `.json`; `item.json#visual` names the asset
    - a URL, only where it is typed: `https://…`, `s3://…`, `gs://…`, `/vsicurl/…`, `/vsis3/…`, `/vsigs/…`

    Args:
        sources: as typed; a `Path` is never a URL or a pattern.
        bands: bands that are wanted by name; they choose between the assets of STAC items.

    Raises:
        SceneUnreadable: a file does not exist, or a STAC document cannot be read.
        UnsafeInput: a document names what it must not.
        InputError: nothing was found, or a STAC item has no or too many assets.
    """
    if not sources:
        raise InputError("no scene is given", hint="name a raster, a folder of rasters, or a URL")
    found: dict[Place, str] = {}
    for source in sources:
        for name, place in _expanded(source, bands):
            found.setdefault(place, name)  # what is named twice is mapped once
    return tuple(SceneSource(name, place) for place, name in _unique(found).items())


def _expanded(source: str | Path, bands: Sequence[str]) -> Iterator[tuple[str, Place]]:
    text = str(source)
    remote = Remote.parse(text) if isinstance(source, str) else None
    if remote is not None:
        yield from _remote(remote, bands)
        return
    path = Path(source)
    if path.is_dir():
        rasters = sorted(p for p in path.iterdir() if p.suffix.lower() in RASTERS and p.is_file())
        if not rasters:
            raise InputError(f"the folder `{path}` holds no rasters", hint=f"it wants {', '.join(RASTERS)}")
        yield from ((p.stem, p) for p in rasters)
    elif not path.exists() and isinstance(source, str) and glob.has_magic(text):
        matches = sorted(Path(p) for p in glob.glob(text, recursive=True) if Path(p).is_file())  # noqa: PTH207 - absolute patterns
        if not matches:
            raise InputError(f"no file matches `{text}`", hint="check the pattern; put it in quotes")
        for match in matches:
            yield from _local(match, "", bands)
    else:
        name, _, asset = text.partition("#")
        is_asset = asset and not path.exists() and Path(name).suffix.lower() in _STAC
        yield from _local(Path(name) if is_asset else path, asset if is_asset else "", bands)


def _local(path: Path, asset: str, bands: Sequence[str]) -> Iterator[tuple[str, Place]]:
    if path.suffix.lower() in _STAC:
        yield from load_stac(path, bands=bands, asset=asset)
        return
    if not path.exists():
        raise SceneUnreadable(f"`{path}` does not exist", hint=_nearest(path))
    yield path.stem, path


def _remote(remote: Remote, bands: Sequence[str]) -> Iterator[tuple[str, Place]]:
    plain = Remote.parse(remote.url.partition("#")[0])
    if plain is not None and plain.suffix.lower() in _STAC:
        yield from load_stac(plain, bands=bands, asset=remote.url.partition("#")[2])
    elif remote.suffix.lower() in (".vrt", ".png", ".jpg", ".jpeg"):
        raise InputError(f"`{remote}` is no GeoTIFF", hint="behind a URL only GeoTIFFs are read; download it")
    else:
        yield remote.stem or remote.name, remote


def _nearest(path: Path) -> str:
    """Say what the folder holds instead."""
    if not path.parent.is_dir():
        return f"the folder `{path.parent}` does not exist either"
    others = sorted(p.name for p in path.parent.iterdir() if p.suffix.lower() in RASTERS)
    return f"there are {', '.join(others[:3])}" if others else "check the path"


def _unique(found: dict[Place, str]) -> dict[Place, str]:
    """Number the names that come twice, as `a/scene.tif` and `b/scene.tif` do."""
    seen: dict[str, int] = {}
    named: dict[Place, str] = {}
    taken = set(found.values())
    for place, name in found.items():
        seen[name] = seen.get(name, 0) + 1
        new = name
        while seen[name] > 1 and (new == name or new in taken):
            new = f"{name}_{seen[name]}"
            seen[name] += new in taken
        taken.add(new)
        named[place] = new
    return named
