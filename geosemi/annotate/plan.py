"""What asking about scenes would take, counted without asking."""

from collections.abc import Callable
from dataclasses import dataclass

from geosemi.annotate.asking import Viewer
from geosemi.annotate.budget import Budget, tokens_of
from geosemi.annotate.pictures import Stretch, tiles_of, visible
from geosemi.annotate.settings import TileSettings
from geosemi.annotate.speaker import Manners
from geosemi.annotate.store import AnswerStore
from geosemi.annotate.vocabulary import Vocabulary
from geosemi.geo.scene import Place, Scene, reading

USUAL_ANSWER = 300  # tokens, of a dozen boxes


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to ask.

    Attributes:
        ask: tiles without an answer.
        known: tiles with one.
        empty: tiles of nodata.
        tokens_in: of pictures and questions, about.
        km2: ground of the scenes, or None where one has no crs.
    """

    ask: int = 0
    known: int = 0
    empty: int = 0
    tokens_in: int = 0
    km2: float | None = 0.0

    def __add__(self, other: "Plan") -> "Plan":
        km2 = None if self.km2 is None or other.km2 is None else self.km2 + other.km2
        tokens = self.tokens_in + other.tokens_in
        return Plan(self.ask + other.ask, self.known + other.known, self.empty + other.empty, tokens, km2)

    def cost(self, prices: Budget, tokens_an_answer: int) -> float:
        """Return what it costs where each answer has so many tokens."""
        return prices.cost(self.tokens_in, self.ask * tokens_an_answer)


def plan_scene(
    place: Place,
    manners: Manners,
    vocabulary: Vocabulary,
    *,
    tiles: TileSettings,
    store: AnswerStore | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Plan:
    """Count what there is to ask about a scene.

    Args:
        place: the scene.
        manners: of who would be asked.
        vocabulary: what.
        tiles: how the scene is cut.
        store: answers that are there.
        on_progress: told how many tiles of how many are counted.

    Raises:
        InputError: the scene cannot be used.
    """
    scene = visible(Scene.open(place), tiles.bands)
    windows = tiles_of(scene, tiles.tile, tiles.overlap)
    ask = known = empty = tokens = 0
    with reading(scene) as reader:
        viewer = Viewer(reader, Stretch.measure(reader, scene), manners, vocabulary, tiles.picture)
        for number, window in enumerate(windows, start=1):
            found = viewer.query(window)
            if found is None:
                empty += 1
            elif store is not None and found[0].key in store:
                known += 1
            else:
                ask += 1
                height, width = found[0].picture
                tokens += tokens_of(height * width, len(found[1].question))
            on_progress(number, len(windows))
    side = scene.grid.metres_per_pixel()
    km2 = None if side is None else side**2 * scene.grid.height * scene.grid.width / 1e6
    return Plan(ask, known, empty, tokens, km2)
