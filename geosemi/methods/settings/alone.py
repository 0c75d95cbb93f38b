"""Numbers of the methods in which a network teaches itself, and of the one without a teacher."""

from typing import ClassVar, Literal

from pydantic import Field

from geosemi.methods.settings.base import OfMethod, Thresholded


class SupervisedSettings(OfMethod):
    """The supervised baseline has nothing to set."""

    idea: ClassVar[str] = "labels alone; the baseline"
    source: ClassVar[str] = "–"
    unpurified: ClassVar[str] = "it learns from labels alone"

    name: Literal["supervised"] = "supervised"


class FixMatchV1Settings(Thresholded):
    """Numbers of the FixMatch that UniMatch V1 builds on."""

    idea: ClassVar[str] = "fixmatch without a teacher: the student labels its own weak views"
    source: ClassVar[str] = "Sohn 2020, as in UniMatch V1"

    name: Literal["fixmatch_v1"] = "fixmatch_v1"


class UniMatchSettings(Thresholded):
    """Numbers of UniMatch (V1); for Cityscapes the paper takes a threshold of 0.

    Attributes:
        dropout: probability with which a channel of the disturbed features is dropped.
    """

    idea: ClassVar[str] = "one's own labels teach two strong views and one of disturbed features"
    source: ClassVar[str] = "Yang 2023, arXiv 2208.09910"

    name: Literal["unimatch"] = "unimatch"
    dropout: float = Field(default=0.5, ge=0, lt=1)
