"""AllSpark: its attention against loops, its memory against queues, and its predictor on its own."""

import math
from collections import deque
from pathlib import Path

import pytest
import torch
from fakes import legend_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from witness import CLASSES, Witness, noise, slow_consistency, slow_supervised

from geosemi.errors import InputError
from geosemi.methods.allspark import AllSpark, ChannelMemory, channel_classes
from geosemi.methods.base import Progress
from geosemi.methods.settings import AllSparkSettings
from geosemi.models.build import skeleton
from geosemi.models.bundle import Bundle, Card
from geosemi.models.channels import ChannelAttention, SparkSegmenter, drop
from geosemi.models.light import LightSegmenter
from geosemi.models.spec import ModelSpec

START, LATE = Progress(0, 100), Progress(50, 100)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(build: type[torch.nn.Module], *args: object, **numbers: object) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return build(*args, **numbers)


def light(seed: int = 0) -> LightSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LightSegmenter(bands=3, classes=CLASSES)


def slow_attention(layer: ChannelAttention, asking: Tensor, told: list[Tensor]) -> Tensor:
    """One image: N × C from N × C, channel by channel."""
    columns = {}
    for name in ("query", "key", "value"):
        weight = getattr(layer, name).weight.detach().double()
        maps = [asking] if name == "query" else told
        columns[name] = [m.double() @ weight.T for m in maps]  # each N × width
    wide = columns["query"][0].shape[1] // layer.heads
    found = []
    for head in range(layer.heads):
        own = range(head * wide, (head + 1) * wide)
        scores = [[float(columns["query"][0][:, q] @ keys[:, k]) for keys in columns["key"] for k in own] for q in own]
        every = [value for row in scores for value in row]
        mean = sum(every) / len(every)
        spread = math.sqrt(sum((value - mean) ** 2 for value in every) / len(every) + 1e-5)
        values = [vectors[:, k] for vectors in columns["value"] for k in own]
        for row in scores:
            shares = [math.exp((value - mean) / spread) for value in row]
            found.append(sum(s / sum(shares) * v for s, v in zip(shares, values, strict=True)))
    rebuilt: Tensor = torch.stack(found, dim=1) @ layer.out.weight.detach().double().T  # type: ignore[arg-type]
    return rebuilt


@pytest.mark.parametrize(("heads", "sources"), [(2, 1), (1, 3), (3, 2)])
def test_attention_is_that_of_loops(heads: int, sources: int):
    layer = drawn(ChannelAttention, 4, width=6, heads=heads)
    asking, told = torch.randn(2, 5, 4, generator=seeded(1)), torch.randn(1, sources, 5, 4, generator=seeded(2))
    found = layer(asking, told)
    for n in range(2):
        torch.testing.assert_close(
            found[n].double(), slow_attention(layer, asking[n], list(told[0])), atol=1e-5, rtol=1e-4
        )
    own = layer(asking, asking[:, None])
    for n in range(2):
        torch.testing.assert_close(own[n].double(), slow_attention(layer, asking[n], [asking[n]]), atol=1e-5, rtol=1e-4)


def test_dropout_follows_its_generator_and_keeps_the_mean():
    ones = torch.ones(200, 200)
    assert drop(ones, None) is ones
    first, again, other = (drop(ones, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.unique().tolist() == [0.0, pytest.approx(1 / 0.9)]
    assert first.mean().item() == pytest.approx(1, abs=0.01)


def test_a_channel_belongs_to_the_class_that_it_looks_like():
    shown = torch.eye(3).repeat_interleave(4, 1)[None]  # each class has four positions of its own
    tokens = torch.stack([5 * shown[0, 2], shown[0, 0] + 0.1, 0.01 * shown[0, 1], shown[0, 1] - 3 * shown[0, 0]], dim=1)
    assert channel_classes(tokens[None], shown, torch.ones(1, 1, 12) > 0).tolist() == [[2, 0, 1, 1]]
    known = torch.ones(1, 1, 12, dtype=torch.bool)
    known[..., :4] = False  # where class 0 lies
    tokens = (2 * shown[0, 0] + shown[0, 2])[:, None]
    assert channel_classes(tokens[None], shown, torch.ones(1, 1, 12) > 0).tolist() == [[0]]
    assert channel_classes(tokens[None], shown, known).tolist() == [[2]]


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=12), min_size=1, max_size=8))
def test_the_memory_is_a_queue_for_each_class(steps: list[list[int]]):
    memory, room = ChannelMemory(CLASSES, 4), 4
    memory.kept = torch.zeros(CLASSES, room, 2)
    queues = [deque([(0.0, 0.0)] * room, maxlen=room) for _ in range(CLASSES)]
    number = 0
    for step in steps:
        vectors = torch.arange(number + 1, number + len(step) + 1)[:, None] * torch.tensor([1.0, -1.0])
        number += len(step)
        memory._append(vectors, torch.tensor(step))
        for k, vector in zip(step, vectors.tolist(), strict=True):
            queues[k].append(tuple(vector))
    for k, queue in enumerate(queues):
        start = int(memory.place[k])  # the oldest stands where the next one goes
        assert [tuple(v) for v in memory.kept[k].roll(-start, 0).tolist()] == list(queue)
    torch.testing.assert_close(memory.maps(), memory.kept.transpose(1, 2))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("progress", [START, LATE])
