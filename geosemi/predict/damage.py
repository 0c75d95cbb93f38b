"""Damaged blocks that were left out, remembered for a run that goes on after a kill."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from geosemi.geo.commit import naming_disk, publish
from geosemi.geo.forgiving import BadBlock


class DamageLog:
    """A note in the folder of unfinished work.

    Args:
        folder: where it lies; what it says already is known.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "damage.json"
        before = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else []
        self._known = {BadBlock(**block) for block in before}

    @property
    def known(self) -> tuple[BadBlock, ...]:
        """All of them, from top to bottom."""
        return tuple(sorted(self._known))

    def add(self, blocks: Iterable[BadBlock]) -> None:
        """Write down what is new."""
        found = self._known.union(blocks)
        if found == self._known:
            return
        self._known = found
        text = json.dumps([asdict(block) for block in self.known])
        fresh = self._path.with_suffix(".new")
        naming_disk(self._path, lambda: fresh.write_text(text, encoding="utf-8"))
        publish({fresh: self._path})
