"""What the loop tells whoever watches: a terminal, a notebook, a test."""

from collections.abc import Mapping
from typing import Protocol

from geosemi.metrics import Scores


class Watcher(Protocol):
    """Somebody who watches a run. All calls come from the training thread of rank 0."""

    def started(self, total: int, done: int) -> None:
        """Training begins; `done` steps of `total` were finished before."""

    def note(self, text: str) -> None:
        """One line worth knowing."""

    def counted(self, what: str, done: int, total: int) -> None:
        """Preparation goes on: `done` of `total` of something."""

    def stepped(self, step: int, losses: Mapping[str, float]) -> None:
        """A step is finished; losses as they were minimised, `loss` is their sum."""

    def validated(self, step: int, scores: Scores, *, best: bool) -> None:
        """Validation ground was scored after `step` steps."""


class Silent:
    """A watcher that says nothing."""

    def started(self, total: int, done: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def counted(self, what: str, done: int, total: int) -> None:
        """Say nothing."""

    def stepped(self, step: int, losses: Mapping[str, float]) -> None:
        """Say nothing."""

    def validated(self, step: int, scores: Scores, *, best: bool) -> None:
        """Say nothing."""
