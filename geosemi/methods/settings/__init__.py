"""What each method may be told. Nothing here imports torch: a wrong config is told in a second, not in ten."""

from types import MappingProxyType
from typing import Annotated, Any

from pydantic import PlainValidator, SerializeAsAny
from pydantic_core import PydanticCustomError

from geosemi.errors import ConfigError
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
    "add_kind",
]

_KINDS: dict[str, type[OfMethod]] = {
    kind.model_fields["name"].default: kind
    for kind in (
        SupervisedSettings,
        MeanTeacherSettings,
        FixMatchSettings,
        SemiEarthSettings,
        RsMtdfSettings,
        FixMatchV1Settings,
        UniMatchSettings,
        UniMatchV2Settings,
        CpsSettings,
        CutMixSettings,
        CctSettings,
        LsstSettings,
        DwlSettings,
        AllSparkSettings,
        MucaSettings,
    )
}

KINDS: MappingProxyType[str, type[OfMethod]] = MappingProxyType(_KINDS)
"""Name → settings of each method, in the order in which they are listed."""


def _told(content: Any) -> OfMethod:
    """Return the settings of the method that is named; a union would know only the methods that are built in."""
    if isinstance(content, OfMethod):
        return content
    if not isinstance(content, dict):
        raise PydanticCustomError("model_type", "a method is a group of settings")
    name = content.get("name")
    if not isinstance(name, str) or name not in KINDS:
        raise PydanticCustomError("union_tag_invalid", "`name` does not match any of the expected tags")
    return KINDS[name].model_validate(content)


MethodSettings = Annotated[SerializeAsAny[OfMethod], PlainValidator(_told)]
"""Settings of any method; `name` says which."""


def add_kind(kind: type[OfMethod]) -> str:
    """Make settings of a further method known, and return its name.

    Raises:
        ConfigError: there is a method of this name.
    """
    name = str(kind.model_fields["name"].default)
    if KINDS.get(name, kind) is not kind:
        raise ConfigError(f"there is a method `{name}` already", hint="give yours another `name`")
    _KINDS[name] = kind
    return name
