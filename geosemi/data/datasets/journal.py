"""What `prepare` has finished: one line a scene, so that an interrupted run goes on where it stopped."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geosemi.errors import OutputError
from geosemi.geo.commit import write_files

NAME = ".prepare.jsonl"


@dataclass(slots=True)
class Journal:
    """Finished scenes of one output folder. The first line of the file says what was asked for.

    Attributes:
        path: the file.
        done: scene id → unknown label pixels in it.
    """

    path: Path
    done: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, request: Mapping[str, Any]) -> "Journal":
        """Begin a folder, or go on with one that was begun by the same request.

        Raises:
            OutputError: the folder holds other things, or was prepared by another request.
        """
        path = folder / NAME
        if not path.is_file():
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise OutputError(f"`{folder}` is not empty", hint="choose a new folder with `--out`")
            _make(folder)
            write_files({path: (json.dumps(dict(request)) + "\n").encode()})
            return cls(path)
        lines = _lines(path)
        if not lines:
            raise OutputError(f"`{path}` is damaged", hint=f"delete the folder `{folder}` and prepare again")
        other = sorted(k for k in {*lines[0], *request} if lines[0].get(k) != request.get(k))
        if other:
            key = other[0]
            was = "other source files" if key == "files" else f"{key} {lines[0].get(key)}, not {request.get(key)}"
            raise OutputError(
                f"`{folder}` was prepared with {was}", hint="choose a new folder with `--out`, or delete this one"
            )
        return cls(path, {line["scene"]: line["unknown"] for line in lines[1:]})

    def add(self, scene: str, unknown: int) -> None:
        """Note a scene whose tiles are all on disk."""
        self.done[scene] = unknown
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"scene": scene, "unknown": unknown}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # a run that was killed in the middle of a line; its scene is cut again
    return found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder `{folder}` cannot be made: {error.strerror}", hint="choose another folder with `--out`"
        ) from error
