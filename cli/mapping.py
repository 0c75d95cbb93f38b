"""The work of `geosemi predict`, scene by scene, and what is said of it."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geosemi.errors import ConfigError, GeosemiError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.geo.scene import Place
    from geosemi.geo.sources import SceneSource
    from geosemi.models.bundle import Bundle
    from geosemi.predict.answers import Extra
    from geosemi.predict.predict import PredictionFacts
    from geosemi.predict.settings import PredictSettings
    from geosemi.stop import StopFlag

DAMAGED = 6  # exit code of a run that left damaged blocks out


@dataclass(frozen=True)
class Job:
    """A scene and the files that are to be made of it.

    Attributes:
        name: of the scene.
        place: where it is.
        mask: the class raster.
        extras: further rasters.
        polygons: the mask as polygons, or None.
        stac: a STAC item of all of it, or None.
        tile_grid: the windows of its plan, or None.
    """

    name: str
    place: "Place"
    mask: Path
    extras: "Mapping[Extra, Path]"
    polygons: Path | None
    stac: Path | None
    tile_grid: Path | None = None


def jobs_of(
    scenes: "Sequence[SceneSource]",
    out: Path,
    extras: "Mapping[Extra, Path]",
    *,
    polygons: Path | None,
    stac: Path | None,
    tile_grid: Path | None = None,
) -> list[Job]:
    """Return what is to be made. Of several scenes, or where `out` is a folder, every output names a folder.

    Raises:
        ConfigError: several scenes are to become one file.
    """
    from geosemi.geo.target import shown, url_of

    several = len(scenes) > 1 or out.is_dir()
    if several:  # a name without a suffix means a folder
        for path in (out, *extras.values(), *filter(None, (polygons, stac, tile_grid))):
            if not path.suffix and not path.exists() and not url_of(path):
                path.mkdir(parents=True)
            if not (path.is_dir() or (url_of(path) and not path.suffix)):
                raise ConfigError(
                    f"{len(scenes)} scenes cannot become one file, and `{shown(path)}` is no folder",
                    hint=f"name a folder, without a suffix: {shown(path.with_suffix(''))}",
                )

    def named(path: Path, scene: "SceneSource", suffix: str) -> Path:
        return path / f"{scene.name}{suffix}" if several else path

    return [
        Job(
            scene.name, scene.place, named(out, scene, ".tif"),
            {what: named(path, scene, ".tif") for what, path in extras.items()},
            None if polygons is None else named(polygons, scene, ".gpkg"),
            None if stac is None else named(stac, scene, ".json"),
            None if tile_grid is None else named(tile_grid, scene, "_windows.gpkg"),
        )
        for scene in scenes
    ]  # fmt: skip


@dataclass
class Mapper:
    """Maps scenes one after the other.

    Attributes:
        bundle: the model.
        settings: how.
        overwrite: whether existing outputs are replaced.
        resume: see `predict_scene`.
        console: where words go.
        stop: raised by Ctrl-C.
        taken: when the scenes were taken, for STAC items; None asks each scene.
    """

    bundle: "Bundle"
    settings: "PredictSettings"
    overwrite: bool
    resume: bool | None
    console: "Console"
    stop: "StopFlag"
    taken: str | None = None

    def run(self, jobs: Sequence[Job]) -> int:
        """Do all jobs and return the exit code. Of several, one that fails does not keep the others from being done.

        Raises:
            GeosemiError: the only job failed; or some of several did, all of them named.
        """
        if len(jobs) == 1:
            return DAMAGED if self._map(jobs[0]) else 0
        from geosemi.geo.target import is_there, shown

        failed, damaged = [], False
        for number, job in enumerate(jobs, start=1):
            self.console.print(f"scene    {number} of {len(jobs)}: {job.name}", markup=False)
            traced = job.polygons is None or is_there(job.polygons)
            if not self.overwrite and is_there(job.mask) and traced:
                self.console.print(
                    f"kept     {shown(job.mask)}, which exists; `--overwrite` maps it anew", markup=False
                )
                continue
            try:
                damaged |= self._map(job)
            except InputError as error:
                self.console.print(f"error    {error.message}", style="red", markup=False)
                failed.append(error)
        if failed:
            raise all_of(failed, len(jobs), "mapped; the others are done")
        return DAMAGED if damaged else 0

    def _map(self, job: Job) -> bool:
        """Make all outputs of a scene, and tell whether blocks of it were left out."""
        from geosemi.cli.bar import bar
        from geosemi.geo.target import discard
        from geosemi.predict.predict import predict_scene

        if job.polygons is not None:
            from geosemi.predict.polygons import check_polygons

            check_polygons(job.place, job.polygons, overwrite=self.overwrite, assume_crs=self.settings.assume_crs)
            if not self.overwrite and job.mask.exists():
                return self._go_on(job)
        ending = {"kept": "finished rows are kept", "hint": "run the same command again to go on"}
        with bar(self.console, "mapping", self.stop, **ending) as on_progress:
            facts = predict_scene(
                self.bundle, job.place, job.mask, self.settings, extras=job.extras, overwrite=self.overwrite,
                resume=self.resume, on_progress=on_progress, command=command_of(sys.argv[1:]),
                stac=job.stac, taken=self.taken,
            )  # fmt: skip
        count = self._trace(job)
        tell(facts, self.console)
        for line in _written(job, facts, count):
            print(line)
        discard([*facts.files, *filter(None, [job.polygons])])
        return bool(facts.damaged)

    def _go_on(self, job: Job) -> bool:
        """Make the polygons of a mask that this command made before it was killed.

        Raises:
            InputError: another command made that mask.
        """
        from geosemi.geo.unfinished import tidy
        from geosemi.predict.predict import made_before

        tidy(job.mask)
        if not made_before(self.bundle, job.place, job.mask, self.settings, extras=job.extras):
            raise InputError(
                f"`{job.mask}` exists, and another model, scene or setting made it",
                hint=f"`geosemi vectorize {job.mask}` makes polygons of it; `--overwrite` maps the scene anew",
            )
        self.console.print(f"kept     {job.mask}, which is complete", markup=False)
        count = self._trace(job)
        print(f"{'polygons':<13} {job.polygons} ({count:,})")
        return job.mask.with_name(f"{job.mask.name}.damage.json").exists()

    def _trace(self, job: Job) -> int:
        if job.polygons is None:
            return 0
        from geosemi.cli.bar import bar
        from geosemi.polygons.polygonize import PolygonSettings, polygonize

        ending = {"kept": "the mask is complete", "hint": f"go on with `geosemi vectorize {job.mask}`"}
        with bar(self.console, "polygons", self.stop, **ending) as on_progress:
            return polygonize(
                job.mask, job.polygons, self.bundle.card.legend, PolygonSettings(), overwrite=self.overwrite,
                confidence=job.extras.get("confidence"), on_progress=on_progress,
            )  # fmt: skip


def _written(job: Job, facts: "PredictionFacts", count: int) -> Iterator[str]:
    from geosemi.geo.target import shown

    yield f"{'mask':<13} {shown(job.mask)}"
    for what, path in job.extras.items():
        yield f"{what.partition('_')[0]:<13} {shown(path)}"
    if job.polygons is not None:
        yield f"{'polygons':<13} {shown(job.polygons)} ({count:,})"
    if job.stac is not None:
        yield f"{'stac item':<13} {shown(job.stac)}"
    if facts.damaged:
        yield f"{'damage':<13} {shown(facts.files[0])}"


def all_of(failed: Sequence[GeosemiError], count: int, what: str) -> InputError:
    """Return what several scenes failed of, as one error."""
    return InputError(
        f"{len(failed)} of {count} scenes could not be {what}",
        hint="; ".join(dict.fromkeys(error.hint for error in failed)),
        faults=["; ".join(error.lines) for error in failed],
    )


def command_of(words: Sequence[str]) -> str:
    """Return the command for the outputs' provenance: file names stay, folders are nobody's business.

    What changes no pixel is left out: a run that goes on after a kill, or on more devices, gives the same bytes.
    """
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--device":
            next(rest, None)
        elif word not in {"--resume", "--restart", "--overwrite"} and not word.startswith("--device="):
            kept.append("=".join(Path(part).name for part in word.split("=")))
    return shlex.join(["geosemi", *kept])


def tell(facts: "PredictionFacts", console: "Console") -> None:
    """Print warnings and the share of each class."""
    from rich.markup import escape
    from rich.table import Table

    if facts.resumed:
        console.print(f"went on  from row {facts.resumed:,} of {facts.grid.height:,}, where a run was interrupted")
    for warning in facts.warnings:
        console.print(f"warning  {warning}", style="yellow", markup=False)
    side = facts.grid.metres_per_pixel()
    known = sum(facts.pixels)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    table.add_column("share", justify="right")
    if side is not None:
        table.add_column("hectares", justify="right")
    for c, count in zip(facts.legend, facts.pixels, strict=True):
        row = [f"[{c.colour}]■[/] {escape(c.name)}", f"{100 * count / known:.2f} %" if known else "–"]
        table.add_row(*row, *([] if side is None else [f"{count * side**2 / 1e4:,.2f}"]))
    console.print(table)
    if facts.nodata:
        total = known + facts.nodata
        console.print(f"{100 * facts.nodata / total:.2f} % of the scene is nodata; the shares leave it out")