def test_the_losses_are_those_of_what_is_said(seed: int, progress: Progress):
    batch, student = noise(seed), Witness()
    u = batch.unlabelled
    assert u is not None
    method = drawn(AllSpark, student, AllSparkSettings()).train()
    losses = method(batch, progress)
    (evaluated, weak), (trained, both) = student.images
    assert (evaluated, trained) == (False, True)
    assert torch.equal(weak, u.weak)
    assert torch.equal(both, torch.cat([batch.labelled.image, u.weak]))
    before, after = student.said
    none = torch.zeros_like(u.valid)
    unsure = slow_consistency(after[4:], before, partner=before, box=none, valid=u.valid, threshold=0)
    assert losses["consistency"].item() == pytest.approx(unsure / 2, rel=1e-5)
    assert losses["supervised"].item() == pytest.approx(slow_supervised(after[:4], batch.labelled.label) / 2, rel=1e-5)


def test_labelled_crops_are_rebuilt_from_unlabelled_ones_and_later_from_the_memory():
    """What the values are made of is all that attention can return: silence it, and nothing comes."""
    batch, method = noise(0), drawn(AllSpark, Witness(), AllSparkSettings(memory_from=0.5)).train()
    asked: list[Tensor] = []
    method.student.spark.attend.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[1]))
    method(batch, START)
    method(batch, LATE)
    early, late = (told for told in asked if told.shape[0] == 1)
    assert early.shape == (1, 4, 25, 6)  # four crops
    assert late.shape == (1, CLASSES, 25, 6)
    torch.testing.assert_close(late[0], method.memory.maps())
    held = {tuple(v) for v in early[0].transpose(1, 2).flatten(0, 1).tolist()}
    kept = {tuple(v) for v in method.memory.kept.flatten(0, 1).tolist()} - {(0.0,) * 25}
    assert kept
    assert kept <= held


def test_an_answer_depends_on_the_image_alone():
    network = drawn(SparkSegmenter, light()).eval()
    images = torch.randn(3, 3, 40, 33, generator=seeded())
    with torch.no_grad():
        together = network(images)
        for n in range(3):
            torch.testing.assert_close(together[n], network(images[n : n + 1])[0], atol=1e-5, rtol=1e-4)
    assert together.shape == (3, CLASSES, 40, 33)


def test_a_bundle_is_rebuilt_from_its_card_and_maps_windows_of_any_size(tmp_path: Path):
    network = drawn(SparkSegmenter, light()).eval()
    card = Card(ModelSpec(spark=True), legend_of(CLASSES), ("r", "g", "b"), (0.0,) * 3, (1.0,) * 3, 32, None, "0")
    Bundle(network, card).save(tmp_path / "model.safetensors")
    loaded = Bundle.load(tmp_path / "model.safetensors")
    assert loaded.card.spec == ModelSpec(spark=True)
    assert loaded.model.window is None
    for side in (32, 70):
        image = torch.randn(2, 3, side, side, generator=seeded())
        assert torch.equal(loaded.model(image), network(image))
    assert type(skeleton(ModelSpec(), bands=3, classes=CLASSES)) is LightSegmenter


def test_a_memory_that_has_seen_crops_is_loaded_by_one_that_has_not():
    full, fresh = (drawn(AllSpark, light(), AllSparkSettings()).train() for _ in range(2))
    full(noise(0, side=32), START)
    fresh.load_state_dict(full.state_dict(), strict=True)
    assert fresh.memory.kept.any()
    assert torch.equal(fresh.memory.kept, full.memory.kept)
    assert fresh(noise(1, side=32), LATE) == full(noise(1, side=32), LATE)
    with pytest.raises(RuntimeError, match="size mismatch for kept"):
        ChannelMemory(CLASSES + 1, 128).load_state_dict(full.memory.state_dict())


def test_crops_of_another_size_start_a_new_memory():
    method = drawn(AllSpark, light(), AllSparkSettings()).train()
    for side in (32, 50):  # 50 is no multiple of the stride
        assert method(noise(0, side=side), LATE)["supervised"].isfinite()
    assert method.memory.kept.shape == (CLASSES, 128, 16)


def test_a_network_without_feature_maps_is_refused():
    with pytest.raises(InputError, match="`allspark` rebuilds feature maps"):
        AllSpark(Witness(widths=()), AllSparkSettings())
