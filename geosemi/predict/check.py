"""Does a scene fit a model? Everything is looked at before the first slow step, and all faults are told at once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geosemi.errors import BandMismatch, GridMismatch, InputError
from geosemi.geo.commit import require_writable
from geosemi.geo.scene import Scene, reading
from geosemi.geo.vectors import require_format
from geosemi.geo.window import Window
from geosemi.models.bundle import Card

WARN_RESOLUTION, REFUSE_RESOLUTION = 2.0, 8.0
# A land-cover scene whose mean lies ten spreads off the training's is in other units: raw counts against 8 bit, or
# reflectance in 0 … 1 (whose spread is then a hundredth of the training's or less).
STRANGE_OFFSET, STRANGE_SPREAD = 10.0, 0.01
_LOOK = 512  # side of the window at the scene's centre whose values are compared
_NUMBERED = re.compile(r"band_\d+")


@dataclass(frozen=True, slots=True)
class Checked:
    """A scene that fits.

    Attributes:
        scene: with the model's bands, in their order.
        warnings: what a person should know, one sentence each.
    """

    scene: Scene
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fault:
    what: str
    hint: str
    kind: type[InputError] = InputError


def check_scene(path: Path, card: Card, *, bands: tuple[int, ...] | None = None) -> Checked:
    """Return the scene with the bands that the model wants.

    Args:
        path: the scene.
        card: what the model takes.
        bands: 1-based bands of the file in the order of the model's; None takes all, or matches them by name.

    Raises:
        SceneUnreadable, UnsafeInput, ResourceError: the file cannot be opened.
        BandMismatch: it has other bands than the model, or no such bands as asked for; the message also names all
            other faults.
        InputError: its numbers or its resolution are not the model's.
    """
    whole = Scene.open(path)
    scene, faults = _with_bands(whole, card, bands)
    faults += [*_wrong_numbers(scene, card), *_wrong_resolution(whole, card)]
    if faults:
        texts = "; ".join(fault.what for fault in faults)
        count = f" ({len(faults)} problems)" if len(faults) > 1 else ""
        raise faults[0].kind(
            f"`{path}` does not fit the model{count}: {texts}", hint="; ".join(fault.hint for fault in faults)
        )
    return Checked(scene, (*_remarks(scene, card),))


def check_polygons(scene: Path, out: Path, *, overwrite: bool) -> None:
    """Check that a mask of this scene can become polygons there, before the mask is made.

    Raises:
        OutputError: the output exists, is the scene, cannot be written, or has no known extension.
        GridMismatch: the scene is placed by ground control points only.
    """
    opened = Scene.open(scene)
    require_format(out, opened.grid)
    require_writable(out, overwrite=overwrite, inputs=[scene])
    if opened.has_gcps:
        raise GridMismatch(
            f"`{scene}` is placed by ground control points only; polygons need a grid",
            hint="warp it first, with gdalwarp",
        )


def _with_bands(whole: Scene, card: Card, bands: tuple[int, ...] | None) -> tuple[Scene, list[_Fault]]:
    if bands is not None:
        return _as_asked(whole, card, bands)
    if _named(whole.bands) and set(card.bands) <= set(whole.bands):
        return whole.select([whole.indexes[whole.bands.index(name)] for name in card.bands]), []
    has = f"{len(whole.bands)} band{'s' * (len(whole.bands) != 1)} ({', '.join(whole.bands)})"
    if len(whole.bands) != len(card.bands):
        return whole, [_bands_fault(f"it has {has}, the model takes {_wanted(card)}", whole, card)]
    if _chosen_by_place(card.bands) and whole.bands != card.bands and all(_NUMBERED.fullmatch(b) for b in whole.bands):
        # chosen from a larger file, so the same number of nameless bands may be any of its bands
        return whole, [_bands_fault(f"nothing says that its {has} are the model's {_wanted(card)}", whole, card)]
    return whole, []


def _as_asked(whole: Scene, card: Card, bands: tuple[int, ...]) -> tuple[Scene, list[_Fault]]:
    try:
        scene = whole.select(bands)
    except BandMismatch as error:
        return whole, [_Fault(error.message, error.hint, BandMismatch)]
    if len(bands) == len(card.bands):
        return scene, []
    return scene, [_bands_fault(f"`--bands` names {len(bands)} bands, the model takes {_wanted(card)}", whole, card)]


def _wanted(card: Card) -> str:
    return f"{len(card.bands)} ({', '.join(card.bands)})"


def _bands_fault(what: str, whole: Scene, card: Card) -> _Fault:
    names = ", ".join(card.bands)
    if all(whole.bands.count(name) == 1 for name in card.bands):
        places = ",".join(str(whole.indexes[whole.bands.index(name)]) for name in card.bands)
        return _Fault(what, f"say which bands of the file are {names}, e.g. `--bands {places}`", BandMismatch)
    return _Fault(
        what, f"say with `--bands` which bands of the file are {names}: their numbers, in that order", BandMismatch
    )


def _chosen_by_place(bands: tuple[str, ...]) -> bool:
    """Tell whether nameless bands are not simply the first of their file: `band_4, band_1, band_2`."""
    return any(_NUMBERED.fullmatch(name) and name != f"band_{i}" for i, name in enumerate(bands, start=1))


def _named(bands: tuple[str, ...]) -> bool:
    """Tell whether bands carry names of their own; `band_1` says no more than its place."""
    return len(set(bands)) == len(bands) and not any(_NUMBERED.fullmatch(b) for b in bands)


def _wrong_numbers(scene: Scene, card: Card) -> Iterator[_Fault]:
    trained = card.provenance.get("dtype")
    if isinstance(trained, str) and trained != scene.dtype:
        yield _Fault(
            f"its pixels are {scene.dtype}, the model was trained on {trained}",
            f"rescale it as the training scenes were, e.g. with `gdal_translate -ot {_gdal_type(trained)} -scale`",
        )
    elif len(scene.bands) == len(card.bands) and (values := _centre(scene)).size:
        mean, std = np.array(card.mean), np.array(card.std)
        offset = np.abs(values.mean(axis=1) - mean) / std
        spread = values.std(axis=1) / std
        flat = (spread < STRANGE_SPREAD) & (offset > 1)
        if (offset > STRANGE_OFFSET).all() or (flat.all() and np.abs(values).max() <= 1 < np.abs(mean).min()):
            yield _Fault(
                f"its pixels ({values.min():.4g} … {values.max():.4g}) are in other units than the model's training "
                f"scenes (about {(mean - 2 * std).min():.4g} … {(mean + 2 * std).max():.4g})",
                "rescale it as the training scenes were, e.g. with `gdal_translate -scale`",
            )


def _centre(scene: Scene) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the valid pixels (C, n) of a window at the centre."""
    height, width = min(_LOOK, scene.grid.height), min(_LOOK, scene.grid.width)
    window = Window((scene.grid.height - height) // 2, (scene.grid.width - width) // 2, height, width)
    with reading(scene) as reader:
        tile = reader.read(window)
    return tile.image[:, tile.valid].astype(np.float64)


def _gdal_type(dtype: str) -> str:
    return {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16"}.get(dtype, "Float32")


def _wrong_resolution(scene: Scene, card: Card) -> Iterator[_Fault]:
    here, there = scene.grid.metres_per_pixel(), card.resolution
    if here and there and _factor(here, there) > REFUSE_RESOLUTION:
        yield _Fault(
            f"its pixels are {here:.3g} m, the model was trained at {there:.3g} m",
            f"resample it, e.g. with `gdalwarp -tr {there:.3g} {there:.3g} -r average`, or train at its resolution",
        )


def _remarks(scene: Scene, card: Card) -> Iterator[str]:
    here, there = scene.grid.metres_per_pixel(), card.resolution
    if here and there and _factor(here, there) > WARN_RESOLUTION:
        yield f"pixels are {here:.3g} m, the model was trained at {there:.3g} m: expect errors"
    if scene.has_gcps:
        yield "the scene is placed by ground control points: the mask keeps them, for polygons warp it first"
    elif scene.grid.crs is None:
        yield "the scene has no coordinate system, so the mask has none either"
    known = _named(card.bands) or _chosen_by_place(card.bands)
    if known and _named(scene.bands) and scene.bands != card.bands:
        yield f"the scene's bands ({', '.join(scene.bands)}) are taken for the model's ({', '.join(card.bands)})"


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)
