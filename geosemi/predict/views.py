"""A scene as the network is to see it: which pixels, of what size, where damage is forgiven, and the way back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geosemi.geo.forgiving import BadBlock, ForgivingReader
from geosemi.geo.grid import Grid
from geosemi.geo.resample import NearestRows, ResampledReader
from geosemi.geo.scene import SceneReader, reading
from geosemi.geo.window import Window
from geosemi.predict.check import Checked
from geosemi.predict.stitch import Rows
from geosemi.predict.tiles import View


class SceneView:
    """Reads a checked scene as its settings ask for.

    Args:
        checked: the scene, and the size of pixels that is wanted.
        black: raw value a band that stands in for nodata.
        aoi: polygons outside of which nothing is mapped.
        forgive: whether damaged blocks are nodata instead of an error.
        rows: of the scene that are wanted; None for all.
        nodata: the value of each layer that means nothing.
    """

    def __init__(
        self,
        checked: Checked,
        black: tuple[float, ...],
        *,
        aoi: Path | None,
        forgive: bool,
        rows: range | None,
        nodata: tuple[float, ...],
    ) -> None:
        self._scene = checked.scene
        self._grid = checked.grid
        self._forgive = forgive
        self._readers: list[ForgivingReader] = []
        self.view = View(self._grid, self._reading, black, None if aoi is None else _inside(aoi, self._grid))
        self._wanted = range(checked.scene.grid.height) if rows is None else rows
        self._nodata = nodata
        self._back: list[NearestRows] = []

    @property
    def rows(self) -> range:
        """The rows that are wanted of what the network sees."""
        return NearestRows(self._grid, self._scene.grid, rows=self._wanted).takes

    @property
    def bad(self) -> tuple[BadBlock, ...]:
        """Damaged blocks that were met, from top to bottom."""
        return tuple(sorted(block for reader in self._readers for block in reader.bad))

    def back(self, rows: Rows) -> Iterator[Rows]:
        """Yield rows on the scene's own grid; they must come one after the other, all of `rows`."""
        if self._grid.shape == self._scene.grid.shape:
            yield rows
            return
        if not self._back:
            grids = (self._grid, self._scene.grid)
            self._back = [NearestRows(*grids, rows=self._wanted) for _ in rows.layers]
        parts = (back.push(layer) for back, layer in zip(self._back, rows.layers, strict=True))
        for layers in zip(*parts, strict=True):
            part = Rows(layers[0][0], tuple(layer for _, layer in layers))
            if self._scene.may_have_nodata:
                self._hide(part)
            yield part

    def _hide(self, rows: Rows) -> None:
        """Take the answer from pixels that are nodata on the scene's own grid: larger pixels may have been valid."""
        height, width = rows.layers[-1].shape
        with reading(self._scene) as raw:
            reader = ForgivingReader(raw) if self._forgive else raw
            hidden = ~reader.read(Window(rows.row, 0, height, width)).valid
        for layer, value in zip(rows.layers, self._nodata, strict=True):
            layer[..., hidden] = value

    @contextmanager
    def _reading(self) -> Iterator[SceneReader]:
        with reading(self._scene) as reader:
            seen: SceneReader = reader
            if self._forgive:
                seen = forgiving = ForgivingReader(reader)
                self._readers.append(forgiving)
            if self._grid.shape != self._scene.grid.shape:
                seen = ResampledReader(seen, self._scene.grid, self._grid)
            yield seen


def _inside(aoi: Path, grid: Grid) -> Callable[[Window], npt.NDArray[np.bool_]]:
    from geosemi.geo.aoi import AreaOfInterest  # noqa: PLC0415 - 70 MB of geopandas that few scenes need

    return AreaOfInterest.load(aoi, grid).read
