"""Does a scene fit a model? Everything is looked at before the first slow step, and all faults are told at once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pyproj import CRS as ProjCRS
from pyproj.exceptions import CRSError
from rasterio.crs import CRS

from geosemi.errors import BandMismatch, ConfigError, InputError, ResourceError
from geosemi.geo.bandnames import find_band, is_named
from geosemi.geo.grid import Grid
from geosemi.geo.resample import model_grid
from geosemi.geo.scene import Place, Scene
from geosemi.models.bundle import Card
from geosemi.predict.values import hidden_pixels, strange_numbers, strange_samples

WARN_RESOLUTION, REFUSE_RESOLUTION = 2.0, 8.0
# a file that claims so much and holds a thousandth of it is a slip or an attack; it would be mapped for weeks
MAX_CLAIM, MAX_RATIO = 10**11, 1000
MIN_SIDE = 16  # pixels that a scene has at a size that was typed; below that it is a slip of the unit
_NUMBERED = re.compile(r"band_\d+")

Resolution = Literal["native", "model"] | float
"""At which pixel size a scene is mapped: its own, the model's, or one in metres."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A scene that fits.

    Attributes:
        scene: with the model's bands, in their order.
        warnings: what a person should know, one sentence each.
        metres: the size of pixels that it is resampled to; None maps it as it is.
    """

    scene: Scene
    warnings: tuple[str, ...]
    metres: float | None = None

    @property
    def grid(self) -> Grid:
        """The grid that the model sees: the scene's, or the resampled one."""
        return self.scene.grid if self.metres is None else model_grid(self.scene.grid, self.metres)


@dataclass(frozen=True, slots=True)
class _Fault:
    what: str
    hint: str
    kind: type[InputError] = InputError


def check_scene(
    place: Place,
    card: Card,
    *,
    bands: Sequence[int | str] | None = None,
    resolution: Resolution = "native",
    expand_palette: bool = False,
    assume_crs: str | None = None,
    needs_crs: bool = False,
) -> Checked:
    """Return the scene with the bands that the model wants.

    Args:
        place: the scene: a path, a URL that was typed, or a mosaic.
        card: what the model takes.
        bands: bands of the file in the order of the model's, as 1-based numbers or names; None takes all, or matches
            them by name.
        resolution: `native` maps the pixels as they are; `model`, or a size in metres, resamples them.
        expand_palette: read a palette image as the colours that it stands for.
        assume_crs: where a scene without a coordinate system lies, e.g. `EPSG:25833`.
        needs_crs: whether something that was asked for needs to know where the scene lies.

    Raises:
        SceneUnreadable, UnsafeInput, ResourceError: the file cannot be opened, or claims to be vast and is not.
        BandMismatch: it has other bands than the model, or no such bands as asked for; the message also names all
            other faults.
        InputError: its numbers, its place or its resolution do not fit.
        ConfigError: `assume_crs` is no coordinate system.
    """
    whole = Scene.open(place, expand_palette=expand_palette)
    _require_plausible(whole)
    whole, faults = _placed(whole, assume_crs, needed=needs_crs or resolution != "native")
    scene, wrong_bands = _with_bands(whole, card, bands)
    numbers = (*strange_samples(whole), *strange_numbers(scene, card))
    faults = [
        *wrong_bands,
        *(_Fault(*fault) for fault in numbers),
        *faults,
        *_wrong_resolution(whole, card, resolution),
    ]
    if faults:
        _refuse(whole.place, faults)
    metres = card.resolution if resolution == "model" else None if resolution == "native" else resolution
    return Checked(scene, (*scene.notes, *_remarks(scene, card, metres), *hidden_pixels(scene)), metres)


def _refuse(place: Place, faults: Sequence[_Fault]) -> None:
    hint = "; ".join(dict.fromkeys(fault.hint for fault in faults))
    if len(faults) == 1:
        raise faults[0].kind(f"`{place}` does not fit the model: {faults[0].what}", hint=hint)
    count = f"`{place}` does not fit the model ({len(faults)} problems)"
    raise faults[0].kind(count, hint=hint, faults=[fault.what for fault in faults])


