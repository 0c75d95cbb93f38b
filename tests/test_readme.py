"""What README.md, docs/ and configs/ tell people to type exists and parses."""

import re
from pathlib import Path

import pytest
from commands import WrongCommand, commands_in_markdown, missing_files, parse, shell_lines

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("benchmarks/**/*.md"))]
CONFIGS = sorted(ROOT.glob("configs/**/*.yaml"))
SHIPPED = ("sample_data", "configs", "docs", "tests", "geosemi", "cli")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fault_of(words: list[str]) -> str | None:
    """Return why a command line would not run, or None."""
    if words[0] == "geosemi":
        try:
            parse(words)
        except WrongCommand as error:
            return f"{' '.join(words)}: {error.format_message()}"
    if words[0] == "make":
        targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        wrong = [word for word in words[1:] if "=" not in word and not word.startswith("-") and word not in targets]
        if wrong:
            return f"{' '.join(words)}: no target {wrong}"
    missing = missing_files(words, ROOT, folders=SHIPPED)
    return f"{' '.join(words)}: no file {missing}" if missing else None


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_on_a_page(page: Path):
    found = list(commands_in_markdown(page.read_text(encoding="utf-8")))
    assert [fault for words in found if (fault := fault_of(words))] == []


def test_the_readme_shows_the_set_up_and_the_main_job():
    found = [words[:2] for words in commands_in_markdown((ROOT / "README.md").read_text(encoding="utf-8"))]
    for wanted in (["make", "demo"], ["make", "test"], ["geosemi", "train"], ["geosemi", "predict"]):
        assert wanted in found


@pytest.mark.parametrize("config", CONFIGS, ids=page_id)
def test_a_config_begins_with_what_it_is_and_the_command(config: Path):
    comments = [line.removeprefix("#").strip() for line in config.read_text().splitlines() if line.startswith("#")]
    commands = [words for line in comments for words in shell_lines(line) if words[:1] == ["geosemi"]]
    assert not comments[0].startswith("geosemi ")
    assert any(page_id(config) in words for words in commands), "name the exact command that uses this file"
    assert [fault for words in commands if (fault := fault_of(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_and_pictures_of_a_page_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [t for t in targets if not re.match(r"[a-z]+:", t)]
    assert [t for t in local if not (page.parent / t).exists()] == []
    # files named in running text, written from the repository's root
    named = [t for t in re.findall(r"`([\w./-]+)`", text) if t.startswith(tuple(f"{folder}/" for folder in SHIPPED))]
    assert [t for t in named if not (ROOT / t).exists()] == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("geosemi predict scene.tif --out mask.tif --nope 1", "No such option: --nope"),
        ("geosemi foretell scene.tif", "No such command"),
        ("geosemi predict", "Missing"),
        ("geosemi train --ratio many", "many|number"),
    ],
)
def test_a_wrong_command_line_is_noticed(line: str, told: str):
    fault = fault_of(line.split())
    assert fault is not None
    assert re.search(told, fault)


def test_a_wrong_page_is_noticed():
    text = (
        "x\n```console\n$ geosemi train \\\n  --nope  # no\nmake cofee && geosemi predict sample_data/none.tif\n```\n"
    )
    found = list(commands_in_markdown(text + "`geosemi train --ratio 5`, `geosemi train`"))
    assert [words[:2] for words in found] == [
        ["geosemi", "train"], ["make", "cofee"], ["geosemi", "predict"], ["geosemi", "train"]
    ]  # fmt: skip
    faults = [fault_of(words) for words in found]
    assert all(faults[:3])
    assert faults[3] is None


def text_files() -> list[Path]:
    """Every text of the repository that people read or run."""
    folders = ("geosemi", "cli", "configs", "tests", "docs", "benchmarks", "sample_data")
    kinds = {".py", ".md", ".yaml", ".txt", ".toml", ".ipynb"}
    inside = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in kinds]
    return [*inside, *(p for p in ROOT.iterdir() if p.suffix in kinds or p.name in {"Makefile", "LICENSE"})]


def test_nothing_points_at_a_document_that_is_not_here():
    """Notes of the design are no part of the repository: what they say stands in docs/, or the paper is named."""
    absent = ["METHODS", "PEERS", "RELIABILITY", "DEPENDENCIES", "DESIGN", "STYLE"]
    pointer = re.compile(rf"\b({'|'.join(absent)})(\.md\b|,? +(section +)?\d)")
    files = text_files()
    assert len(files) > 150
    found = [f"{page_id(p)}: {m[0]}" for p in files for m in pointer.finditer(p.read_text(encoding="utf-8"))]
    assert found == []
    for name, ending in zip(absent, (" 1.8", ".md", ", section 3", " section 2", ".md", " 7"), strict=True):
        assert pointer.search(f"see {name}{ending}"), "a check that cannot fail is none"
