"""Work that a killed process can go on with: a hidden folder beside the output, and a journal of what is done in it.

The folder belongs to one process at a time (a lock that the kernel frees when the process dies). What the work is, the
`key`, is written first: another scene, model or setting finds other work and does not go on with it. A line of the
journal is written when the bytes that it speaks of are on disk, and carries its own checksum; what a kill left behind
the last whole line is cut off.
"""

import json
import os
import shutil
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TextIO

from geosemi.errors import ConfigError, OutputError
from geosemi.geo.commit import naming_disk

try:
    import fcntl
except ImportError:  # Windows: two runs on one output are not kept apart
    fcntl = None  # type: ignore[assignment]

_KEY, _JOURNAL, _LOCK, _NAMES = "work.json", "journal", "lock", "names.json"


class Unfinished:
    """A folder of unfinished work. Make it with `unfinished`.

    Attributes:
        folder: where the work's own files lie.
        done: what the journal says, a value a line, oldest first.
    """

    def __init__(self, folder: Path, done: list[Any]) -> None:
        self.folder = folder
        self.done = done
        self._file = naming_disk(folder, lambda: (folder / _JOURNAL).open("ab", buffering=0))

    def record(self, value: Any) -> None:
        """Append a JSON value to the journal; everything that it speaks of must be on disk.

        Raises:
            OutputError: the disk is full or fails.
        """
        line = _line(value)
        naming_disk(self.folder, lambda: self._file.write(line))
        naming_disk(self.folder, lambda: os.fsync(self._file.fileno()))
        self.done.append(value)

    def announce(self, names: Iterable[Path]) -> None:
        """Say which outputs are about to get their names, see `announced`.

        Raises:
            OutputError: the disk is full or fails.
        """
        text = json.dumps([str(name.absolute()) for name in names])

        def write() -> None:
            with (self.folder / _NAMES).open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())

        naming_disk(self.folder, write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def folder_of(out: Path) -> Path:
    """Return where unfinished work for an output lies."""
    return out.with_name(f".{out.name}.unfinished")


@contextmanager
def unfinished(
    out: Path, key: Mapping[str, Any], *, resume: bool | None = None, keep: bool = False, patience: float = 0
) -> Iterator[Unfinished]:
    """Yield the folder of this work, with what an interrupted run of it left.

    It is removed when the block ends well, or with nothing in its journal; else it is kept.

    Args:
        out: the output, which gives the folder its name.
        key: what the work is, JSON values by name; only work of the same key is gone on with.
        resume: True refuses other work in the folder, False removes whatever is there, None goes on with the same work
            and removes other.
        keep: keep it after the block ended well, too: somebody else makes the output of it.
        patience: seconds to wait for another process that is at it, and may be about to end.

    Raises:
        ConfigError: `resume` is True, and the unfinished work differs.
        OutputError: another process is at it, or the disk fails.
    """
    folder = folder_of(out)
    naming_disk(out, lambda: folder.mkdir(exist_ok=True))
    with _locked(folder, out, time.monotonic() + patience):
        try:
            _prepare(folder, out, _plain(key), resume)
            with Unfinished(folder, _cut_journal(folder)) as work, _emptied(work, keep=keep):
                yield work
        finally:  # while we hold it: whoever was refused must not remove what another has just begun
            if not (folder / _KEY).exists():
                shutil.rmtree(folder, ignore_errors=True)


def announced(out: Path, key: Mapping[str, Any]) -> frozenset[Path]:
    """Return the outputs that an interrupted run of this work may have given their names: they are its own."""
    folder = folder_of(out)
    try:
        names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return frozenset()
    return frozenset(map(Path, names)) if _read_key(folder) == _plain(key) else frozenset()


def tidy(out: Path) -> None:
    """Remove what a run left that was killed after its output had its name: that is newer than the journal.

    Raises:
        OutputError: another process is at it.
    """
    folder = folder_of(out)
    journal = folder / _JOURNAL
    if not folder.is_dir() or not out.exists():
        return
    if journal.exists() and journal.stat().st_mtime_ns > out.stat().st_mtime_ns:
        return  # begun to replace that output
    with _locked(folder, out, 0):
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(folder: Path, out: Path, wanted: dict[str, Any], resume: bool | None) -> None:
    left = _read_key(folder)
    if resume and left is not None and left != wanted:
        raise _other_work(out, left, wanted)
    if resume is False or left != wanted:
        _empty(folder)
        naming_disk(out, lambda: (folder / _KEY).write_text(json.dumps(wanted), encoding="utf-8"))


@contextmanager
def _emptied(work: Unfinished, *, keep: bool) -> Iterator[None]:
    """Empty the folder afterwards, unless work was begun and not brought to its end."""
    finished = False
    try:
        yield
        finished = not keep
    finally:
        if finished or not work.done:
            _empty(work.folder)


@contextmanager
def _locked(folder: Path, out: Path, until: float) -> Iterator[None]:
    if fcntl is None:  # a lock that is open could not be removed there either
        yield
        return
    path = folder / _LOCK
    with naming_disk(out, lambda: path.open("w")) as lock:
        while not (free := _take(lock)) and time.monotonic() < until:
            time.sleep(0.1)
        if not free:
            raise OutputError(f"another geosemi is writing `{out}`", hint="wait for it, or choose another name")
        yield


def _take(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk without locks
        return True
    return os.fstat(lock.fileno()).st_nlink > 0  # else a run that ended removed it in between


def _plain(key: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(dict(key)))


def _read_key(folder: Path) -> Any:
    try:
        return json.loads((folder / _KEY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _other_work(out: Path, left: Any, wanted: Mapping[str, Any]) -> ConfigError:
    left = left if isinstance(left, dict) else {}
    names = [n for n in {**left, **wanted} if left.get(n) != wanted.get(n)]
    changes = [f"`{n}` was {left.get(n)}, now {wanted.get(n)}" for n in names]
    return ConfigError(
        f"the unfinished work on `{out}` is other work: {'; '.join(changes)}",
        hint="give the old values again, or begin anew with `--restart`",
    )


def _cut_journal(folder: Path) -> list[Any]:
    """Return the values of all whole lines, and cut off what follows them."""
    path = folder / _JOURNAL
    values, length = [], 0
    content = path.read_bytes() if path.exists() else b""
    for line in content.splitlines(keepends=True):
        text = line[9:-1]
        if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(text):
            break
        values.append(json.loads(text))
        length += len(line)
    if length < len(content):
        os.truncate(path, length)
    return values


def _line(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _empty(folder: Path) -> None:
    (folder / _KEY).unlink(missing_ok=True)  # first: without it nothing of the rest counts
    for path in folder.iterdir():
        if path.name != _LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
