"""ISPRS Potsdam: 38 aerial pictures of 6000 × 6000 pixels at 5 cm, red, green, blue and near-infrared.

24 pictures are for training and 14 for testing, as in the contest (the lists are TorchGeo's). World files give the
place, in EPSG:25833. The fourth band of the RGBIR files is tagged alpha by mistake; it is near-infrared.
"""

from functools import partial
from pathlib import Path

from geosemi.data.datasets.base import Found, Original, inner_folder
from geosemi.data.datasets.isprs import COLOURS, TERMS, legend, pair_tiles
from geosemi.data.datasets.placing import Ground

TITLE = "ISPRS Potsdam"
# choice of bands → (folder, ending, positions), the first that exists
_PICTURES = {
    "rgb": (("2_Ortho_RGB", "RGB", (1, 2, 3)), ("4_Ortho_RGBIR", "RGBIR", (1, 2, 3))),
    "irrg": (("3_Ortho_IRRG", "IRRG", (1, 2, 3)), ("4_Ortho_RGBIR", "RGBIR", (4, 1, 2))),
    "rgbir": (("4_Ortho_RGBIR", "RGBIR", (1, 2, 3, 4)),),
}
_LABELS = ("5_Labels_all", ".", "5_Labels_for_participants")  # TorchGeo unpacks the labels into the root


def _find(root: Path, bands: str) -> Found:
    from torchgeo.datasets import Potsdam2D  # noqa: PLC0415 - seconds to import, only for its lists

    base = inner_folder(root, ("Potsdam",), [folder for folder, _, _ in _PICTURES[bands]])
    pictures = [p for p in _PICTURES[bands] if (base / p[0]).is_dir()]
    if not pictures:
        looked = "` and `".join(folder for folder, _, _ in _PICTURES[bands])
        raise POTSDAM.missing(f"no pictures of {TITLE}: looked for `{looked}` in `{base}`")
    return pair_tiles(TITLE, Potsdam2D.splits, partial(_image, base, pictures), partial(_label, base))


def _image(base: Path, pictures: list[tuple[str, str, tuple[int, ...]]], name: str) -> tuple[Path, tuple[int, ...]]:
    paths = [(base / folder / f"{name}_{ending}.tif", indexes) for folder, ending, indexes in pictures]
    return next((p for p in paths if p[0].is_file()), paths[0])


def _label(base: Path, name: str) -> Path:
    paths = [base / folder / f"{name}_label.tif" for folder in _LABELS]
    return next((p for p in paths if p.is_file()), paths[0])


POTSDAM = Original(
    name="potsdam",
    title=TITLE,
    legend=legend("potsdam"),
    coding=COLOURS,
    resolution=0.05,
    bands={
        "rgb": ("red", "green", "blue"),
        "irrg": ("nir", "red", "green"),
        "rgbir": ("red", "green", "blue", "nir"),
    },
    source="https://www.isprs.org/education/benchmarks/UrbanSemLab "
    "(2D labelling, Potsdam; the form there gives the link)",
    licence=TERMS.format(owner="BSF Swissphoto"),
    layout="`2_Ortho_RGB/top_potsdam_2_10_RGB.tif` (or `4_Ortho_RGBIR/…_RGBIR.tif`) with its `.tfw`, and "
    "`5_Labels_all/top_potsdam_2_10_label.tif`",
    find=_find,
    exclude_from_mean=("clutter",),
    # the city: 52.3–52.5° north, 12.9–13.2° east
    ground=Ground(25833, (357_000.0, 5_796_000.0, 380_000.0, 5_820_000.0), "Potsdam"),
)
