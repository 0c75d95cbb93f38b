"""The shipped file: same bytes for the same model, and a clear refusal of everything that is not one."""

import hashlib
import io
import json
import pickle
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.errors import BundleError, GeosemiError, OutputError, UnsafeInput
from geosemi.legend import ClassDef, Legend
from geosemi.models import bundle as bundles
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card

SPEC = ModelSpec()
LEGEND = Legend(
    (
        ClassDef(0, "Straße", "#808080", synonyms=("road",)),
        ClassDef(1, "water", "#2060c0", values=(10, 11)),
        ClassDef(2, "tree", "#00ff00"),
    ),
    ignore=250,
    name="three",
)
CARD = Card(
    spec=SPEC,
    legend=LEGEND,
    bands=("red", "green", "blue", "nir"),
    mean=(0.1, 1e4, 3.0, -2.5),
    std=(1 / 3, 2.0, 1e-3, 4.0),
    tile=128,
    resolution=0.05,
    version="0.1.0",
    provenance={"method": "semiearth", "steps": 3, "miou": None, "scenes": ["a.tif", "b.tif"]},
)


@pytest.fixture(scope="module")
def model():
    return build_segmenter(SPEC, bands=4, classes=3, seed=0).eval()


@pytest.fixture(scope="module")
def data(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "model.safetensors"
    Bundle(model, CARD).save(path)
    return path.read_bytes()


def refusal(tmp_path, content, kind=BundleError):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        Bundle.load(path)
    assert str(path) in caught.value.message
    return caught.value


def forged(data, *, card=None, tensors=None, version=1):
    """The bundle with other contents and a matching checksum, as a careless program would write it."""
    tensors = safetensors.torch.load(data) if tensors is None else tensors
    text = json.dumps(CARD.to_dict() if card is None else card)
    metadata = {"format": version, "card": text, "sha256": bundles._fingerprint(text, tensors)}
    return safetensors.torch.save(tensors, metadata={"geosemi": json.dumps(metadata)})


def test_round_trip(model, tmp_path):
    path = tmp_path / "model.safetensors"
    digest = Bundle(model, CARD).save(path)
    loaded = Bundle.load(path)
    assert loaded.card == CARD
    assert loaded.digest == digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_same_model_same_bytes(data, tmp_path):
    path = tmp_path / "again.safetensors"
    again = build_segmenter(SPEC, bands=4, classes=3, seed=0)
    Bundle(again, replace(CARD, provenance=dict(reversed(CARD.provenance.items())))).save(path)
    assert path.read_bytes() == data


def test_half_precision_is_stored_as_float32(model, tmp_path):
    half = build_segmenter(SPEC, bands=4, classes=3, seed=0).half()
    Bundle(half, CARD).save(tmp_path / "m")
    loaded = Bundle.load(tmp_path / "m").model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_network_and_card_must_agree(model):
    with pytest.raises(BundleError, match="takes 4 bands and predicts 3 classes, its card names 1 and 3") as caught:
        Bundle(model, replace(CARD, bands=("grey",), mean=(0.0,), std=(1.0,)))
    assert caught.value.hint == "build the network with the card's bands and legend"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"bands": ()}, "names no bands"),
        ({"bands": ("r", "g", "b", "r")}, "names a band twice"),
        ({"mean": (0.0,)}, "1 means for 4 bands"),
        ({"std": (1.0,) * 5}, "5 standard deviations for 4 bands"),
        ({"std": (1.0, 1.0, 0.0, 1.0)}, "not positive"),
        ({"mean": (float("nan"), 0.0, 0.0, 0.0)}, "not finite"),
        ({"std": (float("inf"), 1.0, 1.0, 1.0)}, "not finite"),
        ({"tile": 0}, "tile size 0"),
        ({"resolution": -1.0}, r"resolution -1\.0"),
        ({"provenance": {"miou": float("nan")}}, "not JSON"),
        ({"provenance": {"path": object()}}, "not JSON"),
    ],
)
def test_a_card_checks_itself(change, cause):
    with pytest.raises(BundleError, match=cause) as caught:
        replace(CARD, **change)
    assert caught.value.hint


