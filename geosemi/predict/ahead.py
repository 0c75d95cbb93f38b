"""Two small conveyor belts between threads. What fails on the other side is raised on this one."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

T = TypeVar("T")
_END: Final = object()


def ahead(items: Generator[T, None, None], depth: int) -> Iterator[T]:
    """Yield items that one other thread makes up to `depth` in advance.

    All of the generator runs in that thread, its clean-up too, so it may hold a GDAL handle.
    """
    with ThreadPoolExecutor(1, "geosemi-reader") as pool:
        waiting: deque[Future[Any]] = deque(pool.submit(next, items, _END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, items, _END))
                yield item
        finally:
            for future in waiting:
                future.cancel()
            pool.submit(items.close).result()


@contextmanager
def behind(work: Callable[..., object], depth: int) -> Iterator[Callable[..., None]]:
    """Yield a function that lets one other thread do `work`, in order, at most `depth` calls behind.

    It blocks where that thread is too far behind. Leaving the context waits for all work; after an error, work that
    has not begun is dropped.
    """
    with ThreadPoolExecutor(1, "geosemi-writer") as pool:
        waiting: deque[Future[Any]] = deque()

        def submit(*arguments: object) -> None:
            if len(waiting) >= depth:
                waiting.popleft().result()
            waiting.append(pool.submit(work, *arguments))

        try:
            yield submit
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
