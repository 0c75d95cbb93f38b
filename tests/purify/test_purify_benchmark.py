"""The figures that benchmarks/purify.py makes of its runs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import geopandas as gpd
import pytest
import shapely

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "purify.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("purify_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("xs", "ys", "told"),
    [
        ([0.1, 0.3], [-0.01, 0.03], "gains from a precision of 0.15 on"),
        ([0.3, 0.1], [0.03, -0.01], "gains from a precision of 0.15 on"),
        ([0.1, 0.2, 0.3, 0.5], [0.01, -0.01, 0.0, 0.02], "gains from a precision of 0.30 on"),
        ([0.1, 0.2], [0.01, 0.02], "gains from the lowest precision on, 0.10"),
        ([0.1, 0.2], [0.01, -0.02], "no gain at the highest precision, 0.20"),
    ],
)
def test_where_a_gain_begins(script: ModuleType, xs: list[float], ys: list[float], told: str):
    assert script.zero_crossing(xs, ys) == told


def test_a_spoilt_map_is_spoilt_as_it_says(script: ModuleType):
    field = gpd.GeoDataFrame({"class": ["field"]}, geometry=[shapely.box(0, 0, 2000, 2000)], crs=32633)
    spoilt = script.spoilt(field, ["field", "wood"])
    assert spoilt.area.sum() / field.area.sum() == pytest.approx(script.KEPT, abs=0.02)
    wrong = spoilt[spoilt["class"] == "wood"]
    assert wrong.area.sum() / spoilt.area.sum() == pytest.approx(script.WRONG, abs=0.02)
    assert spoilt.total_bounds[:2] == pytest.approx(script.MOVED)
    assert script.spoilt(field, ["field", "wood"]).equals(spoilt)
