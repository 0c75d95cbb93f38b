"""What stands around a network is told by its specification, and told again by the network itself."""

from pathlib import Path

import pytest
import torch
from fakes import legend_of

from geosemi.models.around import around, described
from geosemi.models.bundle import Bundle, Card
from geosemi.models.channels import SparkSegmenter
from geosemi.models.fused import FusedSegmenter
from geosemi.models.fusion import Branch, FusionSpec
from geosemi.models.light import LightSegmenter
from geosemi.models.spec import ModelSpec

FUSED = FusionSpec(branches=(Branch(dim=6),), hidden=5, keep=0.8)
TAUGHT = FUSED.model_copy(update={"keep": 1.0})  # nothing joins the map: only training needs the translators
PLAIN = ModelSpec()


@pytest.mark.parametrize("spark", [False, True])
@pytest.mark.parametrize("fusion", [None, FUSED, TAUGHT])
def test_what_predicts_is_shipped_and_nothing_else(fusion: FusionSpec | None, spark: bool, tmp_path: Path):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        core = LightSegmenter(bands=3, classes=4)
        trained = around(core, ModelSpec(fusion=fusion, spark=spark)).eval()
    assert isinstance(trained, SparkSegmenter) == spark
    shipped, spec = described(trained, PLAIN)
    assert spec == ModelSpec(fusion=None if fusion is TAUGHT else fusion, spark=spark)
    assert any(isinstance(part, FusedSegmenter) for part in shipped.modules()) == (fusion is FUSED)
    card = Card(spec, legend_of(4), ("r", "g", "b"), (0.0,) * 3, (1.0,) * 3, 32, None, "0")
    Bundle(shipped, card).save(tmp_path / "model.safetensors")
    image = torch.randn(2, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(Bundle.load(tmp_path / "model.safetensors").model(image), trained(image))
    assert described(shipped, PLAIN)[1] == spec


def test_looking_at_a_network_changes_nothing_of_it():
    core = LightSegmenter(bands=3, classes=4)
    trained = around(core, ModelSpec(fusion=TAUGHT, spark=True))
    names = set(trained.state_dict())
    shipped, _ = described(trained, PLAIN)
    assert set(trained.state_dict()) == names
    assert set(shipped.state_dict()) < {name.replace("core.core.", "core.") for name in names}
    for name, value in shipped.spark.state_dict().items():  # type: ignore[union-attr,operator]
        assert value.data_ptr() == trained.spark.state_dict()[name].data_ptr()  # type: ignore[union-attr,operator]
