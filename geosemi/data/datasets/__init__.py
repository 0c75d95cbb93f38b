"""One file a data set: how its original download is laid out and coded."""

from geosemi.data.datasets.base import Original
from geosemi.data.datasets.deepglobe import DEEPGLOBE
from geosemi.data.datasets.loveda import LOVEDA
from geosemi.data.datasets.openearthmap import OPENEARTHMAP
from geosemi.data.datasets.potsdam import POTSDAM
from geosemi.data.datasets.vaihingen import VAIHINGEN

DATASETS: dict[str, Original] = {d.name: d for d in (POTSDAM, VAIHINGEN, LOVEDA, DEEPGLOBE, OPENEARTHMAP)}

__all__ = ["DATASETS", "Original"]
