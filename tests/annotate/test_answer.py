"""Answers of models: a corpus of what they really write, and whatever else a text can be."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosemi.annotate.answer import MAX_CLAIMS, MAX_LABEL, MAX_TEXT, Answer, Claim, clean_label, parse_answer

CAR, ROOF = Claim("car", (10, 20, 30, 40)), Claim("building", (5.5, 6, 70, 80))
QWEN = '[\n\t{"bbox_2d": [10, 20, 30, 40], "label": "car"},\n\t{"bbox_2d": [5.5, 6, 70, 80], "label": "building"}\n]'
CORPUS = sorted((Path(__file__).parent / "answers").glob("*.txt"))  # each answer says CAR and ROOF
LINES = {"lines", "bullets", "headings", "qwen-vl", "qwen2-vl", "table"}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_form_that_models_use(path: Path):
    answer = parse_answer(path.read_text(encoding="utf-8"))
    assert answer.claims == (CAR, ROOF)
    assert (answer.truncated, answer.unusable) == (False, 0)
    assert answer.form == ("lines" if path.stem in LINES else "json")


@pytest.mark.parametrize("end", range(1, len(QWEN)))
def test_an_answer_that_was_cut_off_keeps_its_complete_objects(end: int):
    first, second = QWEN.index("}"), QWEN.rindex("}")
    answer = parse_answer(QWEN[:end])
    assert answer.claims == ((CAR,) if first < end else ()) + ((ROOF,) if second < end else ())
    assert answer.truncated


def test_several_boxes_share_a_name_on_a_line():
    answer = parse_answer("car: [1, 2, 3, 4], [5, 6, 7, 8]; tree: [9, 10, 11, 12]")
    assert [claim.label for claim in answer.claims] == ["car", "car", "tree"]


@pytest.mark.parametrize("before", ['{"thought": "ok"}\n', '```json\n{"a": {"b": "}"}}\n```\n', "[]\n", "{'a': 1} "])
def test_an_object_without_boxes_does_not_hide_lines(before: str):
    answer = parse_answer(before + "car: [10, 20, 30, 40]\nbuilding: [5.5, 6, 70, 80]\n")
    assert (answer.claims, answer.form, answer.nothing) == ((CAR, ROOF), "lines", False)


def test_lines_of_an_object_are_not_read_as_lines():
    assert parse_answer('{"at": 1,\n"size": 2}\nroof: {"a":\n b: [1, 2, 3, 4]').claims == ()


@pytest.mark.parametrize(
    ("text", "unusable"),
    [
        ("", 0),
        ("[]", 0),
        ("```json\n[]\n```", 0),
        ("I cannot see any of these classes.", 0),
        ("I'm sorry, but I can't help with that.", 0),
        ('{"error": "overloaded"}', 1),
        ('[{"label": "car"}]', 1),
        ('[{"bbox_2d": [1, 2, 3, 4]}]', 1),
        ('[{"bbox_2d": [1, 2, 3], "label": "car"}]', 1),
        ('[{"bbox_2d": [1, 2, 3, NaN], "label": "car"}]', 1),
        ('[{"bbox_2d": [1, 2, 3, 1e400], "label": "car"}]', 1),
        ('[{"bbox_2d": [1, 2, 3, true], "label": "car"}]', 1),
        ('[{"bbox_2d": [1, 2, 3, null], "label": "car"}]', 1),
        ('[{"bbox_2d": [1, 2, 3, %s], "label": "car"}]' % ("9" * 5000), 0),  # longer than any object
        ('[{"bbox_2d": [1, 2, 3, %s], "label": "car"}]' % ("9" * 3000), 1),
        ('[{"point_2d": [15, 30], "label": "car"}]', 1),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "\\u0000\\n"}]', 1),
        ("<think>car: [1, 2, 3, 4]", 0),
    ],
)  # fmt: skip
def test_what_says_nothing(text: str, unusable: int):
    answer = parse_answer(text)
    assert (answer.claims, answer.form, answer.unusable) == ((), "none", unusable)
    assert answer.truncated == text.startswith("<think>")


HOSTILE = {
    "nested lists": "[" * MAX_TEXT,
    "nested objects": '{"a":' * (MAX_TEXT // 5),
    "brackets in turn": "[{" * (MAX_TEXT // 2),
    "quotes": '{"' * (MAX_TEXT // 2),
    "backslashes": '{"' + "\\" * MAX_TEXT,
    "digits": "car: [" + "1" * MAX_TEXT,
    "numbers": "car: [" + "1, " * (MAX_TEXT // 3),
    "blanks": "car: [1," + " " * MAX_TEXT,
    "tags": "<" * MAX_TEXT,
    "pipes": "|" * MAX_TEXT,
    "rows": "| a | 1 | 2 | 3 " * (MAX_TEXT // 16),
    "dots": "car" + "." * MAX_TEXT + ": [1, 2, 3, 4]",
    "lines": "a\n" * (MAX_TEXT // 2),
    "thoughts": "<think>" * (MAX_TEXT // 7),
    "too long": "a" * (10 * MAX_TEXT),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_texts_take_no_longer_than_others(kind: str):
    begun = time.process_time()
    assert len(parse_answer(HOSTILE[kind]).claims) <= 1
    assert time.process_time() - begun < 2  # 0.02 to 0.2 s here; a walk that is quadratic in it takes minutes


def test_the_corpus_is_there():
    assert len(CORPUS) > 20


def test_a_model_that_repeats_itself_is_stopped():
    answer = parse_answer("[" + '{"bbox_2d": [10, 20, 30, 40], "label": "car"},' * 3000)
    assert len(answer.claims) == MAX_CLAIMS
    assert answer.truncated


def test_objects_too_deep_are_not_looked_at():
    deep = "[" * 11 + '{"bbox_2d": [10, 20, 30, 40], "label": "car"}' + "]" * 11
    assert parse_answer(deep).claims == (CAR,)
    assert parse_answer(f"[[{deep}]]").claims == ()


def test_labels_are_short_printable_words():
    assert clean_label(' **"Low\tvegetation"** : ') == "Low vegetation"
    assert clean_label("\x1b[31mcar\x00") == "31mcar"
    assert len(clean_label("x" * 10_000)) == MAX_LABEL


PIECES = st.sampled_from(
    ["{", "}", "[", "]", '"', "'", ":", ",", "\\", "\n", "```json", "<think>", "</think>", "<box>", "|", "(", ")", "-",
     '"bbox_2d"', '"label"', "car", "1", "2.5", "-3", "1e9", "NaN", " ", "é", "\u202e"]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=4), max_size=60).map("".join) | st.text(max_size=300))
def test_any_text_is_an_answer(text: str):
    answer = parse_answer(text)
    assert isinstance(answer, Answer)
    for claim in answer.claims:
        assert 0 < len(claim.label) <= MAX_LABEL
        assert claim.label.isprintable()
        assert all(abs(number) < 1e9 for number in claim.numbers)


NUMBERS = st.tuples(*[st.integers(-2000, 4000) | st.floats(-2000, 4000).map(lambda x: round(x, 3))] * 4)
WORDS = st.from_regex(r"[a-zäöü][a-zäöü ]{0,20}[a-zäöü]", fullmatch=True)
CLAIMS = st.lists(st.tuples(WORDS, NUMBERS), max_size=20)


@given(CLAIMS, st.sampled_from([None, 0, 2]), st.booleans())
def test_what_is_written_as_json_is_read_back(claims, indent, fenced):
    text = json.dumps([{"bbox_2d": list(n), "label": w} for w, n in claims], indent=indent, ensure_ascii=indent == 0)
    answer = parse_answer(f"```json\n{text}\n```" if fenced else text)
    assert [(c.label, c.numbers) for c in answer.claims] == [(" ".join(w.split()), n) for w, n in claims]
    assert not answer.truncated


@given(CLAIMS)
def test_what_is_written_as_lines_is_read_back(claims):
    text = "\n".join(f"{w}: [{', '.join(map(str, n))}]" for w, n in claims)
    assert [(c.label, c.numbers) for c in parse_answer(text).claims] == [(" ".join(w.split()), n) for w, n in claims]
