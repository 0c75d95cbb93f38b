"""A method in a file of one's own: the very lines of docs/methods.md."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import scenery
import yaml

from geosemi.errors import ConfigError
from geosemi.methods.build import METHODS, register
from geosemi.methods.settings import FixMatchSettings, OfMethod
from geosemi.methods.supervised import Supervised
from geosemi.models.bundle import Bundle
from geosemi.train.verdict import read_columns

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def own_code() -> str:
    lines = PAGE.read_text(encoding="utf-8").partition("## Adding a method")[2]
    return lines.partition("```python\n")[2].partition("```")[0]


def mine(folder: Path, told: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.run(
        [sys.executable, "mine.py", *told.split()],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_lines_of_the_docs_add_a_method(tmp_path: Path):
    (tmp_path / "mine.py").write_text(own_code(), encoding="utf-8")
    root = scenery.country(tmp_path / "country", side=96)
    told = "train --method surer --set method.weight=0.2 --model light --ratio 50 --steps 2 --device cpu --out run"
    told += " --set augment.size=64 --set split.block=32"
    run = mine(tmp_path, f"{told} --data {root}")
    assert run.returncode == 0, run.stderr
    columns = read_columns(tmp_path / "run" / "metrics.csv")
    assert all(0 < doubt < 0.2 * 1.1 for doubt in columns["doubt"])  # at most .2 · ln 3
    together = [a + b for a, b in zip(columns["supervised"], columns["doubt"], strict=True)]
    assert columns["loss"] == pytest.approx(together, abs=1e-4)  # written with six digits
    assert Bundle.load(tmp_path / "run" / "bundle.safetensors").card.provenance["method"] == "surer"


@pytest.mark.slow
def test_a_method_of_ones_own_beside_others_in_a_benchmark(tmp_path: Path):
    """Runs are processes of their own, which have to learn of it."""
    (tmp_path / "mine.py").write_text(own_code(), encoding="utf-8")
    root = scenery.country(tmp_path / "country", side=96)
    settings = scenery.run_settings(root, train={"steps": 2}).model_dump(mode="json", exclude_none=True)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    bench = {
        "datasets": {"land": {"config": "run.yaml"}},
        "methods": ["supervised", "surer"],
        "ratios": [50],
        "seeds": [0],
    }
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(bench), encoding="utf-8")
    done = mine(tmp_path, "benchmark bench.yaml --out out")
    assert done.returncode == 0, done.stderr
    assert "runs     2 of 2 done" in done.stdout
    assert "surer" in (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")


def test_a_method_from_a_prompt_reaches_no_other_process():
    code = own_code().partition("if __name__")[0]
    code += "\nfrom geosemi.methods.build import own_sources\nown_sources()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError" in done.stderr
    assert "no other process knows the method `surer`" in done.stderr


def test_a_name_that_is_taken_is_refused():
    class Other(OfMethod):
        name: str = "fixmatch"

    with pytest.raises(ConfigError, match="there is a method `fixmatch` already") as caught:
        register(Supervised, Other)
    assert "another `name`" in caught.value.hint
    assert METHODS["fixmatch"] is not Supervised
    register(METHODS["fixmatch"], FixMatchSettings)  # once more the same is no fault
