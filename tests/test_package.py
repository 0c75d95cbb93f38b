"""What is installed is what is here: a wheel is built from a copy of the tree and used from another folder."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = ROOT / "pyproject.toml"
SETTINGS = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))


def packages_in_tree() -> set[str]:
    """Every folder with Python files under `geosemi/`, and `cli/` under its import name."""
    inside = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "geosemi").rglob("*.py")}
    cli = {".".join(("geosemi", *path.parent.relative_to(ROOT).parts)) for path in (ROOT / "cli").rglob("*.py")}
    return inside | cli


def sources() -> set[str]:
    """Names in the wheel that every Python file of the tree must have."""
    inside = {path.relative_to(ROOT).as_posix() for path in (ROOT / "geosemi").rglob("*.py")}
    return inside | {f"geosemi/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "cli").rglob("*.py")}


def test_the_package_list_is_the_tree():
    listed = SETTINGS["tool"]["setuptools"]["packages"]
    assert sorted(listed) == listed
    assert set(listed) == packages_in_tree()
    assert SETTINGS["tool"]["setuptools"]["package-dir"] == {"geosemi.cli": "cli"}


def test_every_package_says_what_it_is():
    for name in packages_in_tree():
        folder = ROOT / "cli" if name == "geosemi.cli" else ROOT.joinpath(*name.split("."))
        assert (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""'), name


def test_every_dependency_has_its_reason():
    """`numpy` alone needs none: it is what the package computes with. A few stand under a heading that says it."""
    lines = PYPROJECT.read_text(encoding="utf-8").splitlines()
    wanted = {*SETTINGS["project"]["dependencies"], *SETTINGS["project"]["optional-dependencies"]["test"]}
    unexplained = []
    for requirement in wanted:
        line = next(line for line in lines if line.strip().startswith(f'"{requirement}"'))
        if not re.search(r"#\s*\S{2,}", line.split(f'"{requirement}"')[1]):
            unexplained.append(re.split(r"[<>=]", requirement)[0])
    assert set(unexplained) <= {"numpy", "pytest", "ruff", "mypy", "types-PyYAML", "wheel"}


def test_the_lock_file_satisfies_the_ranges():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {canonicalize_name(name): number for name, number in pinned.items()}
    for text in SETTINGS["project"]["dependencies"]:
        requirement = Requirement(text)
        assert canonicalize_name(requirement.name) in pinned, f"{text} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clean copy: stale `build/` and `egg-info` of a working tree would hide a missing package."""
    copy = tmp_path_factory.mktemp("copy") / "geosemi"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for name in ("geosemi", "cli"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_source_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == sources() | {"geosemi/py.typed", "geosemi/benchmark/published.csv"}
    assert "geosemi/cli/main.py" in inside
    assert not any(name.startswith("cli/") for name in inside)  # no generic `cli` in anybody's site-packages


def test_the_wheel_names_its_command_and_licence(installed: Path):
    (info,) = installed.glob("*.dist-info")
    entry = ConfigParser()
    entry.read(info / "entry_points.txt")
    assert dict(entry["console_scripts"]) == {"geosemi": "geosemi.cli.main:main"}
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text()
    assert "License-Expression: Apache-2.0" in (info / "METADATA").read_text()


def from_wheel(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in another folder, where `geosemi` can only come out of the unpacked wheel."""
    environment = os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "100", "PYTHONUTF8": "1"}
    # -P leaves the current folder off the path; PYTHONPATH comes before site-packages and its editable install
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_the_wheel_is_what_runs(installed: Path, tmp_path: Path):
    code = "import geosemi, geosemi.cli.main as c; print(geosemi.__file__); print(c.__file__)"
    done = from_wheel(installed, tmp_path, "-c", code)
    assert done.stdout.split() == [str(installed / "geosemi" / name) for name in ("__init__.py", "cli/main.py")]


@pytest.mark.parametrize(
    "arguments", [["-m", "geosemi"], ["-c", "import sys; from geosemi.cli.main import main; sys.exit(main())"]]
)
def test_the_command_runs_from_another_folder(installed: Path, tmp_path: Path, arguments: list[str]):
    done = from_wheel(installed, tmp_path, *arguments, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("prepare", "train", "predict", "vectorize", "evaluate"):
        assert re.search(rf"\b{command}\b", done.stdout)


def test_every_module_of_the_wheel_imports(installed: Path, tmp_path: Path):
    modules = [name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in sorted(sources())]
    imports = "\n".join(f"import {module}" for module in modules if module != "geosemi.__main__")
    done = from_wheel(installed, tmp_path, "-c", imports)
    assert done.returncode == 0, done.stderr
