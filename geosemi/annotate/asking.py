"""All tiles of a scene are shown to a model, each once; what it answered before is not asked again."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType

from geosemi.annotate.pictures import Stretch, picture_shape, resized
from geosemi.annotate.speaker import Manners, Query, Reply, Speaker, key_of
from geosemi.annotate.store import AnswerStore
from geosemi.annotate.vocabulary import Vocabulary
from geosemi.errors import Interrupted
from geosemi.geo.scene import SceneReader
from geosemi.geo.window import Window

_LOOK = 0.2  # seconds between two looks at whether somebody wants to stop


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

        def tell() -> None:
            on_tile(len(shown) - len(waiting) - flights.queries)

        with _Flights(self.speaker, self._keep, tell) as flights:
            for window in tiles:
                found = self.viewer.query(window)
                shown.append(None if found is None else found[0])
                # two tiles of the same pixels have one answer
                if found is not None and found[0].key not in self.store and found[0].key not in asked:
                    asked.add(found[0].key)
                    waiting.append(found)
                if len(waiting) == self.speaker.batch:
                    flights.start(waiting.copy())
                    waiting.clear()
                tell()
            if waiting:
                flights.start(waiting.copy())
                waiting.clear()
            flights.land()
        return shown

    def _keep(self, shown: Shown, reply: Reply) -> None:
        window = shown.window
        place = [window.row, window.col, window.height, window.width]
        self.store.put(shown.key, reply, {"scene": self.scene, "tile": place, **self.speaker.identity})


class _Flights:
    """Calls that are under way; what lands is kept at once.

    Args:
        speaker: who is called.
        keep: takes each reply.
        tell: called now and then while calls are waited for; may raise to stop.
    """

    def __init__(self, speaker: Speaker, keep: Callable[[Shown, Reply], None], tell: Callable[[], None]) -> None:
        self._speaker, self._take, self._tell = speaker, keep, tell
        self._pool = ThreadPoolExecutor(speaker.workers, "geosemi-ask")
        self._calls: dict[Future[list[Reply]], list[tuple[Shown, Query]]] = {}

    @property
    def queries(self) -> int:
        """Queries that are under way."""
        return sum(map(len, self._calls.values()))

    def __enter__(self) -> "_Flights":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let nothing be lost that was paid for: calls that run are waited for, but not tried again on a stop."""
        if isinstance(error, Interrupted):
            self._speaker.give_up()
        self._pool.shutdown(cancel_futures=True)
        for call in list(self._calls):
            if not call.cancelled() and call.exception() is None:
                self._keep(call)

    def start(self, queries: list[tuple[Shown, Query]]) -> None:
        """Ask; wait while as many calls run as may."""
        while len(self._calls) >= self._speaker.workers:
            self._land()
        call = self._pool.submit(self._speaker.ask, [query for _, query in queries])
        self._calls[call] = queries

    def land(self) -> None:
        """Wait for all calls."""
        while self._calls:
            self._land()

    def _land(self) -> None:
        done, _ = wait(self._calls, timeout=_LOOK, return_when=FIRST_COMPLETED)
        for call in done:
            self._keep(call)
        self._tell()

    def _keep(self, call: Future[list[Reply]]) -> None:
        queries = self._calls.pop(call)
        for (shown, _), reply in zip(queries, call.result(), strict=True):
            self._take(shown, reply)
