"""Scenes named by STAC: items and collections, as JSON files or behind typed URLs, and the assets that are pixels."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from affine import Affine

from geosemi.errors import InputError, SceneUnreadable, UnsafeInput
from geosemi.geo.affines import composed
from geosemi.geo.bandnames import find_band
from geosemi.geo.gate import head_of
from geosemi.geo.grid import Grid
from geosemi.geo.mosaic import Box, Mosaic, Piece
from geosemi.geo.raster import open_raster
from geosemi.geo.remote import Remote
from geosemi.geo.scene import Place

_MAX_BYTES = 32 * 2**20
_MAX_ITEMS = 10_000
_SECONDS = 30
_NO_PIXELS = frozenset({"thumbnail", "overview", "metadata", "tilejson", "visual-preview", "cloud", "data-mask"})
_BAND_NAMES = ("eo:common_name", "common_name", "name", "id")
_KINDS = ("image/tiff", "image/vnd.stac.geotiff")

Json = Mapping[str, Any]


def load_stac(place: Path | Remote, *, bands: Sequence[str] = (), asset: str = "") -> list[tuple[str, Place]]:
    """Return the scenes (name, where its pixels are) that a STAC item, item collection or collection names.

    The assets with pixels are those of type GeoTIFF, with the role `data` where one has it. Several assets of one band
    each become the bands of one scene, in the order of `bands` if that is given, and bear the names that STAC has.

    Args:
        place: the JSON, as a file or behind a URL.
        bands: the bands that are wanted, by name; they choose between assets.
        asset: the key of the one asset that is meant; else what has pixels is found.

    Raises:
        SceneUnreadable: the JSON or an asset cannot be read.
        UnsafeInput: a file names a URL, or a URL a file.
        InputError: an item has no pixels, or too many to choose from.
    """
    return [(name, _scene(home, item, bands, asset)) for home, name, item in _items(place)]


def is_stac(content: object) -> bool:
    """Tell whether JSON is a STAC item, item collection or collection."""
    if not isinstance(content, dict):
        return False
    features = content.get("features")
    first = features[0] if isinstance(features, list) and features else {}
    return "stac_version" in content or (isinstance(first, dict) and "stac_version" in first)


def _items(place: Path | Remote) -> Iterator[tuple[Path | Remote, str, Json]]:
    """Yield (the document an item stands in, its name, the item)."""
    content = _json(place)
    if not is_stac(content):
        raise SceneUnreadable(f"`{place}` is no STAC item or collection", hint="give a raster, or a STAC item's JSON")
    if content.get("type") == "FeatureCollection":
        for feature in content["features"][:_MAX_ITEMS]:
            yield place, str(feature.get("id") or place.stem), feature
    elif content.get("type") == "Feature":
        yield place, str(content.get("id") or place.stem), content
    else:
        links = [x for x in content.get("links", ()) if isinstance(x, dict) and x.get("rel") == "item"]
        if not links:
            raise InputError(f"`{place}` links to no items", hint="give its items, or the URL of a search's answer")
        for link in links[:_MAX_ITEMS]:
            home = _where(place, str(link.get("href", "")))
            item = _json(home)
            yield home, str(item.get("id") or home.stem), item


def _scene(home: Path | Remote, item: Json, bands: Sequence[str], asset: str) -> Place:
    assets = _assets(home, item, asset)
    if len(assets) == 1 and not _tells_names(only := next(iter(assets.values()))):
        return _where(home, str(only.get("href", "")))  # nothing to add to what the file says of its bands
    named = [(band, key, number) for key, value in assets.items() for number, band in enumerate(_names(key, value), 1)]
    wanted = [band for band in bands if not band.isdecimal()]
    if wanted and len(wanted) == len(bands):
        found = {band: find_band(band, [name for name, _, _ in named]) for band in wanted}
        if missing := [band for band, i in found.items() if i is None]:
            names = ", ".join(name for name, _, _ in named)
            one = f"one asset, `{home}#{next(iter(assets))}`, and its bands by number, e.g. `--bands 1,2,3`"
            raise InputError(
                f"`{home}` has no band {', '.join(missing)}, or several",
                hint=f"choose with `--bands` among {names}; or "
                + (one if len(assets) > 1 else "by number, e.g. `--bands 1,2,3`"),
            )
        named = [named[i] for i in found.values() if i is not None]
    elif len(assets) > 1 and any(len(_names(k, v)) > 1 for k, v in assets.items()):
        keys = ", ".join(assets)
        raise InputError(
            f"`{home}` has several assets with pixels: {keys}",
            hint=f"choose one with `{home}#{next(iter(assets))}`, or bands by name with `--bands`",
        )
    places = {key: _where(home, str(value.get("href", ""))) for key, value in assets.items()}
    return _stack(home, [(name, places[key], number) for name, key, number in named])


def _assets(home: Path | Remote, item: Json, asset: str) -> dict[str, Json]:
    listed: dict[str, Json] = {k: v for k, v in dict(item.get("assets") or {}).items() if isinstance(v, dict)}
    if asset:
        if asset not in listed:
            raise InputError(f"`{home}` has no asset `{asset}`", hint=f"choose one of {', '.join(listed) or 'none'}")
        return {asset: listed[asset]}
    pixels = {k: v for k, v in listed.items() if _is_raster(v) and not _NO_PIXELS & set(v.get("roles") or ())}
    data = {k: v for k, v in pixels.items() if "data" in (v.get("roles") or ())}
    if not pixels:
        raise InputError(
            f"`{home}` has no asset with pixels; its assets are {', '.join(listed) or 'none'}",
            hint=f"name one: `{home}#ASSET`, if it is a GeoTIFF",
        )
    return data or pixels


def _is_raster(asset: Json) -> bool:
    kind, href = str(asset.get("type", "")).lower(), str(asset.get("href", "")).lower().partition("?")[0]
    return kind.startswith(_KINDS) or (not kind and href.endswith((".tif", ".tiff")))


def _described(asset: Json) -> list[Json]:
    """Return what STAC 1.1 (`bands`) or an older extension (`eo:bands`) says of the bands."""
    found = asset.get("bands") or asset.get("eo:bands") or ()
    return [band for band in found if isinstance(band, dict)]


def _tells_names(asset: Json) -> bool:
    return any(band.get(key) for band in _described(asset) for key in _BAND_NAMES)


def _names(key: str, asset: Json) -> list[str]:
    """Return a description of each band: `red (B04)`, or the asset's key where it is one nameless band."""
    names = []
    for number, band in enumerate(_described(asset), start=1):
        common = band.get("eo:common_name") or band.get("common_name")
        name = band.get("name") or band.get("id")
        both = f"{common} ({name})" if common and name and common != name else common or name
        names.append(str(both or f"band_{number}"))
    return names or [key]


