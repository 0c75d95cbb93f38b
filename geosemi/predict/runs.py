"""Which model is meant: a bundle, a run folder, or the newest run."""

from pathlib import Path

from geosemi.errors import BundleError
from geosemi.models.bundle import BUNDLE

RUNS = Path("runs")


def find_bundle(model: Path | None, runs: Path = RUNS) -> Path:
    """Return the path of a bundle.

    Args:
        model: a bundle, or a run folder that holds one; None takes the newest run.
        runs: where runs are looked for, at most two folders deep.

    Raises:
        BundleError: there is none.
    """
    if model is not None:
        return _in_run(model) if model.is_dir() else model
    found = [p for pattern in (f"*/{BUNDLE}", f"*/*/{BUNDLE}") for p in runs.glob(pattern)]
    if not found:
        raise BundleError(
            f"there is no trained model in `{runs}/`",
            hint="train one with `geosemi train`, or name one with `--model RUN_OR_BUNDLE`",
        )
    return max(found, key=lambda p: (p.stat().st_mtime_ns, str(p)))


def _in_run(folder: Path) -> Path:
    if (folder / BUNDLE).is_file():
        return folder / BUNDLE
    raise BundleError(
        f"the folder `{folder}` holds no `{BUNDLE}`",
        hint="name the folder of a run that was trained to its first validation, or the bundle itself",
    )
