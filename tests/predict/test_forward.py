"""One forward pass: logits of tiles, the same for every batch, and a batch that shrinks when memory runs out."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from fakes import CountingSegmenter, EdgeSegmenter, TinySegmenter, bundle_of
from hypothesis import given
from hypothesis import strategies as st

from geosemi.errors import ConfigError, ResourceError
from geosemi.geo.scene import Tile
from geosemi.geo.window import Window
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.predict.batching import MAX_BATCH, batch_that_fits, fitting, lacks_memory
from geosemi.predict.forward import Forward, choose_device, ready

CPU = torch.device("cpu")


def tiles_of(count, *, height=32, width=32, bands=3, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    return [
        Tile(
            rng.integers(0, 255, (bands, height, width)).astype(dtype),
            np.ones((height, width), bool),
            Window(0, number * width, height, width),
        )
        for number in range(count)
    ]


def by_hand(model, tile):
    """The logits of one tile, worked out without any of our machinery."""
    with torch.no_grad():
        return model((torch.from_numpy(tile.image.astype(np.float32))[None] - 100) / 50)[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(32, 32), (1, 32), (31, 7)])
def test_logits_are_those_of_the_normalised_tile(dtype, shape):
    model = EdgeSegmenter()
    tiles = tiles_of(3, height=shape[0], width=shape[1], dtype=dtype)
    with ready(bundle_of(model), CPU, batch=None, shape=shape, precision="fp32") as forward:
        logits = forward(tiles)
    assert (logits.shape, logits.dtype, logits.is_contiguous()) == ((3, 4, *shape), torch.float32, True)
    for tile, answer in zip(tiles, logits, strict=True):
        torch.testing.assert_close(answer, by_hand(model, tile), rtol=1e-5, atol=1e-5)


def test_an_answer_is_not_overwritten_by_the_next():
    class Echo(TinySegmenter):
        def forward(self, image):
            return image

    with ready(bundle_of(Echo(classes=3)), CPU, batch=None, shape=(32, 32), precision="fp32") as forward:
        one, two = tiles_of(2, dtype="float32")
        first = forward([one])
        kept = first.clone()
        forward([two])
    assert torch.equal(first, kept)


@pytest.mark.parametrize("name", ["light", "dinov2_small"])
def test_a_cpu_gives_the_same_bits_for_every_batch(name):
    # a vision transformer's matrix products round by the number of rows, so batches must not reach it on a CPU
    model = build_segmenter(ModelSpec(name=name, weights=None), bands=3, classes=4, seed=0)
    answers = []
    for batch in (1, 2, 3, None):
        with ready(bundle_of(model), CPU, batch=batch, shape=(32, 32), precision="fp32") as forward:
            answers.append(forward(tiles_of(4)))
    assert all(torch.equal(answers[0], other) for other in answers[1:])


def test_the_network_comes_back_as_it_was():
    model = TinySegmenter()
    bundle = bundle_of(model)
    model.train()
    model.classify.eval()
    with ready(bundle, CPU, batch=1, shape=(32, 32), precision="fp32"):
        assert not model.training
    assert (model.training, model.classify.training) == (True, False)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_answers_in_float32_and_almost_the_same(precision):
    model, tiles = EdgeSegmenter(), tiles_of(1)
    with ready(bundle_of(model), CPU, batch=1, shape=(32, 32), precision=precision) as forward:
        logits = forward(tiles)
    wanted = by_hand(model, tiles[0])[None]
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, wanted)
    assert (logits - wanted).abs().max() < 0.03 * wanted.abs().max()


# --- memory -----------------------------------------------------------------------------------------------------------


class Narrow(CountingSegmenter):
    """Has memory for a few tiles only."""

    def __init__(self, most):
        super().__init__(on_batch=self.refuse)
        self.most = most

    def refuse(self, image):
        if len(image) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def forward_of(model, batch):
    """As on a GPU, where batches do reach the network."""
    return Forward(model, bundle_of(model).card, device=CPU, shape=(32, 32), batch=batch)


@given(most=st.integers(1, 9), batch=st.integers(1, 9), count=st.integers(1, 12))
def test_out_of_memory_halves_the_batch_and_loses_nothing(most, batch, count):
    model, tiles = Narrow(most), tiles_of(count)
    forward = forward_of(model, batch)
    logits = forward(tiles)
    torch.testing.assert_close(logits, forward_of(TinySegmenter(), 1)(tiles), rtol=1e-5, atol=1e-5)
    halved = [batch]
    while halved[-1] > most:
        halved.append(halved[-1] // 2)
    assert forward.batch == halved[-1]
    assert forward.notes == [f"out of memory at batch {a}; went on with {b}" for a, b in pairwise(halved)]
    model.batches.clear()
    forward(tiles)  # what was learnt stays: nothing too large is tried again
    assert {len(seen) for seen in model.batches} == {halved[-1]}


def test_too_little_memory_for_one_window_is_said_with_the_way_out():
    with pytest.raises(ResourceError, match="`cpu` has too little memory for a window of 32 × 32 pixels") as caught:
        forward_of(Narrow(0), 4)(tiles_of(1))
    assert "`--tile`" in caught.value.hint


def test_other_errors_of_the_network_are_not_taken_for_a_lack_of_memory():
    class Broken(TinySegmenter):
        def forward(self, image):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        forward_of(Broken(), 4)(tiles_of(4))


def test_the_allocator_of_the_cpu_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert lacks_memory(caught.value)
    assert not lacks_memory(RuntimeError("out of cheese"))


@given(free=st.integers(0, 2**40), each=st.integers(0, 2**36))
def test_a_batch_fits_and_twice_the_batch_would_not(free, each):
    batch = fitting(free, each)
    assert batch in {2**k for k in range(6)}
    assert batch == 1 or batch * each <= 0.7 * free
    assert batch == MAX_BATCH or 2 * batch * max(each, 1) > 0.7 * free - 1


def test_a_cpu_takes_one_window_at_a_time_without_being_tried():
    assert batch_that_fits(CPU, lambda: pytest.fail("no probe is needed")) == 1


# --- devices ----------------------------------------------------------------------------------------------------------


def test_auto_is_a_device_of_this_machine():
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == kind


@pytest.mark.parametrize("name", ["cuda:99", "cpu:1"])
def test_devices_that_are_not_here_are_refused(name):
    with pytest.raises(ConfigError, match=f"this machine has no device `{name}`") as caught:
        choose_device(name)
    assert "auto" in caught.value.hint


def test_words_that_are_no_device_are_refused():
    with pytest.raises(ConfigError, match="`gpu0` is no device") as caught:
        choose_device("gpu0")
    assert "cuda:0" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_buffers_that_overlap_with_computing_mix_nothing_up(dtype):
    model, tiles = EdgeSegmenter(), tiles_of(64, dtype=dtype)
    with ready(bundle_of(model), torch.device("cuda"), batch=None, shape=(32, 32), precision="fp32") as forward:
        assert forward.batch == MAX_BATCH
        forward.batch = 4
        answers = torch.cat([forward(tiles[at : at + 4]) for at in range(0, 64, 4)]).cpu()
    wanted = torch.stack([by_hand(model, tile) for tile in tiles])
    torch.testing.assert_close(answers, wanted, rtol=1e-2, atol=1e-2)
