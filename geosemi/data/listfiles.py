"""The papers' list files: a picture and its label on each line, relative to the data folder.

`images/a.tif labels/a.tif` separates by blanks, as the papers' code does; a line with a TAB is separated by it alone,
so that paths may hold blanks. The second column may be missing: a picture without label, or one whose label must not
be read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from geosemi.errors import ConfigError, InputError, UnsafeInput
from geosemi.geo.commit import write_files

Row = tuple[Path, Path | None]
MAX_BYTES = 100_000_000
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def read_list(path: Path) -> list[Row]:
    """Return (picture, label or None) of each line of a list file; blank lines are skipped.

    Raises:
        ConfigError: the file is missing.
        InputError: it is not UTF-8, a line has more than two columns, or a picture stands in it twice.
        UnsafeInput: a path is absolute or climbs out of the data folder.
    """
    rows: list[Row] = []
    seen: dict[Path, int] = {}
    for number, line in enumerate(_text(path).replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip(" \t"):
            continue
        columns = _columns(line, f"line {number} of `{path}`")
        image = _inside(columns[0], f"line {number} of `{path}`")
        label = _inside(columns[1], f"line {number} of `{path}`") if len(columns) == 2 and columns[1] else None
        if image in seen:
            raise InputError(
                f"`{image}` stands in lines {seen[image]} and {number} of `{path}`", hint="remove one of the lines"
            )
        seen[image] = number
        rows.append((image, label))
    return rows


def write_list(path: Path, rows: Iterable[Row]) -> None:
    """Write a list file that `read_list` reads back.

    Raises:
        InputError: a path cannot be written on one line, or a picture is listed twice.
        UnsafeInput: a path is absolute or climbs out of the data folder.
        OutputError: the disk is full or fails.
    """
    write_files({path: format_list(rows, path)})


def format_list(rows: Iterable[Row], path: Path) -> bytes:
    """Return the content of a list file; `path` is its name for messages. Raises as `write_list`."""
    lines: list[str] = []
    seen: set[Path] = set()
    for image, label in rows:
        if image in seen:
            raise InputError(f"`{image}` would stand in `{path}` twice", hint="list every picture once")
        seen.add(image)
        words = [_writable(p, path) for p in (image, label) if p is not None]
        blank = any(" " in w for w in words)
        # a lone path with a blank needs its TAB too, or it would be read as two columns
        lines.append("\t".join([*words, ""][:2]) if blank else " ".join(words))
    return "".join(f"{line}\n" for line in lines).encode()


def require_disjoint(lists: Mapping[str, Sequence[Row]]) -> None:
    """Check that no picture stands in two lists.

    Args:
        lists: name of the list, for the message → its rows.

    Raises:
        InputError: one does; up to three are named.
    """
    names = list(lists)
    pictures = {name: {image for image, _ in rows} for name, rows in lists.items()}
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            shared = sorted(pictures[one] & pictures[other])
            if shared:
                shown = ", ".join(f"`{p}`" for p in shared[:3]) + (", …" if len(shared) > 3 else "")
                count = "a picture stands" if len(shared) == 1 else f"{len(shared)} pictures stand"
                raise InputError(
                    f"{count} in {one} and in {other}: {shown}",
                    hint="a picture that is trained on cannot be scored; remove it from one of the lists",
                )


def _text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"the list `{path}` does not exist", hint="check the path; `geosemi prepare` writes lists")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"the list `{path}` is larger than 100 MB", hint="is this a list file?")
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise InputError(
            f"the list `{path}` is UTF-16 or binary, not UTF-8 text",
            hint="save it as UTF-8; PowerShell writes UTF-16 with `>`, use `| Out-File -Encoding utf8`",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the list `{path}` is not UTF-8 text (byte {error.start})", hint="save it as UTF-8"
        ) from error


def _columns(line: str, where: str) -> list[str]:
    # only the ASCII blank separates: str.split() would also cut at a no-break space inside a name
    columns = line.split("\t") if "\t" in line else [w for w in line.split(" ") if w]
    if len(columns) > 2 or not columns[0]:
        raise InputError(
            f"{where} has {len(columns)} columns: `{line.strip()[:80]}`",
            hint="write `picture label`; separate them with a TAB if a path contains blanks",
        )
    return columns


def _inside(text: str, where: str) -> Path:
    """Return a relative path that stays in the data folder."""
    path = PurePosixPath(text.replace("\\", "/"))  # lists written on Windows
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", text) or not path.parts:
        raise UnsafeInput(
            f"{where} names `{text[:80]}`, which is outside the data folder",
            hint="write paths relative to the data folder, without `..`",
        )
    if _CONTROL.search(text):
        raise InputError(f"{where} holds a control character", hint="rename the file")
    return Path(path)


def _writable(path: Path, target: Path) -> str:
    text = path.as_posix()
    if "\\" in text or "\t" in text or _CONTROL.search(text):
        raise InputError(
            f"`{text!r}` cannot stand in `{target}`", hint="rename the file: no TAB, no backslash, no line break"
        )
    _inside(text, f"`{target}`")
    return text
