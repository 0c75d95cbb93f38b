"""Holds the design's rules by reading the source: who imports whom, who may touch files, how long things get."""

import ast
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE, CLI = ROOT / "geosemi", ROOT / "cli"
FILES = sorted([*PACKAGE.rglob("*.py"), *CLI.rglob("*.py")])

# each room knows only the rooms of earlier lines; the rooms of one line know nothing of each other
TIERS = (
    ("errors", "legend", "yamlfile", "settings", "stop", "malloc"),
    ("geo", "metrics"),
    ("data", "models", "purify", "polygons"),
    ("methods",),
    ("train", "predict", "evaluate", "annotate"),
    ("api",),
    ("report", "plots", "config"),
    ("benchmark",),
    ("cli", "__main__"),
)
RANK = {room: number for number, tier in enumerate(TIERS) for room in tier}
FOUNDATION = frozenset(TIERS[0])  # plain values; these few files read each other
NO_TORCH = ("errors", "legend", "yamlfile", "settings", "stop", "malloc", "geo", "metrics", "polygons", "plots", "cli")
MAX_LINES, MAX_BODY, MAX_NESTING = 300, 60, 4


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_of(path: Path) -> str:
    """The dotted name under which a file is imported; `cli/` is `geosemi.cli`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    dotted = ["geosemi", *parts] if parts[0] == "cli" else list(parts)
    return ".".join(dotted[:-1] if dotted[-1] == "__init__" else dotted)


def room_of(module: str) -> str:
    """The room of a dotted name; `geosemi` itself is the room "" that everybody may import (its version)."""
    return module.split(".")[1] if "." in module else ""


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Every imported module, imports inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            # `from geosemi import geo` imports the room geosemi.geo
            submodules = [f"geosemi.{a.name}" for a in node.names if node.module == "geosemi" and a.name in RANK]
            yield from submodules or [node.module]


def calls_of(tree: ast.Module) -> Iterator[str]:
    """Dotted names of everything called, or passed on by name as `partial(os.replace, …)` does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def allowed(importer: str, imported: str) -> bool:
    if importer == imported or imported == "" or importer == "":
        return True
    if importer in FOUNDATION and imported in FOUNDATION:
        return True
    return RANK[imported] < RANK[importer] or importer == "__main__"


def faults(check: str) -> list[str]:
    """Files where a rule does not hold, as `path: what`."""
    found = []
    for path in FILES:
        tree, text, name = tree_of(path), path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        found += [f"{name}: {what}" for what in CHECKS[check](tree, text, name)]
    return found


def _rooms(tree: ast.Module, _: str, name: str) -> Iterator[str]:
    importer = room_of(module_of(ROOT / name))
    for module in imports_of(tree):
        if module.split(".")[0] == "geosemi" and not allowed(importer, room_of(module)):
            yield f"room `{importer}` imports {module}"


def _opening(tree: ast.Module, _: str, name: str) -> Iterator[str]:
    if name != "geosemi/geo/raster.py":
        yield from (call for call in calls_of(tree) if call == "rasterio.open")


def _committing(tree: ast.Module, _: str, name: str) -> Iterator[str]:
    if name == "geosemi/geo/commit.py":
        return
    yield from (call for call in calls_of(tree) if call in {"os.replace", "os.rename", "shutil.move", "os.link"})
    for node in ast.walk(tree):  # path.rename(target), and path.replace(target): str.replace takes two
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            wrong = node.func.attr == "rename" or (node.func.attr == "replace" and len(node.args) == 1)
            if wrong and not node.keywords:
                yield f"line {node.lineno}: .{node.func.attr}(…)"


def _unpickling(tree: ast.Module, _: str, __: str) -> Iterator[str]:
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    yield from (module for module in imports_of(tree) if module.split(".")[0] in modules)
    yield from (call for call in calls_of(tree) if call in {"torch.load", "torch.save", "eval", "exec"})
    for node in ast.walk(tree):
        is_switch = isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "trust_remote_code"}
        if is_switch and ast.unparse(node.value) != "False":
            yield f"line {node.value.lineno}: {node.arg} is not False"


def _printing(tree: ast.Module, _: str, name: str) -> Iterator[str]:
    if not name.startswith("cli/"):
        yield from (call for call in calls_of(tree) if call == "print")


