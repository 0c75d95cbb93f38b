"""The registry and the spec that chooses from it."""

import subprocess
import sys
from typing import get_args

import pytest
from pydantic import ValidationError

from geosemi.models.build import MODELS, build_segmenter
from geosemi.models.spec import ModelName, ModelSpec


def test_every_name_has_a_builder():
    assert set(MODELS) == set(get_args(ModelName))


def test_light_is_the_default():
    assert ModelSpec().name == "light"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({"name": "lite"}, "light"),
        ({"weights": "x/y"}, "`light` has no pretrained weights"),
        ({"revision": "abc"}, "there are none"),
        ({"name": "dinov2_small", "weights": None, "revision": "abc"}, "there are none"),
        ({"wieghts": None}, "Extra inputs"),
    ],
)
def test_a_wrong_spec_is_refused(content, cause):
    with pytest.raises(ValidationError, match=cause):
        ModelSpec(**content)


@pytest.mark.parametrize(("bands", "classes"), [(0, 2), (3, 0)])
def test_a_network_needs_bands_and_classes(bands, classes):
    with pytest.raises(ValueError, match="needs bands and classes"):
        build_segmenter(ModelSpec(), bands=bands, classes=classes, seed=0)


def test_the_light_network_costs_no_import_of_transformers_or_timm():
    code = (
        "import sys; from geosemi.models.build import ModelSpec, build_segmenter; import geosemi.models.bundle;"
        "build_segmenter(ModelSpec(), bands=3, classes=2, seed=0);"
        "print(sorted({'timm', 'transformers', 'torchvision', 'rasterio', 'torchgeo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
