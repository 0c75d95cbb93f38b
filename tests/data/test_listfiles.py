"""The papers' list files: what is written comes back, and what is ambiguous or hostile is refused."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.data.listfiles import format_list, read_list, require_disjoint, write_list
from geosemi.errors import ConfigError, InputError, UnsafeInput

WORD = st.text(st.characters(codec="utf-8", exclude_characters="/\\\t:", exclude_categories=["Cc", "Cs"]), min_size=1)
PATH = st.lists(WORD.filter(lambda w: w.strip(" ") == w and w not in (".", "..")), min_size=1, max_size=3).map(
    lambda parts: Path(*parts)
)
ROWS = st.lists(st.tuples(PATH, st.none() | PATH), max_size=8, unique_by=lambda row: row[0])


@settings(max_examples=50)
@given(ROWS)
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lists") / "list.txt"
    write_list(path, rows)
    assert read_list(path) == rows


def test_blanks_separate_and_a_tab_where_a_path_holds_one(tmp_path):
    rows = [(Path("images/a.tif"), Path("labels/a.tif")), (Path("my images/b.tif"), Path("labels/b.tif"))]
    rows += [(Path("c.tif"), None), (Path("my d.tif"), None)]
    assert format_list(rows, tmp_path / "x").decode() == (
        "images/a.tif labels/a.tif\nmy images/b.tif\tlabels/b.tif\nc.tif\nmy d.tif\t\n"
    )


def test_lists_of_other_programs_are_read(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(
        b"\xef\xbb\xbfJPEGImages/1.jpg  SegmentationClass/1.png \r\n\r\n  JPEGImages\\2.jpg\r\n./3.jpg\t\r\n"
    )
    assert read_list(path) == [
        (Path("JPEGImages/1.jpg"), Path("SegmentationClass/1.png")),
        (Path("JPEGImages/2.jpg"), None),
        (Path("3.jpg"), None),
    ]


@pytest.mark.parametrize(
    ("content", "error", "cause", "hint"),
    [
        (b"a b c\n", InputError, "line 1 of .* has 3 columns", "TAB"),
        (b"a\tb\tc\n", InputError, "3 columns", "TAB"),
        (b"\tb\n", InputError, "columns", "picture label"),
        (b"a x\nb y\n./a z\n", InputError, "`a` stands in lines 1 and 3", "remove one"),
        (b"/etc/passwd\n", UnsafeInput, "outside the data folder", "relative"),
        (b"a ../b.png\n", UnsafeInput, r"`\.\./b\.png`, which is outside", "without `..`"),
        (b"a\\..\\..\\b\n", UnsafeInput, "outside the data folder", "relative"),
        (b"C:\\data\\a.tif\n", UnsafeInput, "outside the data folder", "relative"),
        (b"a\x1b[2J.tif\n", InputError, "control character", "rename"),
        ("a b\n".encode("utf-16"), InputError, "UTF-16", "save it as UTF-8"),
        ("a b\n".encode("utf-16-le"), InputError, "UTF-16", "save it as UTF-8"),
        ("bäume.tif\n".encode("latin-1"), InputError, r"not UTF-8 text \(byte 1\)", "save it as UTF-8"),
    ],
)
def test_what_is_ambiguous_or_hostile_is_refused(tmp_path, content, error, cause, hint):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(error, match=cause) as caught:
        read_list(path)
    assert hint in caught.value.hint


def test_a_missing_list(tmp_path):
    with pytest.raises(ConfigError, match="does not exist") as caught:
        read_list(tmp_path / "none.txt")
    assert "geosemi prepare" in caught.value.hint


@pytest.mark.parametrize(
    ("rows", "error", "cause"),
    [
        ([(Path("a\tb"), None)], InputError, "cannot stand in"),
        ([(Path("a\nb"), None)], InputError, "cannot stand in"),
        ([(Path("a\\b"), None)], InputError, "cannot stand in"),
        ([(Path("/a"), None)], UnsafeInput, "outside the data folder"),
        ([(Path("a"), Path("../b"))], UnsafeInput, "outside the data folder"),
        ([(Path("a"), None), (Path("a"), Path("b"))], InputError, "twice"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, rows, error, cause):
    with pytest.raises(error, match=cause):
        write_list(tmp_path / "list.txt", rows)
    assert not list(tmp_path.iterdir())


def test_lists_that_share_a_picture_are_refused():
    rows = [(Path(f"{i}.tif"), None) for i in range(6)]
    require_disjoint({"train": rows[:3], "val": rows[3:], "test": []})
    with pytest.raises(
        InputError, match=r"4 pictures stand in train and in test: `0\.tif`, `1\.tif`, `2\.tif`, …"
    ) as caught:
        require_disjoint({"train": rows[:4], "val": rows[4:], "test": rows[:4]})
    assert "remove it from one" in caught.value.hint
