"""Which methods there are: `METHODS` is the whole registry."""

from types import MappingProxyType

from geosemi.methods.base import Method
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.mean_teacher import MeanTeacher
from geosemi.methods.semiearth import SemiEarth
from geosemi.methods.settings import MethodSettings
from geosemi.methods.supervised import Supervised
from geosemi.models.segmenter import Segmenter

METHODS: MappingProxyType[str, type[Method]] = MappingProxyType(
    {"supervised": Supervised, "mean_teacher": MeanTeacher, "fixmatch": FixMatch, "semiearth": SemiEarth}
)
"""Name → method; each is made from a student and the settings of the same name."""


def build_method(settings: MethodSettings, student: Segmenter) -> Method:
    """Return the method that the settings name, around a student that it will train."""
    return METHODS[settings.name](student, settings)
