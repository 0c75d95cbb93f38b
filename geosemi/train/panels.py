"""Small pictures of a few training chips and of what is believed of them, kept at every validation."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
MAX_SIDE = 144  # pixels of a picture; larger chips are thinned out
_SILENT = (236, 236, 236)
_DARK_TO_LIGHT = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=float)


def classes_picture(label: npt.NDArray[np.int64], colours: Pixels, trusted: npt.NDArray[np.bool_] | None) -> Pixels:
    """Return class ids (H, W) in their colours (H, W, 3): pale where they are not trusted, grey where there is none."""
    table = np.full((256, 3), _SILENT, dtype=np.uint8)
    table[: len(colours)] = colours
    picture: Pixels = table[label]
    return picture if trusted is None else np.where(trusted[..., None], picture, picture // 5 + 204).astype(np.uint8)


def opinion_picture(seen: npt.NDArray[np.bool_], colours: Pixels) -> Pixels:
    """Return an opinion (K, H, W): the mean colour of the classes that were seen, grey where it is silent."""
    count = seen.sum(axis=0)[..., None]
    total = np.tensordot(seen.astype(float), colours.astype(float), axes=(0, 0))
    return np.where(count > 0, total / np.maximum(count, 1), _SILENT).astype(np.uint8)


def confidence_picture(confidence: npt.NDArray[np.float32]) -> Pixels:
    """Return confidences (H, W), 0 … 1, from dark violet to yellow."""
    anchors = np.linspace(0, 1, len(_DARK_TO_LIGHT))
    return np.stack([np.interp(confidence, anchors, c) for c in _DARK_TO_LIGHT.T], axis=-1).astype(np.uint8)


def sheet(columns: Mapping[str, Sequence[Pixels]]) -> tuple[bytes, int]:
    """Lay square pictures of one size out, a column a name, a row a chip.

    Returns:
        A PNG without gaps, and the side of one picture on it.
    """
    thinned = [np.concatenate([_thin(p) for p in pictures], axis=0) for pictures in columns.values()]
    side = thinned[0].shape[1]
    memory = io.BytesIO()
    Image.fromarray(np.concatenate(thinned, axis=1)).save(memory, "PNG", optimize=True)
    return memory.getvalue(), side


def _thin(picture: Pixels) -> Pixels:
    side = min(MAX_SIDE, len(picture))
    places = (np.arange(side) + 0.5) * len(picture) // side
    thinned: Pixels = picture[places.astype(int)][:, places.astype(int)]
    return thinned
