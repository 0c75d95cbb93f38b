"""Outputs in a bucket: written to a stand-in on this machine, then uploaded, whole, under their final names.

A GeoTIFF is not made from its first byte to its last, a GeoPackage is a database, and an interrupted run goes on with
files on a disk: none of it works in a bucket. So `s3://bucket/maps/mask.tif` is a path like any other here,
`~/.cache/geosemi/outbox/s3/bucket/maps/mask.tif` (or in `$XDG_CACHE_HOME`), its stand-in: from the path alone everybody
can tell the URL. `geosemi.geo.commit` uploads what gets a stand-in's name, and nothing else in the package knows of
buckets. The folder is the same from wherever a command is run, so that the same command finds what was begun.

An object appears when its upload is complete. Credentials come from the environment, as the stores' own libraries
look for them; none is written down or shown.
"""

import glob
import importlib
import os
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from geosemi.errors import ConfigError, OutputError, UnsafeInput

_CLOUD = 'pip install "geosemi[cloud]"'
_GDAL = {"/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}
# the store → what its library is called, and the roots of what it raises beside OSError
_STORES: dict[str, tuple[str, tuple[str, ...]]] = {
    "s3": ("s3fs", ("botocore.exceptions:BotoCoreError", "aiohttp:ClientError")),
    "gs": ("gcsfs", ("gcsfs.retry:HttpError", "google.auth.exceptions:GoogleAuthError", "aiohttp:ClientError")),
    "az": ("adlfs", ("azure.core.exceptions:AzureError", "aiohttp:ClientError")),
    "memory": ("fsspec", ()),
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)


def placed(text: str | Path) -> Path:
    """Return where an output is written that was typed as a path or as a URL; a bucket's is a stand-in.

    Args:
        text: a path; `s3://…`, `gs://…`, `az://container/…`, or GDAL's `/vsis3/…`, `/vsigs/…`, `/vsiaz/…`; `file://…`.
            A `Path` is never a URL.

    Raises:
        ConfigError: the URL is of another kind, or names no object.
        UnsafeInput: it holds credentials.
    """
    if isinstance(text, Path):
        return text
    prefix = next((p for p in _GDAL if text.startswith(p)), None)
    url = text if prefix is None else _GDAL[prefix] + text.removeprefix(prefix)
    found = _SCHEME.fullmatch(url)
    if found is None:
        return Path(text)
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        return Path("/" + unquote(rest).lstrip("/"))
    if scheme not in _STORES:
        raise ConfigError(
            f"outputs cannot be written to `{scheme}://…`",
            hint=f"write to a folder, or to {', '.join(f'{s}://' for s in _STORES if s != 'memory')}",
        )
    return _outbox().joinpath(scheme, *_parts(scheme, rest))


def url_of(path: Path) -> str | None:
    """Return the URL that a path stands in for, or None."""
    if not path.is_relative_to(_outbox()):
        return None
    scheme, *parts = path.relative_to(_outbox()).parts
    return f"{scheme}://{'/'.join(parts)}"


def shown(path: Path) -> str:
    """Return an output's name as it was typed: a URL, or a path."""
    return url_of(path) or str(path)


def is_there(path: Path) -> bool:
    """Tell whether an output of this name exists; one that an unfinished `publish` has uploaded does not count.

    Raises:
        OutputError: its bucket cannot be asked.
    """
    url = url_of(path)
    if url is None:
        return path.exists()
    with _asking(url) as store:
        if not store.exists(url):
            return False
        note = _note(path)
        return not (note.exists() and note.read_text() == str(store.info(url)["size"]))


def require_store(path: Path) -> None:
    """Check that objects can be written beside a stand-in's, by writing an empty one and removing it again.

    Raises:
        OutputError: the store's library is missing, there are no credentials, or the bucket refuses.
    """
    url = url_of(path)
    assert url is not None
    _probe(url.rpartition("/")[0])
    path.parent.mkdir(parents=True, exist_ok=True)


@cache  # once for all outputs of a folder; a refusal is not remembered
def _probe(folder: str) -> None:
    name = f"{folder}/.geosemi-{uuid.uuid4().hex}"
    with _asking(folder) as store:
        store.pipe_file(name, b"")
        with suppress(PermissionError):  # whoever may write but not remove is served all the same
            store.rm_file(name)


def upload(source: Path, target: Path) -> None:
    """Put a finished file where a stand-in's URL says, and note that it was us, until `settle`.

    Raises:
        OutputError: the store refuses, or holds something else afterwards.
    """
    url = url_of(target)
    assert url is not None
    with _asking(url) as store:
        store.put_file(str(source), url)
        size = store.info(url)["size"]
    _note(target).write_text(str(size))
    if size != source.stat().st_size:
        raise OutputError(
            f"`{url}` has {size} bytes after its upload instead of {source.stat().st_size}",
            hint="run the same command again; nothing was lost",
        )


def settle(targets: Iterable[Path]) -> None:
    """Forget who uploaded them: all that belongs together is where it should be."""
    for path in targets:
        if url_of(path) is not None:
            _note(path).unlink(missing_ok=True)


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.sent")


def discard(files: Iterable[Path]) -> None:
    """Remove stand-ins that were uploaded; other paths are left alone.

    Folders stay, even empty ones: another run may be about to write there.
    """
    for path in files:
        if url_of(path) is None:
            continue
        several = path.parent.glob(f"{glob.escape(path.stem)}.*") if path.suffix.lower() == ".shp" else [path]
        for file in several:
            file.unlink(missing_ok=True)


def _outbox() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache.absolute() / "geosemi" / "outbox"


def _parts(scheme: str, rest: str) -> tuple[str, ...]:
    """Return the bucket and the steps of the path in it; each can be the name of a folder."""
    if "@" in rest.partition("/")[0] or "?" in rest:
        raise UnsafeInput(
            f"the URL `{scheme}://…` holds credentials or options",
            hint="set them in the environment, and give the plain URL",
        )
    parts = rest.rstrip("/").split("/")
    if len(parts) < (1 if scheme == "memory" else 2) or any(p in ("", ".", "..") for p in parts):
        raise ConfigError(f"`{scheme}://{rest}` names no object", hint=f"write `{scheme}://bucket/folder/mask.tif`")
    return PurePosixPath(*parts).parts


@contextmanager
def _asking(url: str) -> Iterator[Any]:
    """Yield the file system of a URL; what it raises becomes an OutputError that names the URL."""
    import fsspec  # noqa: PLC0415 - outputs on a disk need not wait for it

    scheme = url.partition("://")[0]
    library, roots = _STORES[scheme]
    try:
        store = fsspec.filesystem(scheme)
    except ImportError as error:
        raise OutputError(f"`{url}` needs the package {library}, which is not installed", hint=_CLOUD) from error
    try:
        store.invalidate_cache()  # others write there too
        yield store
    except _failures(roots) as error:
        raise OutputError(
            f"`{url}` cannot be written ({_cause(error)})",
            hint="check the bucket's name and your credentials, and run the same command again; nothing was lost",
        ) from error


def _failures(roots: Iterable[str]) -> tuple[type[BaseException], ...]:
    """Return what a store may raise; a library that was not loaded has raised nothing."""
    pairs = (root.partition(":")[::2] for root in roots)
    found = [(module, name) for module, name in pairs if module.partition(".")[0] in sys.modules]
    return (OSError, *(getattr(importlib.import_module(module), name) for module, name in found))


def _cause(error: BaseException) -> str:
    """Return what an error says, in one line; what follows `?` in a URL may be a signature."""
    text = re.sub(r"\?\S+", "", " ".join(str(error).split()))[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
