"""Which teachers' knowledge a network carries. This file imports no torch: a bundle's card names it."""

from pydantic import Field

from geosemi.settings import Settings, Share


class Branch(Settings):
    """What one teacher left in a network.

    Attributes:
        dim: channels of the teacher's tokens.
        side: of the square that the teacher looks at, in pixels; None: the network's own image.
    """

    dim: int = Field(ge=1)
    side: int | None = Field(default=None, ge=1)


class FusionSpec(Settings):
    """How what teachers said joins the deepest feature map.

    Attributes:
        branches: one a teacher.
        hidden: channels between the two layers of a translator.
        keep: share of the network's own map, 0 … 1; the branches share the rest alike. 1: nothing joins it.
    """

    branches: tuple[Branch, ...] = Field(min_length=1)
    hidden: int = Field(default=1024, ge=1)
    keep: Share = 0.8
