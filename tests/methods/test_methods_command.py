"""`geosemi methods`, the table of the README and the pages: all name the same methods."""

import sys
from pathlib import Path

import pytest

from geosemi.cli import main as cli
from geosemi.methods.build import METHODS
from geosemi.methods.settings import KINDS

ROOT = Path(__file__).parents[2]


def printed(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["geosemi", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    return capsys.readouterr().out


def test_every_method_has_settings_and_a_line():
    assert list(KINDS) == list(METHODS)
    for kind in KINDS.values():
        assert kind.idea
        assert kind.source
        assert len(kind.idea) <= 80


def test_the_command_lists_them(monkeypatch, capsys):
    lines = printed(["methods"], monkeypatch, capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(METHODS)
    for line, kind in zip(lines, KINDS.values(), strict=True):
        assert kind.idea in line
        assert kind.source == "–" or f"({kind.source})" in line


@pytest.mark.parametrize("name", METHODS)
def test_the_command_tells_numbers_as_set_takes_them(name: str, monkeypatch, capsys):
    from geosemi.config import load_settings

    lines = [line for line in printed(["methods", name], monkeypatch, capsys).splitlines() if line.startswith("  ")]
    assert lines[0] == f"  method.name = {name}"
    told = [line.strip().replace(" = ", "=") for line in lines]
    assert load_settings(None, {}, told, has_gpu=False).method == KINDS[name]()


def test_the_readme_lists_them():
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    files = {"semiearth": "purifier", "rs_mtdf": "distiller"}  # `fixmatch` with something around it
    wanted = [f"| `{n}` | {k.idea} | {k.source} | `geosemi/methods/{files.get(n, n)}.py` |" for n, k in KINDS.items()]
    assert all((ROOT / "geosemi" / "methods" / f"{files.get(n, n)}.py").is_file() for n in KINDS)
    assert [row for row in rows if "geosemi/methods/" in row] == wanted


def test_every_method_has_a_page():
    index = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for name in METHODS:
        page = ROOT / "docs" / "methods" / f"{name}.md"
        text = page.read_text(encoding="utf-8") if page.exists() else index.partition(f"\n## {name}\n")[2]
        assert text, f"docs/methods/{name}.md"
        assert f"[`{name}`](methods/{name}.md)" in index or f"(#{name})" in index
        if page.exists():
            assert all(f"**{part}" in text for part in ("What a step costs.", "When."))
