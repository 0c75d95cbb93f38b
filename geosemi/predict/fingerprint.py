"""SHA-256 of files, taken in a thread beside other work; they must not change meanwhile."""

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from geosemi.errors import Interrupted, SceneUnreadable

_CHUNK = 2**22


class Fingerprint:
    """Hashes files from the moment it is entered; leaving early stops it."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._states = [state_of(path) for path in paths]
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
        """Wait, and return the hexadecimal digest of all bytes, one file after the other; empty without files.

        Raises:
            SceneUnreadable: a file changed since it was entered.
        """
        digest = self._digest.result()
        for path, state in zip(self._paths, self._states, strict=True):
            if state_of(path) != state:
                raise SceneUnreadable(
                    f"`{path}` changed while it was being read", hint="run again when the copy has finished"
                )
        return digest if self._paths else ""

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for path in self._paths:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    if self._stop.is_set():
                        raise Interrupted("hashing was stopped", hint="run the same command again")
                    digest.update(chunk)
        return digest.hexdigest()


def state_of(path: Path) -> tuple[int, int, int]:
    """Return size in bytes, time of change in ns and inode; another file or another content has others."""
    info = path.stat()
    return (info.st_size, info.st_mtime_ns, info.st_ino)
