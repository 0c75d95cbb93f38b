"""Which band is meant by a name: `red`, `B4`, `b04` for a band that calls itself `B04 (red)`."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")
_LETTERS_NUMBER = re.compile(r"([a-z]+)0+(\d)")
_TWO_NAMES = re.compile(r"(.+) \((.+)\)")
_NAMELESS = re.compile(r"band_\d+")


def is_named(bands: Sequence[str]) -> bool:
    """Tell whether bands carry distinct names of their own; `band_1` says no more than its place."""
    return len({b.casefold() for b in bands}) == len(bands) and not any(_NAMELESS.fullmatch(b) for b in bands)


def find_band(name: str, bands: Sequence[str], *, exact: bool = False) -> int | None:
    """Return the place (from 0) of the one band that a name means, or None where none or several do.

    The whole description counts first, whatever its case, and both parts of `red (B04)`; then, unless `exact`, a word
    in it. `B4` and `B04` are the same.
    """
    wanted = _words(name)
    whole = [i for i, band in enumerate(bands) if band.casefold() == name.strip().casefold()]
    part = [i for i, band in enumerate(bands) if wanted in _parts(band)]
    word = [i for i, band in enumerate(bands) if len(wanted) == 1 and wanted[0] in _words(band)]
    for found in (whole, part) if exact else (whole, part, word):
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _parts(band: str) -> list[list[str]]:
    found = _TWO_NAMES.fullmatch(band)
    return [_words(part) for part in found.groups()] if found else [_words(band)]


def _words(text: str) -> list[str]:
    return [_LETTERS_NUMBER.sub(r"\1\2", word.casefold()) for word in _WORD.findall(text)]
