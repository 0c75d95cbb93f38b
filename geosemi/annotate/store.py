"""Answers that were given, a JSON line each, so that nobody is asked twice; a kill loses those in flight, no more."""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

from geosemi.annotate.answer import whole_characters
from geosemi.annotate.speaker import Reply
from geosemi.errors import OutputError
from geosemi.geo.commit import naming_disk

try:
    import fcntl
except ImportError:  # Windows: two runs on one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

NAME = "answers.jsonl"


class AnswerStore:
    """A file of answers that grows line by line; a context manager. One process at a time.

    Args:
        path: the file; it is made if need be, and what a kill left behind its last whole line is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file: BinaryIO = stack.enter_context(naming_disk(self.path, lambda: self.path.open("a+b")))
            self._lock()
            self._index()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> Reply | None:
        """Return the answer of a key, or None."""
        if key not in self._places:
            return None
        place, length = self._places[key]
        self._file.seek(place)
        return _reply(json.loads(self._file.read(length)))

    def put(self, key: str, reply: Reply, about: Mapping[str, Any]) -> None:
        """Keep an answer; when this returns it is on disk.

        Args:
            key: of `key_of`.
            reply: the answer.
            about: what a person wants to know who reads the file.

        Raises:
            OutputError: the disk is full or fails.
        """
        value = {"key": key, **about, "answer": reply.text, "cut": reply.cut, "seen": list(reply.seen),
                 "tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}  # fmt: skip
        # the escapes of ASCII also hold half surrogates, which a server may send and UTF-8 has not
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        place = self._file.seek(0, os.SEEK_END)
        naming_disk(self.path, lambda: self._file.write(line))
        naming_disk(self.path, self._file.flush)
        naming_disk(self.path, lambda: os.fsync(self._file.fileno()))
        self._places[key] = (place, len(line))

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another geosemi is writing `{self.path}`", hint="wait for it, or choose another folder with `--out`"
            ) from error
        except OSError:  # a network disk without locks
            return

    def _index(self) -> None:
        self._file.seek(0)
        place = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                naming_disk(self.path, lambda place=place: self._file.truncate(place))  # type: ignore[misc]
                break
            key = _key(line)
            if key:
                self._places[key] = (place, len(line))
            place += len(line)


def _key(line: bytes) -> str:
    """Return the key of a line that holds an answer; a line that somebody spoilt holds none, and is asked again."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    whole = isinstance(value, dict) and isinstance(value.get("key"), str) and _reply(value) is not None
    return str(value["key"]) if whole else ""


def _reply(value: Mapping[str, Any]) -> Reply | None:
    text, seen = value.get("answer"), value.get("seen")
    if not isinstance(text, str) or not isinstance(seen, list) or len(seen) != 2:
        return None
    if not all(isinstance(side, int) and side > 0 for side in seen):
        return None
    counts = [n if isinstance(n := value.get(name), int) else None for name in ("tokens_in", "tokens_out")]
    return Reply(whole_characters(text), bool(value.get("cut")), (seen[0], seen[1]), counts[0], counts[1])
