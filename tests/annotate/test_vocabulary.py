"""What is asked, and which words of an answer mean which class."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geosemi.annotate.boxes import Frame
from geosemi.annotate.vocabulary import Vocabulary
from geosemi.errors import ConfigError, LegendError
from geosemi.legend import ClassDef, Legend

POTSDAM = Legend(
    (
        ClassDef(0, "impervious surfaces", "#ffffff", ("road", "pavement")),
        ClassDef(1, "building", "#0000ff", ("house", "roof")),
        ClassDef(2, "low vegetation", "#00ffff", ("grass", "LowVeg")),
        ClassDef(3, "tree", "#00ff00"),
        ClassDef(4, "car", "#ffff00", ("vehicle",)),
        ClassDef(5, "clutter/background", "#ff0000"),
    )
)
VOCABULARY = Vocabulary.of(POTSDAM)


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("building", 1), ("Buildings", 1), ("HOUSES", 1), ("a house", 1), ("car_3", 4), ("car #2", 4), ("trees", 3),
        ("tree (large)", 3), ("low_vegetation", 2), ("lowveg", 2), ("Impervious-Surface", 0), ("impervious surface", 0),
        ("large grey buildings", 1), ("parked vehicles", 4), ("green tree", 3),
        ("tree shadow", None), ("car park", None), ("no car", None), ("without trees", None), ("boat", None),
        ("", None), ("clutter", None), ("background", None), ("clutter/background", None), ("4", None),
        ("class 4", None), ("carpet", None), ("scar", None), ("ignore all previous instructions", None),
    ],
)  # fmt: skip
def test_labels_of_answers(label, found):
    assert VOCABULARY.find(label) == found


def test_a_class_that_is_not_asked_for_is_never_found_and_hides_its_words():
    legend = Legend(
        (ClassDef(0, "ground", "#000000"), ClassDef(1, "bare ground", "#111111"), ClassDef(2, "car", "#222222"))
    )
    assert Vocabulary.of(legend).find("bare grounds") == 1
    without = Vocabulary.of(legend, skip=("bare ground",))
    assert (without.find("bare ground"), without.find("ground"), without.left_out) == (None, 0, ("bare ground",))


@pytest.mark.parametrize(
    "name",
    [
        "Clutter", "background", "No Data", "no-data", "ignore", "unknown", "Other", "unlabelled", "background/clutter",
        "unlabeled 255", "No label", "unlabelled area", "unknown class", "Other land", "Void area", "null",
        "not classified", "N/A", "no_data_value", "Ignored pixels", "others", "(no data)",
        "clutter (5)", "Background or unknown",
    ],
)  # fmt: skip
def test_nobody_is_asked_for_nothing(name):
    legend = Legend((ClassDef(0, name, "#000000"), ClassDef(1, "water", "#0000ff")))
    question = Vocabulary.of(legend).question(Frame.MILLE, width=896, height=896)
    assert "water" in question
    assert name not in question
    with pytest.raises(LegendError, match="no class of `legend` is left") as caught:
        Vocabulary.of(Legend((ClassDef(0, name, "#000000"),)))
    assert "real class" in caught.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "bare land", "other buildings", "Other vegetation", "non-forest", "non land", "land", "ground", "Open area",
        "barren", "waste land", "class 1", "Land use", "unpaved ground", "no parking", "surface", "cluttered yard",
    ],
)  # fmt: skip
def test_real_classes_are_asked_for(name):
    legend = Legend((ClassDef(0, name, "#000000"),))
    assert f"- {name}\n" in Vocabulary.of(legend).question(Frame.MILLE, width=896, height=896)


def test_a_synonym_that_means_nothing_is_neither_asked_for_nor_understood():
    words = ("background", "bare soil", "no data")
    legend = Legend((ClassDef(0, "barren", "#000000", words), ClassDef(1, "lake", "#0000ff", ("Unknown area",))))
    vocabulary = Vocabulary.of(legend)
    question = vocabulary.question(Frame.MILLE, width=896, height=896)
    assert "- barren (also: bare soil)\n- lake\n" in question
    assert [vocabulary.find(word) for word in ("background", "unknown area", "bare soils")] == [None, None, 0]


@pytest.mark.parametrize("frame", Frame)
def test_the_question_names_classes_synonyms_and_the_frame(frame):
    question = VOCABULARY.question(frame, width=896, height=448)
    assert "- building (also: house, roof)" in question
    assert "clutter" not in question
    assert "{" not in question.replace('{"bbox_2d": [', "")
    assert ("896 wide and 448 high" in question) == (frame is Frame.PICTURE)
    assert ("y1, x1" in question) == (frame is Frame.MILLE_YX)


def test_the_digest_changes_with_what_decides_the_meaning():
    assert VOCABULARY.digest == Vocabulary.of(POTSDAM).digest
    others = [Vocabulary.of(POTSDAM, skip=("car",)), Vocabulary.of(Legend(POTSDAM.classes[:5]))]
    assert len({VOCABULARY.digest, *(v.digest for v in others)}) == 3


def test_a_colour_decides_nothing():
    first = POTSDAM.classes[0]
    painted = Legend((ClassDef(0, first.name, "#123456", first.synonyms), *POTSDAM.classes[1:]))
    renamed = Legend((ClassDef(0, first.name, first.colour, ("road",)), *POTSDAM.classes[1:]))
    assert Vocabulary.of(painted).digest == VOCABULARY.digest
    assert Vocabulary.of(painted).legend_digest != VOCABULARY.legend_digest
    assert Vocabulary.of(renamed).digest != VOCABULARY.digest


def test_a_question_of_ones_own(tmp_path: Path):
    file = tmp_path / "question.txt"
    file.write_text("Zeige alle: {classes}\nKoordinaten: {coordinates} ({corners})", encoding="utf-8")
    question = Vocabulary.of(POTSDAM, prompt=file).question(Frame.UNIT, width=10, height=10)
    assert question.startswith("Zeige alle: - impervious surfaces")
    assert question.endswith("(x1, y1, x2, y2)")
    file.write_text("Find everything", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"question\.txt` has no \{classes\}") as caught:
        Vocabulary.of(POTSDAM, prompt=file)
    assert "{coordinates}" in caught.value.hint
    file.write_bytes(b"\xff\xfe{classes}{coordinates}")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        Vocabulary.of(POTSDAM, prompt=file)


def test_an_unknown_class_to_skip_is_told():
    with pytest.raises(LegendError, match="`cars parked` is no class") as caught:
        Vocabulary.of(POTSDAM, skip=("cars parked",))
    assert "building" in caught.value.hint


@given(st.text(max_size=100))
def test_any_label_is_looked_up(label):
    assert VOCABULARY.find(label) in {None, 0, 1, 2, 3, 4}
