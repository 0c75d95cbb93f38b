"""geosemi learns land cover from a few labelled pixels and maps scenes of any size.

Importing this package imports neither torch nor rasterio.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("geosemi")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0+uninstalled"

__all__ = ["__version__"]
