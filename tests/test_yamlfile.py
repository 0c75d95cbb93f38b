import os
import re
from pathlib import Path

import pytest

from geosemi.errors import ConfigError
from geosemi.yamlfile import MAX_BYTES, read_yaml


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_what_people_write_is_read(tmp_path: Path, mark: bytes, newline: str):
    text = newline.join(["# a config", "train:", "  lr: 0.001", "  steps: 300", 'name: "Küste"', "list: [1, two]", ""])
    got = read_yaml(write(tmp_path, mark + text.encode()))
    assert got == {"train": {"lr": 0.001, "steps": 300}, "name": "Küste", "list": [1, "two"]}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("a: 1\nb: 2\na: 3\n", "`a` stands twice (line 3)"),
        ("x:\n  a: 1\n  a: 1\n", "`a` stands twice (line 3)"),
        ("a: {b: 1, b: 2}\n", "`b` stands twice"),
        ("a: &x 1\nb: *x\n", "aliases are not allowed (line 2)"),
        ("a: &x {c: 1}\nb: {<<: *x}\n", "aliases are not allowed (line 2)"),
        ("a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
        ("a: !!python/name:os.system\n", "could not determine a constructor"),
        ("a: [1, 2\n", "expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", "found character '\\t'"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("? [a, b]\n: 1\n", "a key is a word or number (line 1)"),
        ("? {a: b}\n: 1\n", "a key is a word or number (line 1)"),
        ("a: 2024-13-45\n", "month must be in 1..12"),
        (b"a: \xff\xfe\n", "can't decode byte 0xff"),
        ("a: \x00\n", "special characters are not allowed"),
        ("[" * 5000, "recursion"),
    ],
)
def test_what_is_ambiguous_or_hostile_is_refused(tmp_path: Path, content: str | bytes, cause: str):
    path = write(tmp_path, content)
    with pytest.raises(ConfigError, match=re.escape(cause)) as caught:
        read_yaml(path)
    assert f"`{path}` is not readable YAML: " in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint == "fix the line that is named"
    assert caught.value.exit_code == 2


def test_ten_lines_that_would_expand_to_billions(tmp_path: Path):
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(ConfigError, match="aliases are not allowed"):
        read_yaml(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("content", ["", "# only a comment\n", "- a\n- b\n", "word\n", "42\n"])
def test_no_mapping(tmp_path: Path, content: str):
    with pytest.raises(ConfigError, match="holds no mapping") as caught:
        read_yaml(write(tmp_path, content))
    assert caught.value.hint == "write `key: value` lines"


def test_missing_and_large_files(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.yaml` does not exist") as caught:
        read_yaml(tmp_path / "none.yaml")
    assert "check the path" in caught.value.hint
    with pytest.raises(ConfigError, match="is larger than 1 MB") as caught:
        read_yaml(write(tmp_path, "a: 1\n" + "#" * MAX_BYTES))
    assert "is this one?" in caught.value.hint
    assert read_yaml(write(tmp_path, "a: 1\n" + "#" * (MAX_BYTES - 5))) == {"a": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path: Path):
    path = write(tmp_path, "a: 1\n")
    path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        read_yaml(path)
    assert caught.value.hint == "check its permissions"
