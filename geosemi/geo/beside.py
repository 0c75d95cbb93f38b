"""What lies beside a raster and what else is odd about it, in words; of side files only a mask counts."""

from pathlib import Path
from typing import TYPE_CHECKING

from geosemi.geo.grid import Grid
from geosemi.geo.raster import open_raster

if TYPE_CHECKING:
    from geosemi.geo.arrays import Array, ArrayFile
    from geosemi.geo.mosaic import Mosaic, MosaicFile
    from geosemi.geo.raster import RasterFile
    from geosemi.geo.remote import Remote

_WORLD = (".tfw", ".tifw", ".tiffw", ".pgw", ".jgw", ".wld")
_PAM_LIMIT = 2**20


def mask_beside(path: Path, grid: Grid) -> Path | None:
    """Return the `.msk` that GDAL writes beside a raster, if there is one of the same size.

    Raises:
        SceneUnreadable, UnsafeInput, ResourceError: it cannot be opened; to leave it out would map what it hides.
    """
    mask = path.with_name(f"{path.name}.msk")
    if not mask.exists():
        return None
    with open_raster(mask) as file:
        return mask if file.count == 1 and file.grid.shape == grid.shape else None


def notes_on(
    place: "Path | Remote | Mosaic | Array",
    file: "RasterFile | MosaicFile | ArrayFile",
    *,
    false_alpha: int | None,
    mask: Path | None,
) -> tuple[str, ...]:
    """Return what a person should know of a file, one sentence each.

    Args:
        place: where it is.
        file: opened.
        false_alpha: a band that is tagged alpha but holds an image.
        mask: a mask beside it, which is read.
    """
    notes = []
    if file.images > 1:
        size = f"{file.grid.height} × {file.grid.width} pixels"
        notes.append(f"the file holds {file.images} images; the first is taken ({size})")
    if file.blocks is not None and file.blocks.missing:
        looked = "" if file.blocks.looked == file.blocks.total else " that were looked at"
        notes.append(
            f"{file.blocks.missing} of {file.blocks.looked} blocks{looked} were never written, and are taken for "
            "nodata; an interrupted program may have made this file"
        )
    if false_alpha is not None:
        notes.append(f"band {false_alpha} is tagged alpha but looks like data, and is taken for data")
    if mask is not None:
        notes.append(f"the mask `{mask.name}` beside it is read too")
    return (*notes, *(_ignored(place, file) if isinstance(place, Path) else ()))


def _ignored(path: Path, file: "RasterFile | MosaicFile | ArrayFile") -> list[str]:
    """Name side files that say where the scene lies, which is never believed: two programs would read two places."""
    notes = []
    has_place = file.grid.crs is not None and not file.grid.transform.is_identity
    bake = "" if has_place else "; to use it, put it into the file with gdal_translate"
    pam = path.with_name(f"{path.name}.aux.xml")
    if pam.is_file() and pam.stat().st_size < _PAM_LIMIT and _names_a_place(pam.read_bytes()):
        notes.append(f"`{pam.name}` beside it also says where it lies, and is not read{bake}")
    worlds = [path.with_suffix(suffix) for suffix in _WORLD]
    notes += [f"the world file `{w.name}` beside it is not read{bake}" for w in worlds if w.is_file()]
    return notes


def _names_a_place(content: bytes) -> bool:
    return b"<SRS" in content or b"<GeoTransform" in content