def _require_plausible(scene: Scene) -> None:
    pixels = scene.grid.height * scene.grid.width
    stored = sum(path.stat().st_size for path in scene.files)
    if pixels > MAX_CLAIM and stored and pixels * len(scene.bands) > MAX_RATIO * stored:
        raise ResourceError(
            f"`{scene.place}` claims {scene.grid.height:,} × {scene.grid.width:,} pixels but is "
            f"{stored / 1e6:,.1f} MB on disk",
            hint="if that is right, map the part that holds something: `gdal_translate -srcwin …`",
        )


def assumed(scene: Scene, assume_crs: str | None) -> Scene:
    """Return the scene where it is said to lie, if nothing in its file says where.

    Raises:
        ConfigError: `assume_crs` is no coordinate system.
    """
    if assume_crs is None or scene.grid.crs is not None or scene.has_gcps:
        return scene
    return replace(scene, grid=replace(scene.grid, crs=_crs(assume_crs)))


def _placed(scene: Scene, assume_crs: str | None, *, needed: bool) -> tuple[Scene, list[_Fault]]:
    """Return the scene where it lies, or where it is said to lie."""
    placed = assumed(scene, assume_crs)
    if placed is not scene:
        return placed, []
    if assume_crs is not None:
        lies = "is placed by control points" if scene.has_gcps else f"lies in {_short(scene.grid.crs)}"
        return scene, [_Fault(f"it {lies} already", "leave `--assume-crs` out")]
    if needed and scene.has_gcps:
        return scene, [_Fault("it is placed by control points only", "warp it first, with gdalwarp")]
    if needed and scene.grid.crs is None:
        return scene, [_Fault("it has no coordinate system", "say where it lies, e.g. `--assume-crs EPSG:25833`")]
    return scene, []


def _crs(text: str) -> CRS:
    try:
        return CRS.from_wkt(ProjCRS.from_user_input(text).to_wkt())
    except CRSError as error:
        raise ConfigError(f"`{text}` is no coordinate system", hint="use a code, e.g. `EPSG:25833`") from error


def _short(crs: CRS | None) -> str:
    code = None if crs is None else crs.to_epsg()
    return f"EPSG:{code}" if code else "a coordinate system"


def _with_bands(whole: Scene, card: Card, bands: Sequence[int | str] | None) -> tuple[Scene, list[_Fault]]:
    if bands is not None:
        return _as_asked(whole, card, bands)
    if whole.palette and not whole.expanded and len(card.bands) != len(whole.bands):
        what = "it is a palette image: its numbers are indices of colours"
        return whole, [_Fault(what, "read its colours with `--expand-palette`", BandMismatch)]
    places = [find_band(name, whole.bands, exact=True) for name in card.bands]
    if is_named(whole.bands) and None not in places and len(set(places)) == len(places):
        return whole.select([whole.indexes[place] for place in places if place is not None]), []
    has = f"{len(whole.bands)} band{'s' * (len(whole.bands) != 1)} ({', '.join(whole.bands)})"
    if len(whole.bands) != len(card.bands):
        return whole, [_bands_fault(f"it has {has}, the model takes {_wanted(card)}", whole, card)]
    if _chosen_by_place(card.bands) and whole.bands != card.bands and all(_NUMBERED.fullmatch(b) for b in whole.bands):
        # chosen from a larger file, so the same number of nameless bands may be any of its bands
        return whole, [_bands_fault(f"nothing says that its {has} are the model's {_wanted(card)}", whole, card)]
    return whole, []


def _as_asked(whole: Scene, card: Card, bands: Sequence[int | str]) -> tuple[Scene, list[_Fault]]:
    try:
        scene = whole.select(bands)
    except BandMismatch as error:
        # the error names the file, as the whole refusal does, and an option of training
        return whole, [_bands_fault(f"it {error.message.removeprefix(f'`{whole.path}` ')}", whole, card)]
    if len(bands) == len(card.bands):
        return scene, []
    return scene, [_bands_fault(f"`--bands` names {len(bands)} bands, the model takes {_wanted(card)}", whole, card)]


def _wanted(card: Card) -> str:
    return f"{len(card.bands)} ({', '.join(card.bands)})"


