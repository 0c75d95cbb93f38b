"""Are a scene's numbers those that a model knows? Its dtype, its samples, and a look at the pixels of its middle."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from geosemi.geo.forgiving import ForgivingReader
from geosemi.geo.scene import Scene, Tile, reading
from geosemi.geo.window import Window
from geosemi.models.bundle import Card

# A land-cover scene whose mean lies ten spreads off the training's is in other units: raw counts against 8 bit, or
# reflectance in 0 … 1 (whose spread is then a hundredth of the training's or less).
STRANGE_OFFSET, STRANGE_SPREAD = 10.0, 0.01
WARN_HIDDEN = 0.01  # share of nodata amid the image that looks like roofs rather than like a rim
_LOOK = 512  # side of the window at the scene's centre whose values are compared
_SAMPLES = {
    "CMYK": ("its colours are CMYK", "convert it to red, green and blue first"),
    "CIELAB": ("its colours are CIELAB", "convert it to red, green and blue first"),
    "min-is-white": (
        "its numbers are inverted (min-is-white)",
        "turn them round: `gdal_translate -scale 0 255 255 0 in.tif out.tif`",
    ),
}


def strange_samples(scene: Scene) -> Iterator[tuple[str, str]]:
    """Yield (what, hint) where numbers do not mean brightness."""
    if scene.samples:
        bits = (f"its pixels are {scene.samples}", "take the image that it was made from; a mask of it says too little")
        yield _SAMPLES.get(scene.samples, bits)


def strange_numbers(scene: Scene, card: Card) -> Iterator[tuple[str, str]]:
    """Yield (what, hint) where the scene, with the model's bands, is in other units than the training scenes."""
    trained = card.provenance.get("dtype")
    if isinstance(trained, str) and trained != scene.dtype:
        yield (
            f"its pixels are {scene.dtype}, the model was trained on {trained}",
            f"rescale it as the training scenes were, e.g. with `gdal_translate -ot {_gdal_type(trained)} -scale`",
        )
    elif len(scene.bands) == len(card.bands) and (values := _valid(_centre(scene))).size:
        mean, std = np.array(card.mean), np.array(card.std)
        offset = np.abs(values.mean(axis=1) - mean) / std
        spread = values.std(axis=1) / std
        flat = (spread < STRANGE_SPREAD) & (offset > 1)
        if (offset > STRANGE_OFFSET).all() or (flat.all() and np.abs(values).max() <= 1 < np.abs(mean).min()):
            seen = f"({values.min():.4g} … {values.max():.4g})"
            known = f"(about {(mean - 2 * std).min():.4g} … {(mean + 2 * std).max():.4g})"
            yield (
                f"its pixels {seen} are in other units than the model's training scenes {known}",
                "rescale it as the training scenes were, e.g. with `gdal_translate -scale`",
            )


def hidden_pixels(scene: Scene) -> Iterator[str]:
    """Yield a sentence where the nodata value also occurs amid the image: white roofs under nodata = 255."""
    if scene.nodata is None or not np.isfinite(scene.nodata):
        return
    amid = _enclosed(~_centre(scene).valid)
    if amid.mean() > WARN_HIDDEN:
        yield (
            f"nodata = {scene.nodata:g} hides {amid.mean():.1%} of the pixels amid the image; if they are real, take "
            "the value away: `gdal_edit.py -unsetnodata`"
        )


def _centre(scene: Scene) -> Tile:
    """Return a window at the centre; damage there is not this look's matter."""
    height, width = min(_LOOK, scene.grid.height), min(_LOOK, scene.grid.width)
    window = Window((scene.grid.height - height) // 2, (scene.grid.width - width) // 2, height, width)
    with reading(scene) as reader:
        return ForgivingReader(reader).read(window)


def _valid(tile: Tile) -> npt.NDArray[np.float64]:
    """Return the valid pixels, (C, n)."""
    return tile.image[:, tile.valid].astype(np.float64)


def _enclosed(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the part of a mask that no path within it joins to the rim: sweeps both ways until nothing changes."""
    reached = mask.copy()
    reached[1:-1, 1:-1] = False
    before = -1
    while (count := int(reached.sum())) != before:
        before = count
        for view, open_ in ((reached, mask), (reached[::-1], mask[::-1])):
            for row in range(1, len(view)):
                view[row] |= view[row - 1] & open_[row]
        for view, open_ in ((reached.T, mask.T), (reached.T[::-1], mask.T[::-1])):
            for row in range(1, len(view)):
                view[row] |= view[row - 1] & open_[row]
    enclosed: npt.NDArray[np.bool_] = mask & ~reached
    return enclosed


def _gdal_type(dtype: str) -> str:
    return {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16"}.get(dtype, "Float32")
