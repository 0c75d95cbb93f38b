"""The STAC item of a prediction: checked before the work, written with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geosemi import __version__
from geosemi.errors import ConfigError, OutputError
from geosemi.geo.commit import require_writable
from geosemi.geo.layers import Layer
from geosemi.geo.remote import Remote
from geosemi.geo.stac import ModelFacts, moment, said_moment, stac_item
from geosemi.geo.target import shown, url_of
from geosemi.predict.task import Task


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What it takes to write the item of a task. Make it with `of`.

    Attributes:
        path: of the item.
        taken: when the scene was taken, in STAC's words.
        source: the scene, if it is a file or a URL.
    """

    path: Path
    taken: Mapping[str, str | None]
    source: Path | Remote | None

    @classmethod
    def of(cls, path: Path, task: Task, taken: str | None, *, overwrite: bool) -> "Catalogue":
        """Check that an item can be written there.

        Args:
            path: a `.json`.
            task: what is to be mapped.
            taken: when the scene was taken; None asks the scene.
            overwrite: replace an existing file.

        Raises:
            OutputError: the name is no `.json`, or the file exists or cannot be written.
            ConfigError: nothing says when the scene was taken, or `taken` is no date.
        """
        scene = task.checked.scene
        if path.suffix.lower() != ".json":
            raise OutputError(f"`{shown(path)}` is no name for a STAC item", hint="end it in .json")
        require_writable(path, overwrite=overwrite, inputs=scene.files)
        place = scene.place
        source = place if isinstance(place, (Path, Remote)) else (scene.files[0] if scene.files else None)
        said = taken or (said_moment(place) if isinstance(place, (Path, Remote)) else "")
        if not said:
            raise ConfigError(
                f"`{place}` does not say when it was taken, and a STAC item must",
                hint="say it with `--datetime 2024-06-01`, or a span: `--datetime 2024-06-01/2024-06-30`",
            )
        if isinstance(source, Path) and url_of(path) is not None:
            source = None  # nobody finds a file of this machine from a bucket
        return cls(path, moment(said), source)

    def text(self, task: Task, layers: Mapping[Path, Layer]) -> str:
        """Return the item as JSON.

        Args:
            task: what was mapped.
            layers: raster → what its values mean, the mask last.
        """
        bundle, card = task.bundle, task.bundle.card
        model = ModelFacts(
            card.spec.name, card.legend, card.bands, card.mean, card.std, card.tile,
            sum(p.numel() for p in bundle.model.parameters()), None if url_of(self.path) else bundle.path,
            bundle.digest or "",
        )  # fmt: skip
        found = stac_item(
            self.path, layers, task.checked.scene.grid, taken=self.taken, source=self.source, model=model,
            version=__version__,
        )  # fmt: skip
        return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
