"""What the settings of every method share."""

from typing import Annotated, ClassVar

from pydantic import Field

from geosemi.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class OfMethod(Settings):
    """Settings of one method, and what `geosemi methods` says of it.

    Attributes:
        idea: the method in one line.
        source: the paper, `–` for none.
        name: what tells the methods apart.
    """

    idea: ClassVar[str]
    source: ClassVar[str]

    name: str


class Thresholded(OfMethod):
    """Numbers of all methods that learn from pseudo-labels they are sure of.

    Attributes:
        threshold: τ, confidence from which a pseudo-label is trained on.
        warm_up: share of the run over which the weight of pseudo-labels grows (exp(−5 (1 − t)²)). 0 as released, where
            the backbone is pretrained; a network that starts from scratch first calls everything the commonest class,
            is sure of it, and with 0 learns that from itself.
    """

    threshold: float = Field(default=0.95, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)
