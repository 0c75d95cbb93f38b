"""A method in a file of one's own: the very lines of docs/methods.md."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import scenery

from geosemi.errors import ConfigError
from geosemi.methods.build import METHODS, register
from geosemi.methods.settings import FixMatchSettings, OfMethod
from geosemi.methods.supervised import Supervised
from geosemi.models.bundle import Bundle
from geosemi.train.verdict import read_columns

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_lines_of_the_docs_add_a_method(tmp_path: Path):
    lines = PAGE.read_text(encoding="utf-8").partition("## Adding a method")[2]
    code = lines.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    root = scenery.country(tmp_path / "country", side=96)
    told = "train --method surer --set method.weight=0.2 --model light --ratio 50 --steps 2 --device cpu --out run"
    told += " --set augment.size=64 --set split.block=32"
    run = subprocess.run(
        [sys.executable, "mine.py", *told.split(), "--data", str(root)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    columns = read_columns(tmp_path / "run" / "metrics.csv")
    assert all(0 < doubt < 0.2 * 1.1 for doubt in columns["doubt"])  # at most .2 · ln 3
    together = [a + b for a, b in zip(columns["supervised"], columns["doubt"], strict=True)]
    assert columns["loss"] == pytest.approx(together, abs=1e-4)  # written with six digits
    assert Bundle.load(tmp_path / "run" / "bundle.safetensors").card.provenance["method"] == "surer"


def test_a_name_that_is_taken_is_refused():
    class Other(OfMethod):
        name: str = "fixmatch"

    with pytest.raises(ConfigError, match="there is a method `fixmatch` already") as caught:
        register(Supervised, Other)
    assert "another `name`" in caught.value.hint
    assert METHODS["fixmatch"] is not Supervised
    register(METHODS["fixmatch"], FixMatchSettings)  # once more the same is no fault
