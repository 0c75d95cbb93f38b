"""The terminal: help that people can follow, failures that they can act on.

The help texts are kept in `golden/help`; `python -m pytest tests/test_cli.py --rewrite-golden` writes them anew.
"""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import group, names, parse, shell_lines

import geosemi
from geosemi.cli import main as cli
from geosemi.errors import Interrupted, UnsafeInput

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "help"
CONSTRAINTS = ROOT / "constraints.txt"
# what decides how a page looks, beside our own words
ENV = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "PYTHONUTF8": "1"}

# one known failure for each command, and its exit code
FAILURES: dict[str, tuple[list[str], int]] = {
    "annotate": (["a.tif", "--legend", "none.yaml", "--out", "opinions", "--provider", "layer", "--layer", "b.tif"], 2),
    "train": (["--config", "none.yaml"], 2),
    "predict": (["none.tif", "--out", "mask.tif"], 3),
    "quantize": (["none.tif", "--labels", "labels.tif"], 3),
    "vectorize": (["none.tif", "--out", "map.gpkg"], 3),
    "evaluate": (["none.tif", "labels.tif"], 3),
    "report": (["none"], 3),
    "benchmark": (["none.yaml"], 2),
    "methods": (["fixmatsch"], 2),
    "prepare": (["--dataset", "potsdam", "--source", "none", "--out", "tiles"], 3),
}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a terminal of 100 columns without colours would see it."""
    command = [sys.executable, "-c", "from geosemi.cli.main import main; main()", *arguments]
    clean = {key: value for key, value in os.environ.items() if key not in {"FORCE_COLOR", "COLORTERM"}}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=clean | ENV, check=False)


def page(folder: Path, *arguments: str) -> str:
    done = run(*arguments, "--help", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r"Usage: (-c|python -m geosemi)", "Usage: geosemi", done.stdout)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


def same_terminal_libraries() -> bool:
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE))
    return all(pinned.get(name) == version(name) for name in ("typer", "rich", "click"))


@pytest.mark.skipif(not same_terminal_libraries(), reason="other versions of typer, rich and click draw other frames")
@pytest.mark.parametrize("name", ["geosemi", *names()])
def test_help_is_the_golden_page(name: str, tmp_path: Path, rewrite_golden: bool):
    text = page(tmp_path, *([] if name == "geosemi" else [name]))
    golden = GOLDEN / f"{name}.txt"
    if rewrite_golden:
        golden.write_text(text, encoding="utf-8")
    assert golden.exists(), "new command: python -m pytest tests/test_cli.py --rewrite-golden"
    assert text == golden.read_text(encoding="utf-8"), "if it is meant: pytest tests/test_cli.py --rewrite-golden"


def test_no_golden_page_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.txt")} <= {"geosemi", *names()}


@pytest.mark.parametrize("name", names())
def test_a_command_says_what_it_does_and_shows_two_examples_that_parse(name: str):
    command = group().commands[name]
    assert command.help
    assert command.help.splitlines()[0].endswith(".")
    examples = [re.sub(r"\s*\(.*", "", line.strip("` ")) for line in (command.epilog or "").splitlines()]
    examples = [line.replace("`", "") for line in examples if line.startswith(f"geosemi {name}")]
    assert len(examples) >= 2
    for line in examples:
        for words in shell_lines(line):
            parse(words)


@pytest.mark.parametrize("name", names())
def test_every_option_is_explained(name: str):
    unexplained = [p.name for p in group().commands[name].params if not getattr(p, "help", None) and p.name != "help"]
    assert unexplained == []


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run `main` in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["geosemi", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


def two_lines(stderr: str) -> tuple[str, str]:
    """Return cause and way out; anything more on stderr, a traceback above all, fails."""
    assert "Traceback" not in stderr
    lines = stderr.strip().splitlines()
    assert len(lines) == 2, stderr
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    return lines[0].removeprefix("error: "), lines[1].removeprefix("hint: ")


@pytest.mark.parametrize("name", names())
def test_a_known_failure_is_two_lines_and_a_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    assert name in FAILURES, "a new command needs a known failure here"
    arguments, code = FAILURES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")  # lines are not folded, however narrow the terminal
    assert call([name, *arguments], monkeypatch) == code
    stderr = capfd.readouterr().err
    cause, hint = two_lines(stderr)
    assert re.search(r"`[^`]+`", cause), "a message names the file or setting"
    assert hint
    assert list(tmp_path.iterdir()) == []  # it failed before anything was made


def test_the_same_in_a_process_of_its_own(tmp_path: Path):
    done = run("vectorize", "none.tif", "--out", "map.gpkg", folder=tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    cause, hint = two_lines(done.stderr)
    assert cause == "`none.tif` does not exist"
    assert hint == "check the path"


@pytest.mark.parametrize("arguments", [["--nope"], ["foretell"], ["train", "--nope"], ["train", "--ratio", "many"], []])
def test_wrong_usage_is_told_without_a_traceback(tmp_path: Path, arguments: list[str]):
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Usage:" in done.stderr + done.stdout


def test_version(tmp_path: Path):
    done = run("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"geosemi {geosemi.__version__}\n")


@pytest.mark.parametrize("text", ["a\x1b[31mred\x07\nb.tif", "[bold]x[/bold].tif", "[/].tif", "\\[red]"])
def test_a_files_name_is_neither_markup_nor_terminal_codes(
    text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def fail() -> None:
        raise UnsafeInput(f"`{text}` was refused", hint=f"look at `{text}`")

    monkeypatch.setattr(cli, "app", fail)
    assert call([], monkeypatch) == 7
    cause, hint = two_lines(capfd.readouterr().err)
    shown = "".join(c if c.isprintable() else "?" for c in text)
    assert cause == f"`{shown}` was refused"
    assert hint == f"look at `{shown}`"


def test_a_stopped_run_ends_as_the_shell_expects(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def stop() -> None:
        raise Interrupted("stopped", hint="go on with `--resume`")

    monkeypatch.setattr(cli, "app", stop)
    assert call([], monkeypatch) == 130
    assert two_lines(capfd.readouterr().err) == ("stopped", "go on with `--resume`")


def test_several_faults_have_a_line_each():
    words = [
        "train",
        "--data",
        str(ROOT / "sample_data"),
        "--set",
        "train.lr=abc",
        "--set",
        "method.treshold=0.3",
        "--set",
        "foo=1",
    ]
    done = subprocess.run([sys.executable, "-m", "geosemi", *words], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[0] == "error: the settings: 3 problems"
    assert [line.split(":")[0] for line in lines[1:4]] == ["  method.treshold", "  train.lr", "  foo"]
    assert lines[4].startswith("hint: ")


def test_all_that_is_wrong_with_a_run_is_told_before_anything_slow():
    """Settings, data files and an unknown device in one command; nobody mends one fault a try."""
    words = ["train", "--data", str(ROOT / "sample_data"), "--device", "tpu", "--method", "fixmach"]
    words += ["--set", "data.validation=[nope]", "--set", "data.test=[alsonope]", "--set", "data.unlabelled=nope/*.tif"]
    done = subprocess.run([sys.executable, "-m", "geosemi", *words], capture_output=True, text=True, check=False)
    first, *faults, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert first == "error: the run cannot begin: 5 problems"
    for words_of_fault in ("`fixmach`", "'tpu'", "`nope`", "`alsonope`", "nope/*.tif`"):
        assert sum(words_of_fault in line for line in faults) == 1, words_of_fault
    assert hint.startswith("hint: ")
