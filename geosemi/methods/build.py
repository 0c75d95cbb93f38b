"""Which methods there are: `METHODS` is the whole registry."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import torch

from geosemi.data.normalise import Radiometry
from geosemi.errors import ConfigError
from geosemi.methods.allspark import AllSpark
from geosemi.methods.base import Method
from geosemi.methods.cct import Cct
from geosemi.methods.cps import Cps
from geosemi.methods.cutmix import CutMix
from geosemi.methods.distiller import Distiller, prepared
from geosemi.methods.dwl import Dwl
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.fixmatch_v1 import FixMatchV1
from geosemi.methods.lsst import Lsst
from geosemi.methods.mean_teacher import MeanTeacher
from geosemi.methods.muca import Muca
from geosemi.methods.purifier import Purifier
from geosemi.methods.settings import MethodSettings, OfMethod, add_kind
from geosemi.methods.supervised import Supervised
from geosemi.methods.unimatch import UniMatch
from geosemi.methods.unimatch_v2 import UniMatchV2
from geosemi.models.segmenter import Segmenter

_METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "mean_teacher": MeanTeacher,
    "fixmatch": FixMatch,
    "semiearth": FixMatch,  # with a purifier
    "rs_mtdf": FixMatch,  # with a distiller
    "fixmatch_v1": FixMatchV1,
    "unimatch": UniMatch,
    "unimatch_v2": UniMatchV2,
    "cps": Cps,
    "cutmix": CutMix,
    "cct": Cct,
    "lsst": Lsst,
    "dwl": Dwl,
    "allspark": AllSpark,
    "muca": Muca,
}

_OWN: dict[str, str] = {}  # name → module that registered it

METHODS: MappingProxyType[str, type[Method]] = MappingProxyType(_METHODS)
"""Name → method; each is made from a student and the settings of the same name, and from a peer where it needs one."""

_PEER = 2**20  # far from the seeds that runs are repeated with: no student starts as another run's peer


def register(method: type[Method], settings: type[OfMethod]) -> None:
    """Add a method of your own; from now on `--method`, configs and `geosemi methods` know the name of its settings.

    Args:
        method: made from a student and its settings, and from a peer where it needs one.
        settings: with a default `name`, an `idea` and a `source`.

    Raises:
        ConfigError: there is a method of this name.
    """
    name = add_kind(settings)
    _METHODS[name], _OWN[name] = method, settings.__module__


def own_sources() -> list[str]:
    """Return where methods of one's own were registered: files that were started, and names of modules.

    Raises:
        ConfigError: one was written at a prompt, so that no other process can have it.
    """
    sources = []
    for name, source in _OWN.items():
        if source == "__main__":
            file = getattr(sys.modules["__main__"], "__file__", None)
            if file is None:
                raise ConfigError(f"no other process knows the method `{name}`", hint="register it in a file")
            sources.append(str(Path(file).resolve()))
        elif source.partition(".")[0] != "geosemi":
            sources.append(source)
    return list(dict.fromkeys(sources))


def build_method(
    settings: MethodSettings,
    student: Segmenter,
    *,
    another: Callable[[int], Segmenter],
    seed: int = 0,
    radiometry: Radiometry | None = None,
) -> Method:
    """Return the method that the settings name, around a student that it will train.

    The same arguments give the same weights, bit for bit; torch's global generator is left as it was.

    Args:
        settings: of one of `METHODS`.
        student: the network, as it starts.
        another: builds a network of the same kind from a seed, for methods that train two.
        seed: of what a method has beside the student.
        radiometry: how images are normalised, for frozen teachers; None: as three bands of ImageNet.

    Raises:
        ConfigError: frozen teachers are asked for, and the network shows no features, or a band does not exist.
        WeightsUnavailable: those of a frozen teacher are neither here nor to be had.
        InputError: the method needs something that the network lacks.
    """
    kind = METHODS[settings.name]
    make: Callable[..., Method] = kind  # each has a constructor of its own
    networks = [student, *([another(seed + _PEER)] if kind.needs_peer else [])]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        if settings.distill is not None:
            networks = [prepared(network, settings.distill) for network in networks]
        student, *peers = networks
        method = make(student, settings, *peers)
    if settings.distill is not None:
        method.learn_from(Distiller(settings.distill, bands=student.bands, radiometry=radiometry))
    rules = settings.rules()
    if rules is not None:
        method.purify_with(Purifier(rules, classes=student.classes, measured=settings.judged))
    return method
