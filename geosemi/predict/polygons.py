"""Can a scene's mask become polygons? A file of its own: its imports take 70 MB that a mask alone does not need."""

from pathlib import Path

from geosemi.errors import GridMismatch
from geosemi.geo.commit import require_writable
from geosemi.geo.scene import Place, Scene
from geosemi.polygons.vectors import require_format
from geosemi.predict.check import assumed


def check_polygons(scene: Place, out: Path, *, overwrite: bool, assume_crs: str | None = None) -> None:
    """Check that a mask of this scene can become polygons there, before the mask is made.

    Args:
        scene: what is to be mapped.
        out: the polygons.
        overwrite: replace existing files.
        assume_crs: where a scene without a coordinate system lies, as the mask will.

    Raises:
        ConfigError: `assume_crs` is no coordinate system.
        OutputError: the output exists, is the scene, cannot be written, or has no known extension.
        GridMismatch: the scene is placed by ground control points only.
    """
    opened = assumed(Scene.open(scene), assume_crs)
    require_format(out, opened.grid, overwrite=overwrite)
    require_writable(out, overwrite=overwrite, inputs=opened.files)
    if opened.has_gcps:
        raise GridMismatch(
            f"`{opened.path}` is placed by ground control points only; polygons need a grid",
            hint="warp it first, with gdalwarp",
        )
