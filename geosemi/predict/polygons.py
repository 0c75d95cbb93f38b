"""Can a scene's mask become polygons? A file of its own: its imports take 70 MB that a mask alone does not need."""

from pathlib import Path

from geosemi.errors import GridMismatch
from geosemi.geo.commit import require_writable
from geosemi.geo.scene import Place, Scene
from geosemi.polygons.vectors import require_format


def check_polygons(scene: Place, out: Path, *, overwrite: bool) -> None:
    """Check that a mask of this scene can become polygons there, before the mask is made.

    Raises:
        OutputError: the output exists, is the scene, cannot be written, or has no known extension.
        GridMismatch: the scene is placed by ground control points only.
    """
    opened = Scene.open(scene)
    require_format(out, opened.grid, overwrite=overwrite)
    require_writable(out, overwrite=overwrite, inputs=opened.files)
    if opened.has_gcps:
        raise GridMismatch(
            f"`{opened.path}` is placed by ground control points only; polygons need a grid",
            hint="warp it first, with gdalwarp",
        )
