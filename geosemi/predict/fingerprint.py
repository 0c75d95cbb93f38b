"""SHA-256 of a file, taken in a thread beside other work; the file must not change meanwhile."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from geosemi.errors import Interrupted, SceneUnreadable

_CHUNK = 2**22


class Fingerprint:
    """Hashes a file from the moment it is entered; leaving early stops it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _state(path)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, "geosemi-hash")

    def __enter__(self) -> Self:
        self._digest = self._pool.submit(self._hash)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown()

    def result(self) -> str:
        """Wait, and return the hexadecimal digest.

        Raises:
            SceneUnreadable: the file changed since it was entered.
        """
        digest = self._digest.result()
        if _state(self._path) != self._state:
            raise SceneUnreadable(
                f"`{self._path}` changed while it was being read", hint="run again when the copy has finished"
            )
        return digest

    def _hash(self) -> str:
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                if self._stop.is_set():
                    raise Interrupted("hashing was stopped", hint="run the same command again")
                digest.update(chunk)
        return digest.hexdigest()


def _state(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return (info.st_size, info.st_mtime_ns, info.st_ino)
