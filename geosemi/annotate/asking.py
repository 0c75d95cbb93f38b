"""All tiles of a scene are shown to a model, each once; what it answered before is not asked again."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from geosemi.annotate.pictures import Stretch, picture_shape, resized
from geosemi.annotate.speaker import Manners, Query, Reply, Speaker, key_of
from geosemi.annotate.store import AnswerStore
from geosemi.annotate.vocabulary import Vocabulary
from geosemi.geo.scene import SceneReader
from geosemi.geo.window import Window


@dataclass(frozen=True, slots=True)
class Shown:
    """A tile that has something to see.

    Attributes:
        window: where it lies.
        key: what its answer is filed under.
        picture: (height, width) of its picture.
    """

    window: Window
    key: str
    picture: tuple[int, int]


@dataclass
class Viewer:
    """Makes pictures and questions of tiles.

    Attributes:
        reader: gives the visible bands.
        stretch: what is black and white.
        manners: of who will be asked.
        vocabulary: what is asked.
        longer: longer side of the pictures, in pixels.
    """

    reader: SceneReader
    stretch: Stretch
    manners: Manners
    vocabulary: Vocabulary
    longer: int

    def query(self, window: Window) -> tuple[Shown, Query] | None:
        """Return a tile's picture and question; None where all of it is nodata.

        Raises:
            SceneUnreadable: the scene is damaged there.
        """
        tile = self.reader.read(window)
        if not tile.valid.any():
            return None
        shape = picture_shape(window, self.longer, self.manners.multiple)
        question = self.vocabulary.question(self.manners.frame, width=shape[1], height=shape[0])
        query = Query(resized(self.stretch.show(tile), shape), question)
        return Shown(window, key_of(self.manners, query, self.vocabulary.digest), shape), query


@dataclass
class Asking:
    """Shows tiles to a model.

    Attributes:
        viewer: makes the pictures.
        speaker: the model.
        store: keeps the answers.
        scene: its name, for whoever reads the store.
    """

    viewer: Viewer
    speaker: Speaker
    store: AnswerStore
    scene: str

    def run(self, tiles: Sequence[Window], on_tile: Callable[[int], None]) -> list[Shown | None]:
        """Ask about all tiles that were not answered yet; return what each was shown as, None for nodata.

        Args:
            tiles: of the scene.
            on_tile: told how many tiles have their answer; may raise, then what is in flight is waited for and kept.

        Raises:
            GeosemiError: the model fails; what was answered is kept.
        """
        shown: list[Shown | None] = []
        waiting: list[tuple[Shown, Query]] = []
        asked: set[str] = set()
        with _Flights(self) as flights:
            for window in tiles:
                found = self.viewer.query(window)
                shown.append(None if found is None else found[0])
                # two tiles of the same pixels have one answer
                if found is not None and found[0].key not in self.store and found[0].key not in asked:
                    asked.add(found[0].key)
                    waiting.append(found)
                if len(waiting) == self.speaker.batch:
                    flights.start(waiting)
                    waiting = []
                on_tile(len(shown) - len(waiting) - flights.queries)
            if waiting:
                flights.start(waiting)
            for _ in flights.land():
                on_tile(len(shown) - flights.queries)
        return shown


class _Flights:
    """Calls that are under way; what lands is kept at once."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._pool = ThreadPoolExecutor(asking.speaker.workers, "geosemi-ask")
        self._calls: dict[Future[list[Reply]], list[tuple[Shown, Query]]] = {}

    @property
    def queries(self) -> int:
        """Queries that are under way."""
        return sum(map(len, self._calls.values()))

    def __enter__(self) -> "_Flights":
        return self

    def __exit__(self, *_: object) -> None:
        """Let nothing be lost that was paid for: calls that have begun are waited for, the others are not begun."""
        for call in list(self._calls):
            if call.cancel():
                del self._calls[call]
        self._pool.shutdown()
        for call in list(self._calls):
            if call.exception() is None:
                self._keep(call)

    def start(self, queries: list[tuple[Shown, Query]]) -> None:
        """Ask; wait while as many calls run as may."""
        while len(self._calls) >= self._asking.speaker.workers:
            self._land()
        call = self._pool.submit(self._asking.speaker.ask, [query for _, query in queries])
        self._calls[call] = queries

    def land(self) -> Iterator[None]:
        """Wait for all calls, and yield after each."""
        while self._calls:
            self._land()
            yield

    def _land(self) -> None:
        done, _ = wait(self._calls, return_when=FIRST_COMPLETED)
        for call in done:
            self._keep(call)

    def _keep(self, call: Future[list[Reply]]) -> None:
        queries = self._calls.pop(call)
        for (shown, _), reply in zip(queries, call.result(), strict=True):
            window = shown.window
            place = [window.row, window.col, window.height, window.width]
            about = {"scene": self._asking.scene, "tile": place, **self._asking.speaker.identity}
            self._asking.store.put(shown.key, reply, about)
