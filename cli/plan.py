"""`geosemi predict --plan`: what it will take, on paper, and nothing else."""

import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from geosemi.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.cli.mapping import Job
    from geosemi.models.bundle import Bundle
    from geosemi.predict.plan import Plan
    from geosemi.predict.settings import PredictSettings
    from geosemi.stop import StopFlag


def show_plans(
    jobs: "Sequence[Job]",
    bundle: "Bundle",
    settings: "PredictSettings",
    *,
    overwrite: bool,
    console: "Console",
    stop: "StopFlag",
    taken: str | None = None,
) -> None:
    """Print the plan of every scene, and of several what they take together.

    Raises:
        GeosemiError: a scene cannot be mapped; of several, after the others were planned.
        OutputError: an output cannot be written where it is asked for.
    """
    from geosemi.cli.bar import bar
    from geosemi.cli.mapping import all_of
    from geosemi.geo.target import discard
    from geosemi.predict.plan import plan_scene

    plans, failed = [], []
    for job in jobs:
        try:
            there = _existing(job, bundle, settings, taken)
            with bar(console, "planning", stop, kept="nothing was written", hint="run it again") as on_progress:
                plan = plan_scene(
                    bundle, job.place, settings, tuple(job.extras), tile_grid=job.tile_grid, overwrite=overwrite,
                    on_progress=on_progress,
                )  # fmt: skip
        except InputError as error:
            if len(jobs) == 1:
                raise
            failed.append(error)
            continue
        plans.append(plan)
        discard(filter(None, [job.tile_grid]))
        keeps = [] if overwrite or not there else [f"there is already {', '.join(there)}: a run wants `--overwrite`"]
        for warning in (*plan.warnings, *keeps):
            console.print(f"warning  {warning}", style="yellow", markup=False)
        print("\n".join(_lines(plan, job)), end="\n\n" if len(jobs) > 1 else "\n")
    if len(plans) > 1:
        print("\n".join(_together(plans)))
    if failed:
        raise all_of(failed, len(jobs), "planned")


def _existing(job: "Job", bundle: "Bundle", settings: "PredictSettings", taken: str | None) -> list[str]:
    """Look at the outputs as a run does, and return the names of those that exist."""
    from geosemi.geo.target import is_there, shown
    from geosemi.predict.outputs import check_outputs
    from geosemi.predict.task import Task

    task = Task.of(bundle, job.place, settings, tuple(job.extras))
    found = [*check_outputs(task, job.mask, job.extras, stac=job.stac, taken=taken)]
    if job.polygons is not None:
        from geosemi.predict.polygons import check_polygons

        check_polygons(job.place, job.polygons, overwrite=True, assume_crs=settings.assume_crs)
        found += [job.polygons] if is_there(job.polygons) else []
    return [f"`{shown(path)}`" for path in found]


def _lines(plan: "Plan", job: "Job") -> Iterator[str]:
    from geosemi.geo.target import shown

    down, across, tried = plan.down, plan.across, plan.trial
    yield _line("scene", f"{plan.scene}, {plan.grid.height:,} × {plan.grid.width:,} pixels")
    if plan.seen.shape != plan.grid.shape:
        yield _line("resampled to", f"{plan.seen.height:,} × {plan.seen.width:,} pixels")
    steps = [axis.starts[1] - axis.starts[0] for axis in (down, across) if len(axis.starts) > 1]
    stride = f", one every {' and '.join(str(step) for step in dict.fromkeys(steps))}" if steps else ""
    count = f"{plan.skipped.size:,} ({len(down.starts)} × {len(across.starts)})"
    yield _line("windows", f"{count} of {down.tile} × {across.tile} pixels{stride}")
    if plan.skipped.any():
        yield _line("skipped", f"{plan.skipped.sum():,}, outside the area of interest")
    at_once = "1 window" if tried.batch == 1 else f"{tried.batch} windows"
    yield _line("runs on", f"{', '.join(plan.devices)}, engine {tried.engine}, {at_once} at a time")
    yield _line("memory", f"{_bytes(plan.memory)}, of which {_bytes(plan.growing)} grow with the scene's width")
    if plan.device_memory:
        yield _line("on each device", _bytes(plan.device_memory))
    yield _line("time", f"{_time(plan.seconds)} ({1000 * tried.each:,.0f} ms a window, tried on {tried.windows})")
    folder = next(folder for folder in job.mask.absolute().parents if folder.is_dir())
    free = f"; {_bytes(shutil.disk_usage(folder).free)} are free"
    yield _line("output", f"{_bytes(plan.size)}, at most {_bytes(plan.limit)}{free}")
    if job.polygons is not None:
        yield _line("polygons", "are traced after that, and not part of this plan")
    if job.tile_grid is not None:
        yield _line("tile grid", shown(job.tile_grid))


def _together(plans: "Sequence[Plan]") -> Iterator[str]:
    yield _line("together", f"{len(plans)} scenes, {sum(p.skipped.size for p in plans):,} windows")
    yield _line("memory", _bytes(max(p.memory for p in plans)))
    yield _line("time", _time(sum(p.seconds for p in plans)))
    yield _line("output", f"{_bytes(sum(p.size for p in plans))}, at most {_bytes(sum(p.limit for p in plans))}")


def _line(name: str, text: str) -> str:
    return f"{name:<15}{text}"


def _bytes(count: float) -> str:
    """Return a size in decimal units, two or three digits of it."""
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.{0 if count >= 99.95 else 1}f} {unit}"
    return f"{count / 1000:,.1f} TB"


def _time(seconds: float) -> str:
    if seconds < 99.5:
        return f"about {seconds:.0f} s" if seconds >= 9.95 else f"about {seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 120 else f"about {minutes // 60} h {minutes % 60} min"
