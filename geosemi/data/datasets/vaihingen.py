"""ISPRS Vaihingen: 33 aerial pictures of about 2500 × 2000 pixels at 9 cm, near-infrared, red and green.

16 pictures are for training and 17 for testing, as in the contest (the lists are TorchGeo's).

The world files name no coordinate system. Their numbers are those of UTM zone 32 north: E 497,000, N 5,420,000 is the
town of Vaihingen an der Enz in EPSG:32632, while Gauss-Krüger coordinates, the other candidate of that time, would be
near E 3,497,000. Whether the datum is WGS 84 or ETRS89 cannot be seen (they differ by less than a metre there); WGS 84
is stated. A world file with numbers elsewhere is refused.
"""

from functools import partial
from pathlib import Path

from geosemi.data.datasets.base import Found, Original, inner_folder
from geosemi.data.datasets.isprs import COLOURS, TERMS, legend, pair_tiles
from geosemi.data.datasets.placing import Ground

TITLE = "ISPRS Vaihingen"
_LABELS = ("gts_for_participants", "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE", "gts", ".")


def _find(root: Path, bands: str) -> Found:
    from torchgeo.datasets import Vaihingen2D  # noqa: PLC0415 - seconds to import, only for its lists

    base = inner_folder(root, ("Vaihingen", "ISPRS_semantic_labeling_Vaihingen"), ["top"])
    if not (base / "top").is_dir():
        raise VAIHINGEN.missing(f"no pictures of {TITLE} in {bands}: looked for `top` in `{base}`")
    splits = {part: [Path(name).stem for name in names] for part, names in Vaihingen2D.splits.items()}
    return pair_tiles(TITLE, splits, partial(_image, base), partial(_label, [base, root]))


def _image(base: Path, name: str) -> tuple[Path, tuple[int, ...]]:
    return base / "top" / f"{name}.tif", (1, 2, 3)


def _label(roots: list[Path], name: str) -> Path:
    paths = [root / folder / f"{name}.tif" for root in roots for folder in _LABELS]
    return next((p for p in paths if p.is_file()), paths[0])


VAIHINGEN = Original(
    name="vaihingen",
    title=TITLE,
    legend=legend("vaihingen"),
    coding=COLOURS,
    resolution=0.09,
    bands={"irrg": ("nir", "red", "green")},
    source="https://www.isprs.org/education/benchmarks/UrbanSemLab "
    "(2D labelling, Vaihingen; the form there gives the link)",
    licence=TERMS.format(owner="German Society for Photogrammetry, Remote Sensing and Geoinformation, DGPF"),
    layout="`top/top_mosaic_09cm_area1.tif` with its `.tfw`, and the labels of the same names in "
    "`gts_for_participants` or, of the complete set, beside `top`",
    find=_find,
    exclude_from_mean=("clutter",),
    ground=Ground(32632, (490_000.0, 5_413_000.0, 504_000.0, 5_427_000.0), "Vaihingen an der Enz"),
)
