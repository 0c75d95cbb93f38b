"""Opinions of a scene from a vision-language model: ask about every tile, put boxes together, draw, write."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geosemi import __version__
from geosemi.annotate.account import Heard, frame_doubts, records_of, warnings_of
from geosemi.annotate.answer import parse_answer
from geosemi.annotate.asking import Asking, Shown, Viewer
from geosemi.annotate.boxes import Box, Frame, place_boxes
from geosemi.annotate.drawing import Bits, Canvas, Refiner, digest_of
from geosemi.annotate.maps import OpinionFacts, Tally, counts_of, files_for, json_line
from geosemi.annotate.merging import Merged, merge
from geosemi.annotate.others import require_outputs
from geosemi.annotate.pictures import Stretch, tiles_of, visible
from geosemi.annotate.settings import TileSettings
from geosemi.annotate.speaker import Speaker
from geosemi.annotate.store import AnswerStore
from geosemi.annotate.vocabulary import Vocabulary
from geosemi.geo.commit import private_folder
from geosemi.geo.opinion import bits_dtype, opinion_layer
from geosemi.geo.scene import Place, RasterReader, Scene, reading
from geosemi.geo.unfinished import Unfinished, unfinished
from geosemi.geo.window import Window
from geosemi.geo.writer import RasterSet

Progress = Callable[[int, int], None]
_ASK = 4  # steps of progress; drawing a tile is one


@dataclass(frozen=True)
class Annotator:
    """Asks a model about scenes and writes its opinions.

    Attributes:
        speaker: the model.
        vocabulary: what is asked.
        refiner: makes pixels of boxes, or None to fill them.
        tiles: how scenes are cut and shown.
    """

    speaker: Speaker
    vocabulary: Vocabulary
    refiner: Refiner | None
    tiles: TileSettings

    def annotate(
        self,
        place: Place,
        out: Path,
        store: AnswerStore,
        *,
        overwrite: bool = False,
        on_progress: Progress = lambda _done, _total: None,
    ) -> OpinionFacts:
        """Write the opinion of a scene; tiles that the store has answers for are not asked again.

        Args:
            place: the scene.
            out: the opinion, a `.tif`.
            store: keeps the answers.
            overwrite: whether an existing opinion is replaced.
            on_progress: told how many steps of how many are done; to ask about a tile is four, to draw it is one.

        Raises:
            InputError: the scene cannot be used.
            ResourceError: the model cannot be reached, or the budget is spent.
            OutputError: the disk is full or fails.
        """
        scene = visible(Scene.open(place), self.tiles.bands)
        require_outputs(out, overwrite=overwrite, inputs=scene.files)
        windows = tiles_of(scene, self.tiles.tile, self.tiles.overlap)
        count = len(windows)
        total = (_ASK + 1) * count
        with reading(scene) as reader:
            asking = self._asking(scene, reader, store)
            shown = asking.run(windows, lambda done: on_progress(_ASK * done, total))
            heard = [None if tile is None else self._heard(tile, store) for tile in shown]
            merged = _merged(heard)
            boxes = touching(merged.hulls, windows) if self.refiner is None else own_boxes(heard)
            key = {"boxes": digest_of(boxes), "refiner": self._refined_by, "version": __version__}
            with unfinished(out, key) as work:
                canvas = Canvas(reader, asking.viewer.stretch, self.refiner, work, self._dtype, scene.may_have_nodata)
                rows = canvas.rows(windows, boxes, scene.grid.shape, lambda n: on_progress(_ASK * count + n, total))
                return self._write(scene, out, rows, heard, merged)

    def _asking(self, scene: Scene, reader: RasterReader, store: AnswerStore) -> Asking:
        stretch = Stretch.measure(reader, scene)
        viewer = Viewer(reader, stretch, self.speaker, self.vocabulary, self.tiles.picture)
        return Asking(viewer, self.speaker, store, scene.path.name)

    def _heard(self, shown: Shown, store: AnswerStore) -> Heard:
        reply = store.get(shown.key)
        assert reply is not None, "asking.run answers every tile or raises"
        answer = parse_answer(reply.text)
        frame = self.speaker.frame
        seen = reply.seen if frame is Frame.SEEN else shown.picture
        placed = place_boxes(answer, self.vocabulary.find, frame=frame, tile=shown.window, seen=seen)
        return Heard(shown, reply, answer, placed)

    @property
    def _dtype(self) -> Any:
        return bits_dtype(len(self.vocabulary.legend))

    @property
    def _refined_by(self) -> str:
        return "none" if self.refiner is None else self.refiner.name

    @property
    def _understood_by(self) -> dict[str, str]:
        legend, question = self.vocabulary.legend_digest, self.vocabulary.question_digest
        return {"legend": legend, "prompt": question, "frame": str(self.speaker.frame), "refiner": self._refined_by}

    @property
    def source(self) -> str:
        """Who speaks, in words."""
        who = self.speaker.identity
        revision = f" ({str(who['revision'])[:12]})" if who.get("revision") else ""
        refined = "boxes filled" if self.refiner is None else f"boxes refined by {self.refiner.name}"
        return f"{who['model']}{revision}, {refined}"

    def _write(
        self,
        scene: Scene,
        out: Path,
        rows: Iterator[tuple[int, Bits, list[tuple[float, ...]]]],
        heard: Sequence[Heard | None],
        merged: Merged,
    ) -> OpinionFacts:
        legend = self.vocabulary.legend
        tally = Tally(legend)
        scores: list[tuple[float, ...]] = []
        layers = {out: opinion_layer(legend, self.source)}
        with (
            private_folder(out) as folder,
            Unfinished(folder, []) as work,
            RasterSet(layers, scene.grid, work) as raster,
        ):
            for row, bits, drawn in rows:
                tally.add(bits)
                scores += drawn
                raster.write(row, [bits])
            facts = tally.facts(out, self.source)
            said = [item for item in heard if item is not None]
            facts = replace(facts, warnings=(*frame_doubts(said, self.speaker.frame), *warnings_of(said)))
            style, record, _ = files_for(out)
            about = {"scene": scene.path.name, **self.speaker.identity, **self._understood_by}
            text = "".join(map(json_line, records_of(heard, merged, scores, names=legend.names, about=about)))
            last = json_line({"scene": scene.path.name, "source": self.source, **counts_of(facts)})
            raster.finish({"GEOSEMI_VERSION": __version__}, {style: tally.style(), record: text + last})
        return facts


def own_boxes(heard: Sequence[Heard | None]) -> list[list[Box]]:
    """Return the boxes of each tile."""
    return [[] if item is None else list(item.placed.boxes) for item in heard]


def touching(hulls: Sequence[Box], windows: Sequence[Window]) -> list[list[Box]]:
    """Return for each tile the boxes of the scene that reach into it."""
    if not hulls:
        return [[] for _ in windows]
    tree = shapely.STRtree(shapely.box(*np.array([hull.edges for hull in hulls]).T))
    frames = shapely.box(*np.array([(w.col, w.row, w.stop_col, w.stop_row) for w in windows]).T)
    found: list[list[Box]] = [[] for _ in windows]
    for number, hull in sorted(tree.query(frames, predicate="intersects").T.tolist()):
        found[number].append(hulls[hull])
    return found


def _merged(heard: Sequence[Heard | None]) -> Merged:
    pairs = [(box, item.shown.window) for item in heard if item is not None for box in item.placed.boxes]
    return merge([box for box, _ in pairs], [window for _, window in pairs])