def _catching(tree: ast.Module, _: str, __: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(k is None or (isinstance(k, ast.Name) and k.id in {"Exception", "BaseException"}) for k in kinds):
                yield f"line {node.lineno}: broad except"


def _seeding(tree: ast.Module, _: str, __: str) -> Iterator[str]:
    wrong = re.compile(
        r"torch\.(cuda\.)?(manual_seed|seed)|random\.(seed|random|choice|shuffle|randint|sample)"
        r"|(np|numpy)\.random\.(?!default_rng$|Generator$|SeedSequence$|PCG64$|Philox$)\w+"
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and wrong.fullmatch(ast.unparse(node)):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _lengths(tree: ast.Module, text: str, __: str) -> Iterator[str]:
    if (lines := len(text.splitlines())) > MAX_LINES:
        yield f"{lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and (lines := (node.end_lineno or 0) - body[0].lineno + 1) > MAX_BODY:
                yield f"{node.name} has {lines} lines"
            if (depth := nesting(node)) > MAX_NESTING:
                yield f"{node.name} nests {depth} deep"


def nesting(node: ast.AST) -> int:
    """Depth of blocks inside blocks; an `elif` counts as the `if` it continues."""
    blocks = ast.For | ast.While | ast.If | ast.With | ast.Try | ast.Match
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        deepest = max(deepest, nesting(child) + (isinstance(child, blocks) and not is_elif))
    return deepest


def _comments(_: ast.Module, text: str, __: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        unnamed = re.search(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:\s*[A-Z]+\d)", line)
        unfinished = re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
        if unnamed or unfinished:
            yield f"line {number}: {line.strip()}"


NESTED = "def f():\n" + "".join("    " * n + "if a:\n" for n in range(1, 6)) + "    " * 6 + "b"
CHECKS = {
    "rooms": _rooms,
    "opening rasters": _opening,
    "naming outputs": _committing,
    "running code from files": _unpickling,
    "printing": _printing,
    "broad excepts": _catching,
    "global randomness": _seeding,
    "lengths": _lengths,
    "comments": _comments,
}


@pytest.mark.parametrize("check", CHECKS)
def test_rule_of_the_source(check: str):
    assert len(FILES) > 40
    assert faults(check) == []


@pytest.mark.parametrize(
    ("check", "name", "source"),
    [
        ("rooms", "geosemi/geo/x.py", "from geosemi.data.batch import Batch"),
        ("rooms", "geosemi/geo/x.py", "from geosemi import metrics"),
        ("rooms", "geosemi/data/x.py", "def f():\n    import geosemi.models.light"),
        ("rooms", "geosemi/train/x.py", "from geosemi.predict.predict import predict_scene"),
        ("rooms", "geosemi/errors.py", "from geosemi.geo import window"),
        ("opening rasters", "geosemi/data/x.py", "import rasterio\nwith rasterio.open(p) as d: ..."),
        ("naming outputs", "geosemi/data/x.py", "import os\npartial(os.replace, a, b)"),
        ("naming outputs", "geosemi/data/x.py", "path.replace(target)"),
        ("naming outputs", "geosemi/data/x.py", "path.rename(target)"),
        ("running code from files", "geosemi/models/x.py", "import torch\ntorch.load(p, weights_only=True)"),
        ("running code from files", "geosemi/models/x.py", "from pickle import loads"),
        ("running code from files", "geosemi/models/x.py", "np.load(p, allow_pickle=True)"),
        ("printing", "geosemi/train/x.py", "print(1)"),
        ("broad excepts", "geosemi/train/x.py", "try: ...\nexcept (OSError, Exception): ..."),
        ("broad excepts", "geosemi/train/x.py", "try: ...\nexcept: ..."),
        ("global randomness", "geosemi/train/x.py", "import numpy as np\nnp.random.seed(0)"),
        ("global randomness", "geosemi/train/x.py", "import torch\ntorch.manual_seed(0)"),
        ("lengths", "geosemi/train/x.py", "a = 1\n" * 301),
        ("lengths", "geosemi/train/x.py", "def f():\n" + "    a = 1\n" * 61),
        ("lengths", "geosemi/train/x.py", NESTED),
        ("comments", "geosemi/train/x.py", "a = 1  # type: ignore"),
        ("comments", "geosemi/train/x.py", "a = 1  # noqa"),
        ("comments", "geosemi/train/x.py", "# TODO: later"),
    ],
)  # fmt: skip
def test_each_rule_can_fail(check: str, name: str, source: str):
    assert list(CHECKS[check](ast.parse(source), source, name))


@pytest.mark.parametrize(
    ("check", "name", "source"),
    [
        ("rooms", "geosemi/methods/x.py", "from geosemi.data.batch import Batch\nfrom geosemi import __version__"),
        ("rooms", "geosemi/legend.py", "from geosemi.yamlfile import read_yaml"),
        ("naming outputs", "geosemi/data/x.py", "text.replace('a', 'b')\ndataclasses.replace(scene, bands=())"),
        ("opening rasters", "geosemi/geo/x.py", "memory.open(driver='GTiff')"),
        ("global randomness", "geosemi/data/x.py", "np.random.default_rng(0)\nx: np.random.Generator"),
        ("comments", "geosemi/data/x.py", "a = 1  # type: ignore[misc]  # noqa: S101"),
    ],
)
def test_no_rule_cries_wolf(check: str, name: str, source: str):
    assert list(CHECKS[check](ast.parse(source), source, name)) == []


def test_every_room_has_its_place():
    rooms = {room_of(module_of(path)) for path in FILES} - {""}
    assert rooms <= set(RANK), "a new room needs a line in TIERS"


def test_these_rooms_name_no_torch():
    heavy = ("torch", "torchvision", "torchgeo", "lightning", "transformers", "timm", "safetensors")
    for path in FILES:
        if room_of(module_of(path)) in NO_TORCH and "cli" not in path.parts:
            wrong = [m for m in imports_of(tree_of(path)) if m.split(".")[0] in heavy]
            assert wrong == [], path


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    listing = "import sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{listing}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HELP = """
import sys
from geosemi.cli.main import app
sys.argv = ["geosemi", "--help"]
try:
    app()
except SystemExit:
    pass
"""


def test_importing_geosemi_loads_neither_torch_nor_rasterio():
    assert not loaded_by("import geosemi") & {"torch", "rasterio", "numpy", "geopandas"}


def test_help_loads_nothing_heavy():
    heavy = {"torch", "torchvision", "torchgeo", "rasterio", "numpy", "geopandas", "pandas", "pydantic", "matplotlib"}
    assert not loaded_by(HELP) & heavy


def test_maps_are_vectorised_styled_and_scored_without_torch():
    modules = [module_of(path) for path in FILES if room_of(module_of(path)) in {"geo", "metrics", "evaluate", "plots"}]
    assert "geosemi.geo.raster" in modules
    loaded = loaded_by("import " + ", ".join(modules))
    assert "rasterio" in loaded
    assert not loaded & {"torch", "torchvision", "torchgeo", "lightning"}


def test_a_config_is_checked_without_torch():
    """A misspelt key is told in a second; torch alone takes three, what trains takes ten."""
    modules = [module_of(path) for path in FILES if path.stem in {"settings", "spec"}]
    assert {"geosemi.train.settings", "geosemi.models.spec"} <= set(modules)
    loaded = loaded_by("import " + ", ".join(modules))
    assert "pydantic" in loaded
    assert not loaded & {"torch", "rasterio", "numpy", "geopandas"}


def test_help_is_quick():
    """Under half a second of a processor, the best of ten: on a busy machine the clock tells of others, caches too."""
    seconds: list[float] = []
    while len(seconds) < 10 and min(seconds, default=1.0) >= 0.5:
        before = _of_children()
        subprocess.run([sys.executable, "-m", "geosemi", "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(_of_children() - before)
    assert min(seconds) < 0.5, seconds


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_set_up_leaves_nothing_to_compile_for_help():
    """Without bytecode the first `geosemi --help` takes 0.8 s: pip writes it, or the set-up calls the command once."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    install = next(n for n, line in enumerate(lines) if "pip install" in line)
    assert "--no-compile" not in lines[install] or any(
        "PYTHONDONTWRITEBYTECODE= $(BIN)/geosemi --help" in line for line in lines[install:]
    )


def test_no_test_reaches_the_network():
    """The guard of conftest.py holds; this machine itself stays within reach, for ranks that talk to each other."""
    with pytest.raises(RuntimeError, match=r"tried to reach \('192\.0\.2\.1', 80\)"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
