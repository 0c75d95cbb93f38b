"""A scene as the network is to see it: which pixels, of what size, where damage is forgiven, and the way back."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geosemi.geo.commit import naming_disk, publish
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
        begin: first row of the scene that is wanted.
        nodata: the value of each layer that means nothing.
    """

    def __init__(
        self,
        checked: Checked,
        black: tuple[float, ...],
        *,
        aoi: Path | None,
        forgive: bool,
        begin: int,
        nodata: tuple[float, ...],
    ) -> None:
        self._scene = checked.scene
        self._grid = checked.grid
        self._forgive = forgive
        self._readers: list[ForgivingReader] = []
        self.view = View(self._grid, self._reading, black, None if aoi is None else _inside(aoi, self._grid))
        self._begin = begin
        self._nodata = nodata
        self._back: list[NearestRows] = []

    @property
    def begin(self) -> int:
        """The first row that is wanted of what the network sees."""
        return NearestRows(self._grid, self._scene.grid, begin=self._begin).first

    @property
    def bad(self) -> tuple[BadBlock, ...]:
        """Damaged blocks that were met, from top to bottom."""
        return tuple(sorted(block for reader in self._readers for block in reader.bad))

    def back(self, rows: Rows) -> Iterator[Rows]:
        """Yield rows on the scene's own grid; they must come one after the other, from `begin` on."""
        if self._grid.shape == self._scene.grid.shape:
            yield rows
            return
        if not self._back:
            grids = (self._grid, self._scene.grid)
            self._back = [NearestRows(*grids, begin=self._begin) for _ in rows.layers]
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


class DamageLog:
    """Remembers damaged blocks in the folder of unfinished work, for a run that goes on after a kill.

    Args:
        folder: where the note lies.
        view: meets them.
    """

    def __init__(self, folder: Path, view: SceneView) -> None:
        self._path = folder / "damage.json"
        self._view = view
        before = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else []
        self._known = {BadBlock(**block) for block in before}

    def save(self) -> tuple[BadBlock, ...]:
        """Write down what is new, and return all of it, from top to bottom."""
        found = self._known | set(self._view.bad)
        if found != self._known:
            self._known = found
            text = json.dumps([asdict(block) for block in sorted(found)])
            fresh = self._path.with_suffix(".new")
            naming_disk(self._path, lambda: fresh.write_text(text, encoding="utf-8"))
            publish({fresh: self._path})
        return tuple(sorted(found))
