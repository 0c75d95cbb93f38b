"""Who is asked: the one narrow interface of all vision-language models."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from geosemi.annotate.boxes import Frame
from geosemi.annotate.pictures import RGB


@dataclass(frozen=True, slots=True)
class Query:
    """A picture and a question about it.

    Attributes:
        rgb: (h, w, 3) uint8.
        question: text.
    """

    rgb: RGB
    question: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, unread.

    Attributes:
        text: the raw answer.
        cut: whether it ended because it was too long.
        seen: (height, width) of the picture as the model resized it.
        tokens_in: tokens of picture and question, or None where nobody counted.
        tokens_out: tokens of the answer.
    """

    text: str
    cut: bool
    seen: tuple[int, int]
    tokens_in: int | None = None
    tokens_out: int | None = None


class Manners(Protocol):
    """How a vision-language model wants to be asked."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that decides its answers, JSON values: provider, model, revision, decoding. Never a key."""

    @property
    def frame(self) -> Frame:
        """What the numbers of its boxes mean."""

    @property
    def multiple(self) -> int:
        """Pictures whose sides are multiples of this many pixels are not resized by it."""


class Speaker(Manners, Protocol):
    """A vision-language model, here or behind a server."""

    @property
    def batch(self) -> int:
        """Queries that it takes at a time."""

    @property
    def workers(self) -> int:
        """Calls that may run at once."""

    def ask(self, queries: Sequence[Query]) -> list[Reply]:
        """Return a reply to each query; may be called by several threads where `workers` is above 1."""

    def give_up(self) -> None:
        """End calls that are under way as soon as nothing is lost by it: somebody wants to stop for good."""


def key_of(manners: Manners, query: Query, meaning: str) -> str:
    """Return what an answer is filed under: SHA-256 of the picture, the question, the model and the vocabulary.

    Args:
        manners: of the model.
        query: picture and question.
        meaning: digest of the vocabulary by which the answer is read.
    """
    head = json.dumps([dict(manners.identity), query.question, meaning, query.rgb.shape], sort_keys=True)
    digest = hashlib.sha256(head.encode())
    digest.update(query.rgb.tobytes())
    return digest.hexdigest()
