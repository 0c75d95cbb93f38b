"""The one place where outputs get their final names.

A killed GDAL writer leaves a file that opens and reads as zeros, and on a full disk GDAL can report success. So GDAL
writes into memory or into a private folder, and here Python writes, flushes to disk and renames: the final name holds
the complete file or what was there before, never a part. Of several files the last one is the main one.
"""

import errno
import glob
import os
import shlex
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from geosemi.errors import OutputError
from geosemi.geo.target import is_there, require_store, settle, shown, upload, url_of

T = TypeVar("T")


def require_writable(path: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check, before any work, that an output can be written.

    Raises:
        OutputError: the folder or bucket is missing or not writable, the file exists, or it is one of the inputs.
    """
    if url_of(path) is not None:
        require_store(path)
        if not overwrite and is_there(path):
            raise _taken(path)
        return
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(
            f"the folder `{folder}` does not exist", hint=f"create it: mkdir -p {shlex.quote(str(folder))}"
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder `{folder}` is not writable", hint="choose another folder")
    if path.is_dir():
        raise OutputError(f"`{path}` is a folder", hint="name a file in it")
    if not path.exists():
        return
    if any(i.exists() and path.samefile(i) for i in inputs):
        raise OutputError(f"the output `{path}` is an input", hint="choose another name")
    if not overwrite:
        _remove_left(path)  # of a run that was killed when it was complete
        raise _taken(path)


def _taken(path: Path) -> OutputError:
    return OutputError(f"`{shown(path)}` exists", hint="pass `--overwrite`, or choose another name")


@contextmanager
def private_folder(beside: Path) -> Iterator[Path]:
    """Yield an empty folder next to an output, on the same disk; it is removed afterwards, whatever happens.

    What a killed process of this machine left of the same output is removed first.
    """
    _remove_left(beside)
    folder = beside.parent / f"{_private(beside)}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    naming_disk(beside, folder.mkdir)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _private(beside: Path) -> str:
    return f".{beside.name}.part-{uuid.getnode():x}-"


def _remove_left(beside: Path) -> None:
    begin = _private(beside)
    for left in beside.parent.glob(f"{glob.escape(begin)}*"):
        owner = left.name.removeprefix(begin).split("-")[0]
        if owner.isdigit() and not _runs(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def publish(moves: Mapping[Path, Path]) -> None:
    """Flush files to disk and give them their final names, in the order given: side files first, the main file last.

    What is to lie in a bucket is uploaded, and stays on its stand-in until `geosemi.geo.target.discard`.

    Args:
        moves: finished file in a `private_folder` → final path.

    Raises:
        OutputError: the disk is full or fails, or an upload does.
    """
    for source, target in moves.items():
        naming_disk(target, partial(_flush, source))
    for source, target in moves.items():
        if url_of(target) is not None:
            upload(source, target)
        naming_disk(target, partial(os.replace, source, target))
    for folder in {target.parent for target in moves.values()}:
        naming_disk(folder, partial(_flush_folder, folder))
    settle(moves.values())


def write_files(contents: Mapping[Path, bytes | memoryview]) -> None:
    """Write whole files: final names appear only when all are complete on disk, the last one (the main one) last.

    Raises:
        OutputError: the disk is full or fails; earlier files of these names are untouched.
    """
    main = list(contents)[-1]
    with private_folder(main) as folder:
        moves = {}
        for number, (target, content) in enumerate(contents.items()):
            part = folder / str(number)
            naming_disk(target, partial(part.write_bytes, content))
            moves[part] = target
        publish(moves)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    try:
        _flush(folder)
    except OSError as error:
        # network file systems that cannot sync a folder say EINVAL or ENOTSUP; the renames are done all the same
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def naming_disk(target: Path, work: Callable[[], T]) -> T:
    """Return what `work` returns; its OSError becomes an OutputError that names the output."""
    try:
        return work()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"no space left on the disk of `{target}`",
                hint="free some space and run the same command again; nothing was lost",
            ) from error
        raise OutputError(
            f"`{target}` cannot be written: {error.strerror}", hint="check the folder and the disk"
        ) from error
