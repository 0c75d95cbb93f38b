"""geosemi learns land cover from a few labelled pixels and maps scenes of any size.

    import geosemi

    model = geosemi.load_model("runs/first")
    mask = geosemi.predict("scene.tif", model)
    polygons = geosemi.vectorize(mask)

Importing this package imports neither torch nor rasterio; asking for one of these names does (`geosemi.api`).
"""

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geosemi.api import load_model, predict, vectorize

    __version__: str

__all__ = ["__version__", "load_model", "predict", "vectorize"]


def __getattr__(name: str) -> Any:
    """Look a name up when somebody asks: torch takes seconds, `importlib.metadata` a fifth of `geosemi --help`."""
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module `geosemi` has no attribute `{name}`")
    if name == "predict":
        import geosemi.predict  # noqa: PLC0415 - see above

        return geosemi.predict
    from geosemi import api  # noqa: PLC0415 - see above

    return getattr(api, name)


class CallablePackage(ModuleType):
    """The package `geosemi.predict`, which is called like the function of that name: `geosemi.predict(scene, model)`.

    The import system makes every package an attribute of the one around it, so the two names are one.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Map a scene to classes, see `geosemi.api.predict`."""
        from geosemi.api import predict as verb  # noqa: PLC0415 - see above

        return verb(*args, **options)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - see above

    try:
        return version("geosemi")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0+uninstalled"
