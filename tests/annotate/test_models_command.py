"""`geosemi annotate` with models: tiny ones of the real classes on this machine, and a server on loopback."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from chat_server import HEIGHT, LEGEND, WIDTH, Call, chat_server, completion, painted
from ground import NORTH_UP, UTM
from tiny_models import one_thread  # noqa: F401 - a fixture

from geosemi.annotate.boxes import Frame
from geosemi.annotate.vocabulary import Vocabulary
from geosemi.cli import main as cli
from geosemi.geo.grid import Grid
from geosemi.geo.opinion import reading_opinion

GRID = Grid(UTM, NORTH_UP, HEIGHT, WIDTH)


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["geosemi", *map(str, words)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a painted scene and its legend."""
    painted(tmp_path / "scene.tif")
    lines = [f'  - {{id: {c.id}, name: {c.name}, colour: "{c.colour}"}}' for c in LEGEND]
    (tmp_path / "legend.yaml").write_text("classes:\n" + "\n".join(lines) + "\n")
    return tmp_path


def words(place: Path, *more: object) -> list[object]:
    return ["annotate", place / "scene.tif", "--legend", place / "legend.yaml", "--out", place / "opinions", *more]


def records(place: Path) -> list[dict]:
    return [json.loads(line) for line in (place / "opinions" / "scene.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "segmenter"), [("qwen2_vl", "sam"), ("qwen2_5_vl", "sam2"), ("qwen3_vl", "sam3_tracker")]
)
def test_random_models_through_the_whole_command(
    kind: str, segmenter: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    """Random weights say nothing that means a class; everything else is the real code path."""
    tiny_models.saved_qwen(place / "vlm", kind)
    model, processor = tiny_models.sam(segmenter)
    model.save_pretrained(place / "sam")
    processor.save_pretrained(place / "sam")
    code = call(
        monkeypatch, *words(place, "--provider", "qwen", "--model", place / "vlm", "--refine", place / "sam"),
        "--tile", 400, "--picture", 224, "--max-tokens", 4, "--batch", 3, "--device", "cpu",
    )  # fmt: skip
    said = capfd.readouterr()
    assert code == 0, said.err
    assert "Traceback" not in said.err
    assert "the opinion is silence" in said.err
    lines = records(place)[:-1]
    assert len(lines) == 2 * 3
    frame = "seen" if kind == "qwen2_5_vl" else "mille"
    assert {(r["provider"], r["frame"], r["refiner"]) for r in lines} == {("qwen", frame, "sam")}
    assert {r["tokens"][1] for r in lines} == {4}
    with reading_opinion(place / "opinions" / "scene.tif", GRID, LEGEND) as reader:
        assert not reader.read(GRID.window).any()


def test_a_taught_model_and_a_segmenter_through_the_whole_command(place: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """A tiny Qwen2.5-VL says one box in pixels of its own resized picture; SAM makes masks of it on every tile."""
    (place / "question.txt").write_text("Where? {classes} {coordinates}")
    vocabulary = Vocabulary.of(LEGEND, prompt=place / "question.txt")
    # the command sends 224²; the processor of the test takes 128² at most: the model sees 112²
    question = vocabulary.question(Frame.SEEN, width=224, height=224).replace(" (also: street)", "")
    text = '[{"bbox_2d": [28, 14, 84, 56], "label": "tree"}]'
    tiny_models.saved_qwen(place / "vlm", "qwen2_5_vl", question, text, (224, 224))
    arguments = [
        "--provider", "qwen", "--model", place / "vlm", "--tile", 512, "--overlap", 64, "--picture", 224,
        "--max-tokens", 80, "--prompt", place / "question.txt", "--device", "cpu",
    ]  # fmt: skip
    code = call(monkeypatch, *words(place, *arguments, "--refine", "none"))
    said = capfd.readouterr()
    assert code == 0, said.err
    lines = records(place)[:-1]
    assert {r["answer"] for r in lines} == {text}
    assert {tuple(r["seen"]) for r in lines} == {(112, 112)}
    # a quarter to three quarters of the tile's width, an eighth to a half of its height
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for row in (0, 108):
        for col in (0, 248):
            expected[row + 64 : row + 256, col + 128 : col + 384] = True
    with reading_opinion(place / "opinions" / "scene.tif", GRID, LEGEND) as reader:
        seen = reader.read(GRID.window)
    assert np.array_equal(seen[1], expected)
    assert not seen[[0, 2]].any()

    model, processor = tiny_models.sam("sam")
    model.save_pretrained(place / "sam")
    processor.save_pretrained(place / "sam")
    before = (place / "opinions" / "answers.jsonl").read_bytes()
    code = call(monkeypatch, *words(place, *arguments, "--refine", place / "sam", "--overwrite"))
    said = capfd.readouterr()
    assert code == 0, said.err
    assert (place / "opinions" / "answers.jsonl").read_bytes() == before  # nobody was asked again
    assert all(isinstance(box["score"], float) for r in records(place)[:-1] for box in r["boxes"])
    with reading_opinion(place / "opinions" / "scene.tif", GRID, LEGEND) as reader:
        refined = reader.read(GRID.window)
    assert refined[1].any()
    assert not np.array_equal(refined[1], expected)
    assert not [p for p in (place / "opinions").iterdir() if p.name.startswith(".")]


def test_a_server_from_the_terminal(place: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.setenv("MY_KEY", "secret-key")

    def behave(call: Call) -> None:
        call.send(429, b"", Retry_After="0") if call.number == 2 else call.see(form="fenced", mille=True)

    with chat_server(behave) as chat:
        server = ["--provider", "openai", "--url", chat.url, "--model", "qwen3-vl", "--key-env", "MY_KEY"]
        asked = words(place, *server, "--refine", "none", "--tile", 256, "--picture", 448, "--price", "1,2")
        assert call(monkeypatch, *asked, "--dry-run") == 0
        said = capfd.readouterr()
        assert "12 to ask, 0 answered before" in said.out
        assert "for 1,000 km²" in said.out
        assert (chat.requests, (place / "opinions").exists()) == ([], False)
        assert call(monkeypatch, *asked, "--max-requests", 5) == 5
        assert "all 5 requests of `--max-requests` are used" in capfd.readouterr().err
        assert call(monkeypatch, *asked) == 0
        said = capfd.readouterr()
        assert "qwen3-vl, boxes filled" in said.err
        assert len(chat.requests) == 13
        assert {h["Authorization"] for h in chat.headers} == {"Bearer secret-key"}
        assert call(monkeypatch, *asked, "--dry-run") == 0
        assert "0 to ask, 12 answered before" in capfd.readouterr().out
        assert call(monkeypatch, *asked) == 4
        assert "exists" in capfd.readouterr().err
        painted(place / "other.tif")
        both = [asked[0], place / "other.tif", *asked[1:], "--dry-run"]
        assert call(monkeypatch, *both) == 0
        said = capfd.readouterr()
        assert "kept     scene has an opinion" in said.err
        assert "0 to ask, 12 answered before" in said.out  # of the other one, whose pixels are the same
        assert call(monkeypatch, *both, "--overwrite") == 0
        assert "0 to ask, 24 answered before" in capfd.readouterr().out
    for path in (place / "opinions").iterdir():
        assert b"secret-key" not in path.read_bytes()


def test_counting_for_a_model_on_this_machine_says_what_it_cannot_count(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd
):
    assert call(monkeypatch, *words(place, "--tile", 256, "--dry-run")) == 0
    assert "12 to ask, those answered before included, 0 all nodata" in capfd.readouterr().out


def test_half_characters_of_an_answer_do_not_stop_a_scene(place: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """JSON may hold `\\ud800` alone, which no file in UTF-8 can; also from a store that an older run wrote."""
    text = '[{"bbox_2d": [100, 100, 400, 400], "label": "tree"}] \ud800'
    with chat_server(lambda call: call.send(200, completion(text))) as chat:
        server = ["--provider", "openai", "--url", chat.url, "--model", "qwen3-vl"]
        asked = words(place, *server, "--refine", "none")
        assert call(monkeypatch, *asked) == 0, capfd.readouterr().err
        assert {r["answer"][-1] for r in records(place)[:-1]} == {"\ufffd"}
        store = place / "opinions" / "answers.jsonl"
        kept = store.read_bytes()
        store.write_bytes(kept.replace(b"\\ufffd", b"\\ud800"))
        assert store.read_bytes() != kept
        count = len(chat.requests)
        assert call(monkeypatch, *asked, "--overwrite") == 0, capfd.readouterr().err
        assert len(chat.requests) == count
    assert {r["answer"][-1] for r in records(place)[:-1]} == {"\ufffd"}


def test_interrupted_by_ctrl_c(place: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    def behave(call: Call) -> None:
        if call.number == 4:
            os.kill(os.getpid(), signal.SIGINT)
        call.see(form="json", mille=True)

    with chat_server(behave) as chat:
        server = ["--provider", "openai", "--url", chat.url, "--model", "qwen3-vl", "--workers", 1]
        asked = words(place, *server, "--refine", "none", "--tile", 256, "--picture", 448)
        assert call(monkeypatch, *asked) == 130
        said = capfd.readouterr()
        assert "answers so far are kept" in said.err
        asked_before = len(chat.requests)
        assert asked_before < 12
        assert call(monkeypatch, *asked) == 0
        assert len(chat.requests) == 12


def test_ctrl_c_does_not_wait_for_a_server_that_is_down(place: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    def behave(call: Call) -> None:
        call.send(503, b"", Retry_After="50")
        if call.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    begun = time.monotonic()
    with chat_server(behave) as chat:
        server = ["--provider", "openai", "--url", chat.url, "--model", "qwen3-vl", "--workers", 2]
        assert call(monkeypatch, *words(place, *server, "--refine", "none", "--tile", 256, "--picture", 448)) == 130
    assert time.monotonic() - begun < 20
    assert "answers so far are kept" in capfd.readouterr().err
    assert len(chat.requests) == 2


@pytest.mark.parametrize(
    ("more", "code", "cause"),
    [
        (["--provider", "openai"], 2, "needs the name of a model"),
        (["--provider", "openai", "--model", "llava"], 2, "not known what the boxes of `llava` mean"),
        (["--provider", "openai", "--model", "qwen3-vl", "--price", "much"], 2, "`--price much` is no price"),
        (["--provider", "openai", "--model", "qwen3-vl", "--budget", "3"], 2, "`--budget` needs prices"),
        (["--provider", "openai", "--model", "qwen3-vl", "--tile", "100"], 2, "`--overlap` is wrong"),
        (["--provider", "openai", "--model", "qwen3-vl", "--bands", "1,9"], 3, "has the bands"),
        (["--provider", "openai", "--model", "qwen3-vl", "--skip", "lava"], 3, "`lava` is no class"),
        (["--provider", "qwen", "--model", "nobody/none"], 3, "`nobody/none` cannot be loaded"),
        (["--provider", "layer", "--layer", "x.tif", "--dry-run"], 2, "nobody is asked by `layer`"),
    ],
)
def test_wrong_words(place: Path, monkeypatch: pytest.MonkeyPatch, capfd, more, code, cause):
    assert call(monkeypatch, *words(place, "--refine", "none", *more)) == code
    assert cause in capfd.readouterr().err
    assert not (place / "opinions" / "scene.tif").exists()