def _stack(home: Path | Remote, named: list[tuple[str, Path | Remote, int]]) -> Mosaic:
    """Return the bands of several files as one scene, on the finest grid among them; coarser ones by nearest pixel."""
    facts: dict[Path | Remote, tuple[Grid, str, tuple[float | None, ...]]] = {}
    for place in dict.fromkeys(place for _, place, _ in named):
        with open_raster(place) as file:
            facts[place] = (file.grid, file.dtype.name, file.nodatas)
    if len({dtype for _, dtype, _ in facts.values()}) > 1:
        raise InputError(f"the bands of `{home}` have several dtypes", hint="choose bands of one dtype: `--bands`")
    grid = max((grid for grid, _, _ in facts.values()), key=lambda g: g.height * g.width)
    whole = Box(0, 0, grid.width, grid.height)
    pieces, nodatas = [], []
    for _, place, number in named:
        own, dtype, values = facts[place]
        stretched = composed(own.transform, Affine.scale(own.width / grid.width, own.height / grid.height))
        grid.require_same(Grid(own.crs, stretched, *grid.shape), mine=str(home), theirs=str(place))
        pieces.append((Piece(place, number, Box(0, 0, own.width, own.height), whole),))
        nodatas.append(values[number - 1] if number <= len(values) else None)
    path = home if isinstance(home, Path) else Path(home.name)
    names = tuple(name for name, _, _ in named)
    return Mosaic(path, grid, dtype, names, tuple(nodatas), tuple(pieces), local=isinstance(home, Path))


def _where(home: Path | Remote, href: str) -> Path | Remote:
    """Return what a document means by a link: files name files, URLs name URLs."""
    if isinstance(home, Remote):
        joined = home.join(href)
        if joined is None:
            raise UnsafeInput(f"`{home}` names `{href}`, which is no URL", hint="download it, and give the files")
        return joined
    if "://" in href or href.startswith("/vsi"):
        raise UnsafeInput(
            f"`{home}` names `{href.partition('?')[0]}`; a file opens no connection",
            hint="give the item's own URL, or the asset's, and it is read from there",
        )
    return home.parent / unquote(href)


def _json(place: Path | Remote) -> Any:
    try:
        text = _fetch(place) if isinstance(place, Remote) else _local(place)
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SceneUnreadable(f"`{place}` is no readable JSON", hint="check the path; download it again") from error


def _local(path: Path) -> bytes:
    head_of(path)
    if path.stat().st_size > _MAX_BYTES:
        raise SceneUnreadable(f"`{path}` is too large for a STAC item", hint="give its items one by one")
    return path.read_bytes()


def _fetch(place: Remote) -> bytes:
    url = place.url
    if not url.startswith(("http://", "https://")):
        raise InputError(f"`{place}` is in a bucket, where only rasters are read", hint="give its https:// address")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - only http and https get here
            content: bytes = answer.read(_MAX_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise SceneUnreadable(
            f"`{place}` cannot be fetched ({reason})", hint="check the address and the connection"
        ) from error
    if len(content) > _MAX_BYTES:
        raise SceneUnreadable(f"`{place}` is too large for a STAC item", hint="give its items one by one")
    return content