def _bands_fault(what: str, whole: Scene, card: Card) -> _Fault:
    names = ", ".join(card.bands)
    if len(whole.bands) < len(card.bands):  # there is nothing to choose from
        how = "bands in files of their own become one scene with `gdalbuildvrt -separate`"
        return _Fault(what, f"give a scene with {names} ({how}), or train on scenes like this", BandMismatch)
    if all(whole.bands.count(name) == 1 for name in card.bands):
        places = ",".join(str(whole.indexes[whole.bands.index(name)]) for name in card.bands)
        return _Fault(what, f"say which bands of the file are {names}, e.g. `--bands {places}`", BandMismatch)
    how = "their names or numbers" if is_named(whole.bands) else "their numbers"
    return _Fault(what, f"say with `--bands` which bands of the file are {names}: {how}, in that order", BandMismatch)


def _chosen_by_place(bands: tuple[str, ...]) -> bool:
    """Tell whether nameless bands are not simply the first of their file: `band_4, band_1, band_2`."""
    return any(_NUMBERED.fullmatch(name) and name != f"band_{i}" for i, name in enumerate(bands, start=1))


def _wrong_resolution(scene: Scene, card: Card, resolution: Resolution) -> Iterator[_Fault]:
    here, there = scene.grid.metres_per_pixel(), card.resolution
    if resolution == "model" and there is None:
        yield _Fault(
            "the model does not know at which resolution it was trained", "say it in metres: `--resolution 0.5`"
        )
    if resolution == "native" and here and there and _factor(here, there) > REFUSE_RESOLUTION:
        finer = "resample it on the way with `--resolution model`, or train at its resolution"
        coarser = "train at its resolution; `--resolution model` enlarges the pixels, but shows no more than they do"
        what = f"its pixels are {here:.3g} m, the model was trained at {there:.3g} m"
        yield _Fault(what, finer if here < there else coarser)
    metres = there if resolution == "model" else None if resolution == "native" else resolution
    if metres and here and (count := scene.grid.height * scene.grid.width * (here / metres) ** 2) > MAX_CLAIM:
        what = f"its pixels are {here:.3g} m; at {metres:.3g} m it would have {count:.1g} of them"
        yield _Fault(what, "choose a coarser `--resolution`, or train at the scene's")
    sides = scene.grid.metres_each_way()
    if sides is not None and not isinstance(resolution, str):
        yield from _too_coarse(scene.grid, min(scene.grid.width * sides[0], scene.grid.height * sides[1]), resolution)


def _too_coarse(grid: Grid, shorter: float, metres: float) -> Iterator[_Fault]:
    """Yield a fault where a size, which was typed, would leave almost nothing of a scene."""
    coarsest = shorter / min(MIN_SIDE, *grid.shape)
    if metres > coarsest * 1.001:
        what = f"it is {shorter:,.3g} m across, {shorter / metres:.2g} pixels of {metres:.3g} m"
        yield _Fault(what, f"the size is in metres: choose at most {coarsest:.3g}, or `--resolution model`")


def _remarks(scene: Scene, card: Card, metres: float | None) -> Iterator[str]:
    here, there = scene.grid.metres_per_pixel(), card.resolution
    seen = metres or here
    if seen and there and _factor(seen, there) > WARN_RESOLUTION:
        better = "" if metres else ", or use `--resolution model`"
        yield f"pixels are {seen:.3g} m, the model was trained at {there:.3g} m: expect errors{better}"
    if metres and here and here / metres > WARN_RESOLUTION:
        yield f"pixels of {here:.3g} m are enlarged to {metres:.3g} m, which shows no more than they do: expect errors"
    if scene.has_gcps:
        yield "the scene is placed by ground control points: the mask keeps them, for polygons warp it first"
    elif scene.grid.crs is None:
        yield "the scene has no coordinate system, so the mask has none either"
    known = is_named(card.bands) or _chosen_by_place(card.bands)
    matched = [find_band(name, scene.bands, exact=True) for name in card.bands] == [*range(len(card.bands))]
    if known and is_named(scene.bands) and not matched:
        yield f"the scene's bands ({', '.join(scene.bands)}) are taken for the model's ({', '.join(card.bands)})"
    if scene.palette and not scene.expanded:
        yield "the scene is a palette image: its numbers are taken as they are, as indices of colours"


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)
