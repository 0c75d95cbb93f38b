"""Qwen-VL models of their real classes, tiny and random, or taught a single answer."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models
from tiny_models import one_thread  # noqa: F401 - a fixture

from geosemi.annotate.boxes import Frame
from geosemi.annotate.qwen import QwenSpeaker, load_qwen
from geosemi.annotate.speaker import Query
from geosemi.errors import ConfigError, WeightsUnavailable

KINDS = {"qwen2_vl": (Frame.MILLE, 28), "qwen2_5_vl": (Frame.SEEN, 28), "qwen3_vl": (Frame.MILLE, 32)}
RNG = np.random.default_rng(0)
QUERIES = [
    Query(RNG.integers(0, 255, shape, dtype=np.uint8), question)
    for shape, question in (((100, 140, 3), "Where?"), ((60, 140, 3), "Where is the rest of them?"), ((64, 64, 3), "?"))
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_what_each_alone_gives(kind: str):
    """Padding on the left and pictures of other sizes do not change an answer."""
    speaker = QwenSpeaker(*tiny_models.qwen(kind), name="tiny", max_tokens=12, batch=3)
    assert (speaker.frame, speaker.multiple) == KINDS[kind]
    together = speaker.ask(QUERIES)
    assert together == [speaker.ask([query])[0] for query in QUERIES]
    assert all(reply.tokens_out == 12 and reply.cut for reply in together)
    for reply, query in zip(together, QUERIES, strict=True):
        # as the processor resized it: multiples of what it takes, within half of one
        assert all(side % speaker.multiple == 0 for side in reply.seen)
        assert all(abs(a - b) <= speaker.multiple / 2 for a, b in zip(reply.seen, query.rgb.shape, strict=False))


def test_a_large_picture_is_resized_and_the_reply_says_to_what():
    model, processor = tiny_models.qwen("qwen2_5_vl")
    speaker = QwenSpeaker(model, processor, name="tiny", max_tokens=2)
    (reply,) = speaker.ask([Query(np.zeros((518, 518, 3), np.uint8), "Where?")])
    assert reply.seen == (112, 112)  # the processor of the test takes up to 128² pixels, in multiples of 28


def test_an_answer_ends_where_the_model_ends_it():
    model, processor = tiny_models.qwen("qwen2_5_vl")
    text = "tree: [1, 2, 30, 40]"
    assert tiny_models.teach(model, processor, "Where?", text, (56, 56)) < 0.1
    speaker = QwenSpeaker(model, processor, name="tiny", max_tokens=60)
    queries = [Query(np.full((56, 56, 3), v, np.uint8), "Where?") for v in (10, 90)]
    replies = speaker.ask(queries)
    assert [(r.text, r.cut, r.tokens_out) for r in replies] == [(text, False, len(text) + 1)] * 2
    (short,) = QwenSpeaker(model, processor, name="tiny", max_tokens=8).ask(queries[:1])
    assert (short.text, short.cut) == (text[:8], True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_is_loaded_from_its_folder(kind: str, tmp_path: Path):
    folder = tiny_models.saved_qwen(tmp_path / "tiny", kind)
    loaded = load_qwen(str(folder), device="cpu", max_tokens=6, revision="abc")
    made = QwenSpeaker(*tiny_models.qwen(kind), name="tiny", max_tokens=6)
    assert loaded.ask(QUERIES[:1]) == made.ask(QUERIES[:1])
    assert loaded.identity == {
        "provider": "qwen", "model": str(folder), "revision": "abc",
        "decoding": {"greedy": True, "max_tokens": 6, "dtype": "float32"},
    }  # fmt: skip


def test_models_that_are_none(tmp_path: Path):
    with pytest.raises(WeightsUnavailable, match="`nobody/none` cannot be loaded") as caught:
        load_qwen("nobody/none", device="cpu")
    assert "hf download" in caught.value.hint
    model, processor = tiny_models.sam("sam")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="is a `sam`, no Qwen-VL model") as other:
        load_qwen(str(tmp_path), device="cpu")
    assert "--model" in other.value.hint
    with pytest.raises(ConfigError, match="`--four-bit` needs a CUDA GPU"):
        load_qwen(str(tmp_path), device="cpu", four_bit=True)


def test_a_model_of_unknown_frame_is_refused():
    model, processor = tiny_models.qwen("qwen3_vl")
    model.config.model_type = "qwen9_vl"
    with pytest.raises(ConfigError, match="not known what its boxes mean") as caught:
        QwenSpeaker(model, processor, name="tiny")
    assert "--provider openai" in caught.value.hint