def torch_file(*, zipped):
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        torch_file(zipped=True),
        torch_file(zipped=False),
        *(pickle.dumps({"a": 1}, protocol) for protocol in (2, 3, 4, 5)),
    ],
    ids=["zip", "legacy", "pickle 2", "pickle 3", "pickle 4", "pickle 5"],
)
def test_pickles_are_refused(tmp_path, content):
    error = refusal(tmp_path, content, UnsafeInput)
    assert "wants to run code when loaded" in error.message
    assert error.hint == "ask its author for a .safetensors file"
    assert error.exit_code == 7


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (b"{}", "is not a safetensors file"),
        (b"<!DOCTYPE html><html></html>", "is not a safetensors file (it begins with '<!DOCTYPE html><')"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is not a safetensors file"),
        (b"\x10" + b"\0" * 7 + b'{"a": [1, 2, 3]}', "header of"),
        (b"\x10" + b"\0" * 7 + b"{" * 16, "header of"),
    ],
)
def test_other_files_are_refused(tmp_path, content, cause):
    error = refusal(tmp_path, content)
    assert cause in error.message
    assert error.hint


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999999])
def test_a_file_that_was_cut_off(tmp_path, data, share):
    error = refusal(tmp_path, data[: int(len(data) * share)])
    assert "is incomplete" in error.message
    assert "copy it again" in error.hint


def test_a_missing_file(tmp_path):
    with pytest.raises(BundleError, match="No such file") as caught:
        Bundle.load(tmp_path / "none.safetensors")
    assert "check the path" in caught.value.hint


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), in_header=st.booleans(), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(tmp_path_factory, data, place, in_header, bit):
    header = 8 + int.from_bytes(data[:8], "little")
    changed = bytearray(data)
    changed[int(place * (header if in_header else len(data)))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flip") / "m"
    path.write_bytes(changed)
    with pytest.raises(GeosemiError, match="m`"):
        Bundle.load(path)


def test_tensors_without_a_card(tmp_path):
    error = refusal(tmp_path, safetensors.torch.save({"weight": torch.ones(2)}))
    assert "no geosemi model" in error.message
    assert "finished run" in error.hint


def test_a_newer_format(tmp_path, data):
    error = refusal(tmp_path, forged(data, version=2))
    assert "newer geosemi (format 2" in error.message
    assert error.hint == "update: pip install --upgrade geosemi"


def test_a_legend_of_another_length(tmp_path, data):
    card = CARD.to_dict()
    card["legend"]["classes"] = card["legend"]["classes"][:2]
    error = refusal(tmp_path, forged(data, card=card))
    assert "predicts 3 classes, its legend names 2" in error.message
    assert error.hint


def test_bands_that_are_not_those_of_the_weights(tmp_path, data):
    card = replace(CARD, bands=("grey",), mean=(0.0,), std=(1.0,)).to_dict()
    error = refusal(tmp_path, forged(data, card=card))
    assert "`stem.0.0.weight` as (24, 4, 3, 3) float32, the network wants (24, 1, 3, 3) float32" in error.message


def test_tensors_that_are_missing_or_too_many(tmp_path, data):
    tensors = safetensors.torch.load(data)
    tensors["other"] = tensors.pop("classify.weight")
    error = refusal(tmp_path, forged(data, tensors=tensors))
    assert "lacks 1 tensor (classify.weight) and adds 1 tensor (other)" in error.message
    assert error.hint


def test_numbers_that_are_not_finite(tmp_path, data, model):
    tensors = safetensors.torch.load(data)
    tensors["classify.weight"][0, 0] = torch.nan
    tensors["fuse.0.0.weight"][0] = torch.inf
    error = refusal(tmp_path, forged(data, tensors=tensors))
    assert "NaN or infinite numbers in 2 tensors (classify.weight, fuse.0.0.weight)" in error.message
    assert "training diverged" in error.hint


def test_a_diverged_network_is_not_saved(tmp_path):
    diverged = build_segmenter(SPEC, bands=4, classes=3, seed=0)
    diverged.classify.bias.data[1] = torch.nan
    with pytest.raises(BundleError, match=r"NaN or infinite numbers in 1 tensor \(classify.bias\)") as caught:
        Bundle(diverged, CARD).save(tmp_path / "model.safetensors")
    assert "training diverged" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"tile": "large"}, "wrong kind"),
        ({"spec": {"name": "resnet", "weights": None, "revision": None}}, "names no model of this geosemi"),
        ({"mean": None}, "wrong kind"),
        ({"legend": {"classes": []}}, "0 classes"),
        ({"secret": 1}, "has not the keys"),
        ({"std": [1, 1, 1, -1]}, "not positive"),
    ],
)
def test_a_card_that_was_edited(tmp_path, data, change, cause):
    error = refusal(tmp_path, forged(data, card=CARD.to_dict() | change))
    assert cause in error.message
    assert error.hint


def test_a_card_that_is_no_mapping(tmp_path, data):
    assert "has not the keys" in refusal(tmp_path, forged(data, card=[1, 2])).message


def test_a_folder_that_does_not_exist(tmp_path, model):
    with pytest.raises(OutputError, match="cannot be written"):
        Bundle(model, CARD).save(tmp_path / "none" / "model.safetensors")
