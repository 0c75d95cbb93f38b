"""What each method may be told. Nothing here imports torch: a wrong config is told in a second, not in ten."""

from types import MappingProxyType
from typing import Annotated, get_args

from pydantic import Field

from geosemi.methods.settings.alone import FixMatchV1Settings, SupervisedSettings, UniMatchSettings
from geosemi.methods.settings.attentive import AllSparkSettings, MucaSettings
from geosemi.methods.settings.averaged import (
    AveragedSettings,
    FixMatchSettings,
    MeanTeacherSettings,
    RsMtdfSettings,
    SemiEarthSettings,
    UniMatchV2Settings,
)
from geosemi.methods.settings.base import OfMethod, PseudoLabelled
from geosemi.methods.settings.cct import CctSettings
from geosemi.methods.settings.dwl import DwlSettings
from geosemi.methods.settings.lsst import LsstSettings
from geosemi.methods.settings.mixing import CpsSettings, CutMixSettings

__all__ = [
    "KINDS",
    "AllSparkSettings",
    "AveragedSettings",
    "CctSettings",
    "CpsSettings",
    "CutMixSettings",
    "DwlSettings",
    "FixMatchSettings",
    "FixMatchV1Settings",
    "LsstSettings",
    "MeanTeacherSettings",
    "MethodSettings",
    "MucaSettings",
    "OfMethod",
    "PseudoLabelled",
    "RsMtdfSettings",
    "SemiEarthSettings",
    "SupervisedSettings",
    "UniMatchSettings",
    "UniMatchV2Settings",
]

MethodSettings = Annotated[
    SupervisedSettings
    | MeanTeacherSettings
    | FixMatchSettings
    | SemiEarthSettings
    | RsMtdfSettings
    | FixMatchV1Settings
    | UniMatchSettings
    | UniMatchV2Settings
    | CpsSettings
    | CutMixSettings
    | CctSettings
    | LsstSettings
    | DwlSettings
    | AllSparkSettings
    | MucaSettings,
    Field(discriminator="name"),
]

KINDS: MappingProxyType[str, type[OfMethod]] = MappingProxyType(
    {kind.model_fields["name"].default: kind for kind in get_args(get_args(MethodSettings)[0])}
)
"""Name → settings of each method, in the order in which they are listed."""
