"""Numbers of LSST."""

from typing import ClassVar, Literal

from pydantic import Field

from geosemi.methods.settings.base import PseudoLabelled


class LsstSettings(PseudoLabelled):
    """Numbers of LSST; the defaults are those of its code.

    Attributes:
        pretraining: share of the run that is supervised, before the network labels and training starts again.
        share: of the pixels of a class, the surest ones, that a crop teaches.
    """

    idea: ClassVar[str] = "train, label the surest fifth of each class, train again from scratch"
    source: ClassVar[str] = "Lu 2022, TGRS 60"

    name: Literal["lsst"] = "lsst"
    pretraining: float = Field(default=0.5, gt=0, lt=1)
    share: float = Field(default=0.2, gt=0, le=1)
