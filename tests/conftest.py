"""What every test may use: the shared real data, a factory of small scenes, and a net that no test reaches beyond."""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from ground import NORTH_UP, UTM, noise
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

ROOT = Path(__file__).parents[1]

# libraries that would ask a hub must not even try
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# two workers of two threads each would wait for one another; whoever is alone may have all
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# a shared two-core machine stalls for seconds now and then: no deadlines, and the same examples in every run
hypothesis_settings.register_profile(
    "geosemi", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("geosemi")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write tests/golden/help from the current commands")


def pytest_configure(config: pytest.Config) -> None:
    # Affine 3 wants `@` where Affine 2 has only `*`; our range allows both
    config.addinivalue_line("filterwarnings", "ignore:Use `@` matmul:PendingDeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore:Dataset has no geotransform")  # rasterio, where tests mean it


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite-golden"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights beside the repository; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("real data is not here: no folder `shared/data` beside the repository")
    return folder.resolve()


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket's path
    host = str(address[0])
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host in ("", "localhost")


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Let no test leave this machine: a suite that needs the network passes only on lucky days."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            real = getattr(socket.socket, name)

            def guarded(self: socket.socket, address: Any, real: Callable[..., Any] = real) -> Any:
                if not _is_local(address):
                    raise RuntimeError(f"a test tried to reach {address!r}; tests use no network")
                return real(self, address)

            patch.setattr(socket.socket, name, guarded)
        yield


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small GeoTIFF into the test's folder and returns its path."""

    def make(
        name: str = "scene.tif",
        *,
        image: npt.NDArray[Any] | None = None,
        height: int = 64,
        width: int = 96,
        bands: int = 3,
        dtype: str = "uint8",
        seed: int = 0,
        crs: str | None = UTM,
        transform: Affine | None = NORTH_UP,
        nodata: float | None = None,
        alpha: npt.NDArray[Any] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
        gcps: Sequence[GroundControlPoint] | None = None,
        descriptions: Sequence[str] | None = None,
        tags: Mapping[str, Mapping[str, str]] | None = None,
        **creation: Any,
    ) -> Path:
        """Write a scene.

        Args:
            name: file name in the test's folder.
            image: (C, h, w) pixels; noise of the given size when None.
            height, width, bands, dtype, seed: of the noise.
            crs, transform: None for a file without.
            nodata: declared nodata value.
            alpha: (h, w), added as a last band tagged alpha.
            mask: (h, w) bool, written as an internal mask.
            gcps: ground control points instead of a transform.
            descriptions: names of the bands.
            tags: metadata domain → tags; "" is the default domain.
            **creation: GDAL creation options, e.g. `compress="jpeg"`.
        """
        pixels = noise(height, width, bands, dtype, seed) if image is None else image
        if alpha is not None:
            pixels = np.concatenate([pixels, alpha[None].astype(pixels.dtype)])
        count, rows, cols = pixels.shape
        place = {"transform": transform} if transform is not None and gcps is None else {}
        options = {"driver": "GTiff", "count": count, "height": rows, "width": cols, "dtype": pixels.dtype.name}
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **options, **place, crs=crs, nodata=nodata, **creation) as dataset,
        ):
            if alpha is not None:
                colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue][: count - 1]
                filled = colours + [ColorInterp.undefined] * (count - 1 - len(colours))
                dataset.colorinterp = [*filled, ColorInterp.alpha]
            if gcps is not None:
                dataset.gcps = (list(gcps), rasterio.crs.CRS.from_user_input(crs))
            for index, text in enumerate(descriptions or (), start=1):
                dataset.set_band_description(index, text)
            for domain, values in (tags or {}).items():
                dataset.update_tags(ns=domain or None, **values)
            dataset.write(pixels)
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return make
