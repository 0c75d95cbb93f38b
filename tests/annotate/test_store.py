"""Answers on disk: whole lines or none, whatever a kill, a disk or a person did to the file."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosemi.annotate.speaker import Reply
from geosemi.annotate.store import AnswerStore

REPLIES = [Reply("[]", cut=False, seen=(4, 5)), Reply("é \ufffd \n\x00", cut=True, seen=(1, 1), tokens_in=7)]


def filled(path: Path) -> bytes:
    with AnswerStore(path) as store:
        for number, reply in enumerate(REPLIES):
            store.put(f"key {number}", reply, {"scene": "a.tif"})
    return path.read_bytes()


def test_answers_come_back(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    content = filled(path)
    with AnswerStore(path) as store:
        assert [store.get(f"key {n}") for n in range(3)] == [*REPLIES, None]
        assert "key 1" in store
        assert "key 2" not in store
        store.put("key 2", REPLIES[0], {})
        assert store.get("key 1") == REPLIES[1]
    assert path.read_bytes().startswith(content)
    assert json.loads(content.splitlines()[0])["scene"] == "a.tif"


def test_half_characters_of_an_older_store_are_read_as_replaced_ones(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"key":"k","answer":"a \\ud800 \\udc00 \\ud83c\\udf33","seen":[1,2]}\n')
    with AnswerStore(path) as store:
        assert store.get("k").text == "a \ufffd \ufffd \U0001f333"


def test_a_file_that_was_cut_anywhere_keeps_its_whole_lines(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    content = filled(path)
    first = content.index(b"\n") + 1
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with AnswerStore(path) as store:
            assert ("key 0" in store) == (length >= first)
            assert "key 1" not in store
            store.put("key 1", REPLIES[1], {"scene": "a.tif"})
        with AnswerStore(path) as store:
            assert ("key 0" in store) == (length >= first)
            assert store.get("key 1") == REPLIES[1]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{}", b"[]", b"null", b"nonsense", b"\xff\xfe", b'{"key": 1, "answer": "x", "seen": [1, 2]}',
        b'{"key": "key 0", "seen": [1, 2]}', b'{"key": "key 0", "answer": "x", "seen": [1, "2"]}',
        b'{"key": "key 0", "answer": "x", "seen": [0, 0]}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_line_that_somebody_spoilt_is_asked_again(tmp_path: Path, line: bytes):
    path = tmp_path / "answers.jsonl"
    second = filled(path).splitlines(keepends=True)[1]
    path.write_bytes(line + b"\n" + second)
    with AnswerStore(path) as store:
        assert "key 0" not in store
        assert store.get("key 1") == REPLIES[1]


@given(st.binary(max_size=300))
def test_any_file_opens(tmp_path: Path, content: bytes):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with AnswerStore(path) as store:
        store.put("k", REPLIES[0], {})
        assert store.get("k") == REPLIES[0]
