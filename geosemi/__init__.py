"""geosemi learns land cover from a few labelled pixels and maps scenes of any size.

Importing this package imports neither torch nor rasterio.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look the version up when somebody asks: `importlib.metadata` takes a fifth of the time of `geosemi --help`."""
    if name != "__version__":
        raise AttributeError(f"module `geosemi` has no attribute `{name}`")
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - see above

    try:
        return version("geosemi")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0+uninstalled"
