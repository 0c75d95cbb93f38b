import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import legend_names

from geosemi.errors import ConfigError, LegendError
from geosemi.legend import MAX_CLASSES, ClassDef, Legend

COLOUR = "#2060c0"


def classes(*names: str) -> tuple[ClassDef, ...]:
    return tuple(ClassDef(k, name, COLOUR) for k, name in enumerate(names))


@st.composite
def legends(draw: st.DrawFn) -> Legend:
    names = draw(legend_names())
    colours = draw(st.lists(st.integers(0, 2**24 - 1), min_size=len(names), max_size=len(names)))
    offset = draw(st.sampled_from([0, 10, 100]))
    drawn = zip(names, colours, strict=True)
    made = tuple(ClassDef(k, n, f"#{c:06X}", (f"{n} too",), (k + offset,)) for k, (n, c) in enumerate(drawn))
    return Legend(made, ignore=draw(st.integers(200, 255)), name="drawn")


@given(legends())
def test_a_legend_survives_its_dictionary(legend: Legend):
    assert Legend.from_dict(legend.to_dict()) == legend
    assert len(legend) == len(list(legend)) == len(legend.names)


@given(legends())
def test_every_name_synonym_and_value_finds_its_class(legend: Legend):
    for c in legend:
        assert legend.find(f"  {c.name} ") is c
        assert legend.find(f"{c.name}_TOO") is c
        assert legend.find(c.name.swapcase()) in (c, None)  # casefold is not symmetric in every script
    assert legend.find("no such class") is None
    assert legend.find("") is None


def test_case_blanks_dashes_and_underscores_do_not_matter():
    legend = Legend((*classes("Low vegetation"), ClassDef(1, "Straße", COLOUR, synonyms=("road-way",), values=(40,))))
    for text in ("low_vegetation", "LOW  VEGETATION", " low-vegetation\n"):
        assert legend.find(text) is legend.classes[0]
    for text in ("STRASSE", "straße", "Road Way", "40"):
        assert legend.find(text) is legend.classes[1]
    assert legend.find("1") is None  # values stand in for the id


def test_values_are_the_id_unless_said_otherwise():
    assert ClassDef(3, "water", COLOUR).values == (3,)
    assert ClassDef(3, "water", COLOUR, values=(10, 11)).values == (10, 11)
    assert ClassDef(3, "water", "#2060C0").rgb == (0x20, 0x60, 0xC0)


def test_a_legend_from_yaml(tmp_path: Path):
    path = tmp_path / "legend.yaml"
    text = (
        "name: Küste\nignore: 200\nclasses:\n"
        '  - {id: 0, name: Wasser, colour: "#2060c0", synonyms: [sea, Meer]}\n'
        '  - {id: 1, name: "no", color: "#102030", values: [7, 9]}\n'
    )
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())  # as editors on Windows write it
    legend = Legend.load(path)
    assert (legend.name, legend.ignore, legend.names) == ("Küste", 200, ("Wasser", "no"))
    assert legend.find("MEER") is legend.classes[0]
    assert legend.find("9") is legend.classes[1]


def test_a_legend_without_name_does_not_carry_its_path_into_masks():
    assert (
        Legend.from_dict({"classes": [{"id": 0, "name": "a", "colour": COLOUR}]}, source="/home/x.yaml").name
        == "legend"
    )


def test_a_real_legend(shared: Path):
    legend = Legend.load(shared / "data" / "dubai" / "legend.yaml")
    assert legend.names == ("building", "land", "road", "vegetation", "water")


