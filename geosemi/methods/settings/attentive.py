"""Numbers of AllSpark and MUCA, which let features attend to each other."""

from typing import ClassVar, Literal

from pydantic import Field

from geosemi.methods.settings.base import PseudoLabelled


class AllSparkSettings(PseudoLabelled):
    """Numbers of AllSpark; the defaults are those of its code on Pascal VOC and Cityscapes.

    Attributes:
        memory_from: share of the run after which labelled features are rebuilt from the memory.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `Thresholded`.
    """

    idea: ClassVar[str] = "labelled features are rebuilt from the channels of unlabelled ones"
    source: ClassVar[str] = "Wang 2024, arXiv 2403.01818"

    name: Literal["allspark"] = "allspark"
    memory_from: float = Field(default=0.0625, ge=0, le=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)


class MucaSettings(PseudoLabelled):
    """Numbers of MUCA; its code cannot do what its paper says, so these follow the idea.

    Attributes:
        ema: largest share that the teacher keeps of itself in a step.
        weight: λ of what student and teacher should agree on, at the end of the run; it grows over all of it.
        attention: weight of the pseudo-labels on features that have attended to the teacher's.
        passes: with other channels silenced, from which the teacher's uncertainty is measured.
        dropout: probability with which a channel is silenced there, in every map.
        warm_up: share of the run over which the weight of pseudo-labels grows, as in `Thresholded`.
        heads: of the attention.
    """

    idea: ClassVar[str] = "agree with an average where it is certain, at every level; a re-interpretation"
    source: ClassVar[str] = "after Wang 2025, arXiv 2501.10736"

    name: Literal["muca"] = "muca"
    ema: float = Field(default=0.99, ge=0, lt=1)
    weight: float = Field(default=3.0, ge=0)
    attention: float = Field(default=0.25, ge=0)
    passes: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)
    heads: int = Field(default=3, ge=1)