@pytest.mark.parametrize(
    ("name", "colour", "message", "hint"),
    [
        ("", COLOUR, "class 0 has no readable name", "give every class a `name`"),
        ("  ", COLOUR, "class 0 has no readable name", "give every class a `name`"),
        ("a\x1b[31m", COLOUR, "class 0 has no readable name", "give every class a `name`"),
        ("water", "blue", "class `water` has the colour `blue`", 'write colours as "#rrggbb", in quotes'),
        ("water", "#fff", "class `water` has the colour `#fff`", 'write colours as "#rrggbb", in quotes'),
        ("water", "#2060c0 ", "class `water` has the colour `#2060c0 `", 'write colours as "#rrggbb", in quotes'),
    ],
)
def test_faults_of_a_class(name: str, colour: str, message: str, hint: str):
    with pytest.raises(LegendError, match=re.escape(message)) as caught:
        ClassDef(0, name, colour)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("made", "ignore", "message", "hint"),
    [
        ((), 255, "has 0 classes", "1 to 32 classes"),
        (classes(*map(str, range(MAX_CLASSES + 1))), 255, "has 33 classes", "1 to 32 classes"),
        ((ClassDef(1, "a", COLOUR),), 255, "has the class ids [1]", "number classes 0, 1, 2"),
        ((ClassDef(1, "a", COLOUR), ClassDef(0, "b", COLOUR)), 255, "has the class ids [1, 0]", "values: [10, 11]"),
        (classes("water", "Water"), 255, "uses a name twice", "must differ"),
        (classes("low veg", "low_veg"), 255, "uses a name twice", "must differ"),  # `find` could not tell them apart
        ((ClassDef(0, "a", COLOUR, ("b",)), ClassDef(1, "b", COLOUR)), 255, "uses a name twice", "must differ"),
        ((ClassDef(0, "a", COLOUR, (), (1,)), ClassDef(1, "b", COLOUR)), 255, "uses a value twice", "must differ"),
        (classes("a", "b"), 1, "uses a value twice", "must differ"),
        ((ClassDef(0, "a", COLOUR, (), (9,)),), 0, "has ignore: 0", "use 255"),
        (classes("a"), 256, "has ignore: 256", "use 255"),
        (classes("a"), -1, "has ignore: -1", "use 255"),
    ],
)
def test_faults_of_a_legend(made: tuple[ClassDef, ...], ignore: int, message: str, hint: str):
    with pytest.raises(LegendError, match=re.escape(f"`towns` {message}")) as caught:
        Legend(made, ignore=ignore, name="towns")
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


GOOD = {"id": 0, "name": "water", "colour": COLOUR}


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ({}, "is no legend: no `classes` list", "write `classes:`"),
        ({"classes": {"water": 0}}, "is no legend: no `classes` list", "write `classes:`"),
        ({"classes": [GOOD], "colours": []}, "is no legend: unknown key `colours`", "write `classes:`"),
        ({"classes": ["water"]}, "has the class entry 'water'", "a class has"),
        ({"classes": [{"name": "water"}]}, "has the class entry", "a class has"),
        ({"classes": [GOOD | {"colr": 1}]}, "has the class entry", "color, colour, id, name, synonyms, values"),
        ({"classes": [GOOD | {"id": "one"}]}, "has the class entry", "`id` is a whole number"),
        ({"classes": [GOOD | {"id": 0.5}]}, "has the class entry", "`id` is a whole number"),
        ({"classes": [GOOD | {"id": False}]}, "has the class entry", "`id` is a whole number"),
        ({"classes": [GOOD | {"values": "12"}]}, "has the class entry", "`values` a list"),
        ({"classes": [GOOD | {"values": 12}]}, "has the class entry", "`values` a list"),
        ({"classes": [GOOD | {"values": [1.5]}]}, "has the class entry", "`values` a list"),
        ({"classes": [GOOD | {"synonyms": "sea"}]}, "has the class entry", "`synonyms` a list of words"),
        ({"classes": [GOOD | {"name": False}]}, "has the class entry", 'write "no"'),
        ({"classes": [GOOD | {"colour": None}]}, "has the colour `None`", "in quotes"),
        ({"classes": [GOOD], "ignore": "none"}, "ignore: 'none'", "a whole number"),
        ({"classes": [GOOD], "name": False}, "has name: False", "in quotes"),
    ],
)
def test_faults_of_the_file(content: dict, message: str, hint: str):
    with pytest.raises(LegendError, match=re.escape(message)) as caught:
        Legend.from_dict(content, source="towns.yaml")
    assert "towns.yaml" in caught.value.message or "water" in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_file_is_a_config_fault(tmp_path: Path):
    with pytest.raises(ConfigError, match="does not exist"):
        Legend.load(tmp_path / "none.yaml")
