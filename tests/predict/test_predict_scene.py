"""Whole scenes, end to end on real files: exactness, seams, nodata, places on the ground, and outputs."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from fakes import CountingSegmenter, EdgeSegmenter, TinySegmenter, bundle_of
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint

from geosemi.errors import ConfigError, OutputError, ResourceError, SceneUnreadable
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

TRICKY = 37  # a prime, so that nothing divides anything


def pixels(path: Path, band: int = 1) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(band)


def whole(model: torch.nn.Module, image: np.ndarray) -> torch.Tensor:
    """One forward pass over the whole scene: probabilities (K, H, W)."""
    with torch.inference_mode():
        return model((torch.from_numpy(image.astype("float32"))[None] - 100) / 50).softmax(1)[0]


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@given(
    height=st.integers(1, 70), width=st.integers(1, 70), tile=st.integers(16, 40), share=st.floats(0, 0.99),
    batch=st.integers(1, 5), stride=st.sampled_from([1, 8]), seed=st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=40)
def test_a_pointwise_model_gives_the_whole_scene_forward(
    make_scene, tmp_path, height, width, tile, share, batch, stride, seed
):
    model = TinySegmenter(seed=seed, stride=stride)
    scene = make_scene(height=height, width=width, seed=seed)
    cut = PredictSettings(tile=tile, overlap=int(share * tile), batch=batch, device="cpu")
    facts = predict_scene(
        bundle_of(model),
        scene,
        tmp_path / "mask.tif",
        cut,
        extras={"confidence": tmp_path / "sure.tif"},
        overwrite=True,
    )
    answer = whole(model, pixels_of(scene))
    mask = pixels(tmp_path / "mask.tif")
    assert (mask == answer.argmax(0).numpy()).all()
    assert np.abs(pixels(tmp_path / "sure.tif") - 254 * answer.amax(0).numpy()).max() <= 0.51
    assert facts.pixels == tuple(np.bincount(mask.ravel(), minlength=4).tolist())
    assert facts.nodata == 0


def pixels_of(scene: Path) -> np.ndarray:
    with rasterio.open(scene) as dataset:
        return dataset.read()


@pytest.mark.parametrize(("tile", "overlap"), [(32, 12), (48, 16), (64, 50)])
def test_no_seam_where_windows_meet(make_scene, tmp_path, tile, overlap):
    """The net errs within 2 pixels of a window's rim; the blend takes those pixels from the neighbour."""
    model = EdgeSegmenter()
    scene = make_scene(height=131, width=157, image=np.random.default_rng(1).integers(60, 200, (3, 131, 157), "uint8"))
    cut = PredictSettings(tile=tile, overlap=overlap, device="cpu")
    predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", cut, extras={"confidence": tmp_path / "sure.tif"})
    answer = whole(model, pixels_of(scene))
    assert (pixels(tmp_path / "mask.tif") == answer.argmax(0).numpy()).mean() > 0.9999
    assert np.abs(pixels(tmp_path / "sure.tif") - 254 * answer.amax(0).numpy()).max() <= 0.6


def test_without_overlap_that_net_does_leave_seams(make_scene, tmp_path):
    """The control of the test above: the seams are there to be seen when nothing is blended."""
    model = EdgeSegmenter()
    scene = make_scene(image=np.random.default_rng(1).integers(60, 200, (3, 131, 157), "uint8"))
    predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", PredictSettings(tile=32, overlap=0, device="cpu"))
    wrong = pixels(tmp_path / "mask.tif") != whole(model, pixels_of(scene)).argmax(0).numpy()
    assert wrong.sum() > 20


def test_bytes_are_the_same_for_every_batch_size_and_on_every_run(make_scene, tmp_path):
    scene = make_scene(height=113, width=TRICKY, nodata=0)
    found = set()
    for number, batch in enumerate([1, 2, 5, 64, 1]):
        out, sure = tmp_path / f"{number}" / "mask.tif", tmp_path / f"{number}" / "sure.tif"
        out.parent.mkdir()
        predict_scene(
            bundle_of(EdgeSegmenter()),
            scene,
            out,
            PredictSettings(batch=batch, device="cpu"),
            extras={"confidence": sure},
        )
        found.add(tuple(sha(p) for p in sorted(out.parent.iterdir())))
    assert len(found) == 1
    assert len(next(iter(found))) == 4


def test_every_batch_has_one_shape_and_the_model_comes_back_as_it_was(make_scene, tmp_path):
    model = CountingSegmenter()
    bundle = bundle_of(model)
    model.train()
    modes = []
    model.on_batch = lambda _: modes.append((model.training, model.classify.training))
    predict_scene(
        bundle, make_scene(height=70, width=50), tmp_path / "mask.tif", PredictSettings(batch=4, device="cpu")
    )
    assert {tuple(b.shape) for b in model.batches} == {(1, 3, 32, 32)}  # a CPU takes one window at a time
    assert set(modes) == {(False, False)}
    assert model.training
    assert model.classify.training


@pytest.mark.parametrize("kind", ["zero", "nan", "alpha", "internal mask"])
def test_nodata_is_nodata_in_the_mask_and_colours_nothing_beside_it(make_scene, tmp_path, kind):
    rng = np.random.default_rng(3)
    hole = np.zeros((70, 90), bool)
    hole[:40, :45] = True
    hole[60, 80] = True
    plain = rng.integers(1, 255, (3, 70, 90)).astype("float32" if kind == "nan" else "uint8")
    image = plain.copy()
    if kind in ("zero", "nan"):
        image[:, hole] = np.nan if kind == "nan" else 0
    extra = {
        "zero": {"nodata": 0}, "nan": {"nodata": float("nan")},
        "alpha": {"alpha": np.where(hole, 0, 255)}, "internal mask": {"mask": ~hole},
    }[kind]  # fmt: skip
    model = CountingSegmenter()
    scene = make_scene(image=image, **extra)
    facts = predict_scene(
        bundle_of(model, tile=16), scene, tmp_path / "mask.tif", PredictSettings(device="cpu"),
        extras={"confidence": tmp_path / "sure.tif"},
    )  # fmt: skip
    mask, sure = pixels(tmp_path / "mask.tif"), pixels(tmp_path / "sure.tif")
    answer = whole(TinySegmenter(), plain).argmax(0).numpy()
    assert (mask == np.where(hole, 255, answer)).all()
    assert (sure[hole] == 255).all()
    assert (sure[~hole] < 255).all()
    assert facts.nodata == hole.sum()
    # windows without a valid pixel never reach the network, and no NaN does
    assert len(model.batches) < 6 * 8
    assert all(torch.isfinite(b).all() for b in model.batches)


def test_what_the_network_sees_on_nodata_is_black(make_scene, tmp_path):
    """-9999 would reach far into valid pixels through a convolution."""
    image = np.full((1, 16, 16), 120.0, "float32")
    image[:, :, 8:] = -9999
    model = CountingSegmenter(bands=1)
    bundle = bundle_of(model, tile=16, provenance={"black": [20.0]})
    predict_scene(bundle, make_scene(image=image, nodata=-9999.0), tmp_path / "mask.tif", PredictSettings(device="cpu"))
    seen = model.batches[0][0, 0]
    assert (seen[:, :8] == (120 - 100) / 50).all()
    assert (seen[:, 8:] == (20 - 100) / 50).all()


def test_a_scene_of_nodata_alone_gives_an_empty_mask(make_scene, tmp_path):
    model = CountingSegmenter()
    scene = make_scene(image=np.zeros((3, 40, 50), "uint8"), nodata=0)
    facts = predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", PredictSettings(device="cpu"))
    assert (pixels(tmp_path / "mask.tif") == 255).all()
    assert (facts.pixels, facts.nodata) == ((0, 0, 0, 0), 2000)
    assert model.batches == []


@pytest.mark.parametrize(
    ("bands", "dtype", "size"),
    [(1, "uint8", (TRICKY, 53)), (3, "uint16", (1, 100)), (4, "float32", (100, 1)), (7, "int16", (5, 5))],
)
def test_any_bands_dtype_and_size(make_scene, tmp_path, bands, dtype, size):
    model = TinySegmenter(bands=bands)
    scene = make_scene(height=size[0], width=size[1], bands=bands, dtype=dtype, photometric="minisblack")
    predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", PredictSettings(device="cpu", tile=32))
    assert (pixels(tmp_path / "mask.tif") == whole(model, pixels_of(scene)).argmax(0).numpy()).all()


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32636", Affine(0.5, 0, 450_000, 0, -0.5, 40_000)),
        ("EPSG:32636", Affine(0.4, 0.3, 450_000, 0.3, -0.4, 40_000)),  # rotated
        ("EPSG:32636", Affine(0.5, 0, 450_000, 0, 0.5, 40_000)),  # south-up
        ("EPSG:4326", Affine(1e-5, 0, 36.8, 0, -1e-5, 0.1)),
        ("EPSG:2263", Affine(1, 0, 1e6, 0, -1, 2e5)),  # US feet
        (None, Affine(2, 0, 5, 0, -2, 9)),
        (None, None),
    ],
)
def test_the_mask_lies_where_the_scene_lies(make_scene, tmp_path, crs, transform):
    scene = make_scene(crs=crs, transform=transform)
    facts = predict_scene(bundle_of(TinySegmenter()), scene, tmp_path / "mask.tif", PredictSettings(device="cpu"))
    with rasterio.open(scene) as one, rasterio.open(tmp_path / "mask.tif") as other:
        assert (one.crs, one.transform, one.shape) == (other.crs, other.transform, other.shape)
    assert [w for w in facts.warnings if "no coordinate system" in w] == (
        ["the scene has no coordinate system, so the mask has none either"] if crs is None else []
    )


def test_ground_control_points_are_kept_and_said(make_scene, tmp_path):
    points = [GroundControlPoint(r, c, 36 + c / 1e4, 1 - r / 1e4) for r, c in [(0, 0), (0, 96), (64, 0), (64, 96)]]
    scene = make_scene(gcps=points, crs="EPSG:4326")
    facts = predict_scene(bundle_of(TinySegmenter()), scene, tmp_path / "mask.tif", PredictSettings(device="cpu"))
    with rasterio.open(scene) as one, rasterio.open(tmp_path / "mask.tif") as other:
        assert [p.asdict() for p in one.gcps[0]] == [p.asdict() for p in other.gcps[0]]
        assert one.gcps[1] == other.gcps[1]
    assert "ground control points: the mask keeps them" in facts.warnings[0]


def test_the_mask_says_what_made_it_and_nothing_about_when_and_where(make_scene, tmp_path):
    scene = make_scene()
    command = "geosemi predict scene.tif --out mask.tif"
    bundle = bundle_of(TinySegmenter())
    predict_scene(bundle, scene, tmp_path / "mask.tif", PredictSettings(device="cpu"), command=command)
    with rasterio.open(tmp_path / "mask.tif") as dataset:
        tags = dataset.tags()
    assert tags["SCENE_SHA256"] == sha(scene)
    assert tags["MODEL_SHA256"] == bundle.digest
    assert tags["GEOSEMI_COMMAND"] == command
    assert json.loads(tags["GEOSEMI_SETTINGS"]) == {"tile": 32, "overlap": 8, "stitch": "blend", "precision": "fp32"}
    assert json.loads(tags["GEOSEMI_LEGEND"]) == bundle.card.legend.to_dict()
    assert str(tmp_path) not in (tmp_path / "mask.tif").read_bytes().decode("latin-1")
    assert "GEOSEMI_COMMAND" in tags
    assert not any("TIME" in t or "HOST" in t for t in tags)


def test_progress_counts_every_window_once(make_scene, tmp_path):
    calls = []
    scene = make_scene(height=70, width=70, image=np.tri(70, 70, dtype="uint8")[None].repeat(3, 0) * 90, nodata=0)
    predict_scene(
        bundle_of(TinySegmenter(), tile=16), scene, tmp_path / "mask.tif",
        PredictSettings(batch=3, overlap=0, device="cpu"), on_progress=lambda *c: calls.append(c),
    )  # fmt: skip
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)
    assert calls[-1] == (25, 25)


def leftovers(folder: Path, *known: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p not in known)


def test_existing_outputs_and_missing_folders_are_told_before_any_work(make_scene, tmp_path):
    model = CountingSegmenter()
    scene, out = make_scene(), tmp_path / "mask.tif"
    run = lambda out, **more: predict_scene(bundle_of(model), scene, out, PredictSettings(device="cpu"), **more)  # noqa: E731
    for name in ("mask.tif", "mask.qml", "mask.tif.aux.xml"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match=rf"{name}` exists") as caught:
            run(out)
        assert "--overwrite" in caught.value.hint
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    with pytest.raises(OutputError, match="does not exist"):
        run(tmp_path / "no" / "mask.tif")
    with pytest.raises(OutputError, match="no name for a GeoTIFF") as caught:
        run(tmp_path / "mask.jpg")
    assert ".tif" in caught.value.hint
    with pytest.raises(OutputError, match="would be two outputs"):
        run(out, extras={"confidence": out})
    assert model.batches == []
    assert leftovers(tmp_path, scene) == []


@pytest.mark.parametrize("link", ["itself", "symlink", "hard link"])
def test_the_scene_is_never_overwritten(make_scene, tmp_path, link):
    scene = make_scene()
    out = scene if link == "itself" else tmp_path / "other.tif"
    if link != "itself":
        out.symlink_to(scene) if link == "symlink" else out.hardlink_to(scene)
    before = sha(scene)
    for role in ("mask", "confidence"):
        with pytest.raises(OutputError, match="is an input"):
            predict_scene(
                bundle_of(TinySegmenter()), scene, out if role == "mask" else tmp_path / "mask.tif",
                PredictSettings(device="cpu"), extras={"confidence": out} if role != "mask" else {}, overwrite=True,
            )  # fmt: skip
    assert sha(scene) == before


def test_a_damaged_block_is_named_and_leaves_nothing(make_scene, tmp_path):
    scene = make_scene(height=200, width=200, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    content = bytearray(scene.read_bytes())
    with rasterio.open(scene) as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_1_2", "TIFF", bidx=1))
    content[place : place + 40] = bytes(40)
    scene.write_bytes(content)
    with pytest.raises(SceneUnreadable, match=r"cannot be decoded at rows \d+–\d+"):
        predict_scene(bundle_of(TinySegmenter()), scene, tmp_path / "mask.tif", PredictSettings(device="cpu"))
    assert leftovers(tmp_path, scene) == []


class Spilt(Exception):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, Spilt])
def test_an_error_in_the_middle_leaves_the_old_output_and_no_thread(make_scene, tmp_path, error):
    import threading

    def stop(_):
        if len(model.batches) == 4:
            raise error

    model = CountingSegmenter(on_batch=stop)
    scene, out = make_scene(height=200, width=200), tmp_path / "mask.tif"
    out.write_text("old")
    before = threading.active_count()
    with pytest.raises(error):
        predict_scene(bundle_of(model), scene, out, PredictSettings(device="cpu"), overwrite=True)
    assert out.read_text() == "old"
    assert leftovers(tmp_path, scene, out) == []
    assert threading.active_count() == before


def test_a_scene_that_changes_meanwhile_is_refused(make_scene, tmp_path):
    scene = make_scene(height=100, width=100)
    model = CountingSegmenter(on_batch=lambda _: scene.touch())
    with pytest.raises(SceneUnreadable, match="changed while it was being read") as caught:
        predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", PredictSettings(device="cpu"))
    assert "copy has finished" in caught.value.hint
    assert [p.name for p in tmp_path.iterdir() if p != scene] == [".mask.tif.unfinished"]  # of no use, and replaced by:
    predict_scene(bundle_of(TinySegmenter()), scene, tmp_path / "mask.tif", PredictSettings(device="cpu"))
    assert {p.name for p in tmp_path.iterdir()} == {scene.name, "mask.tif", "mask.qml", "mask.tif.aux.xml"}


def test_a_network_that_answers_nan_is_refused(make_scene, tmp_path):
    model = TinySegmenter()
    model.classify.bias.data[1] = torch.nan
    with pytest.raises(ResourceError, match="is not a number"):
        predict_scene(bundle_of(model), make_scene(), tmp_path / "mask.tif", PredictSettings(device="cpu"))


def test_settings_that_cannot_be_are_refused(make_scene, tmp_path):
    bundle, scene, out = bundle_of(TinySegmenter()), make_scene(), tmp_path / "mask.tif"
    for wrong, text, hint in [
        (PredictSettings(overlap=32), "windows of 32 pixels cannot overlap by 32", "below 32"),
        (PredictSettings(device="gpu7"), "`gpu7` is no device", "auto, cpu"),
        (PredictSettings(device="cuda:99"), "no device `cuda:99`", "auto"),
    ]:
        with pytest.raises(ConfigError, match=text) as caught:
            predict_scene(bundle, scene, out, wrong)
        assert hint in caught.value.hint


@given(
    height=st.integers(1, 70), width=st.integers(1, 70), tile=st.integers(16, 48), more=st.integers(0, 9),
    batch=st.integers(1, 4), seed=st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=40)
def test_centre_is_one_pass_over_the_whole_scene(make_scene, tmp_path, height, width, tile, more, batch, seed):
    """Every pixel, rims and corners too, for any size, where windows share twice the reach of the network or more."""
    model = EdgeSegmenter(seed=seed)
    scene = make_scene(height=height, width=width, seed=seed)
    overlap = min(2 * model.reach + more, tile - 1)
    cut = PredictSettings(tile=tile, overlap=overlap, stitch="centre", batch=batch, device="cpu")
    predict_scene(
        bundle_of(model), scene, tmp_path / "mask.tif", cut,
        extras={"probabilities": tmp_path / "p.tif"}, overwrite=True, resume=False,
    )  # fmt: skip
    answer = whole(model, pixels_of(scene))
    with rasterio.open(tmp_path / "p.tif") as made:
        assert np.abs(made.read() - 254 * answer.numpy()).max() <= 0.51
    first, second = answer.topk(2, dim=0).values
    clear = (first - second).numpy() > 1e-5  # elsewhere the order of sums decides
    assert (pixels(tmp_path / "mask.tif") == answer.argmax(0).numpy())[clear].all()


@pytest.mark.parametrize("stitch", ["blend", "centre"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(make_scene, tmp_path, stitch):
    scene = make_scene(height=1700, width=60)
    cut = PredictSettings(tile=64, stitch=stitch, device="cpu")
    extras = {"confidence": tmp_path / "sure.tif", "probabilities_float16": tmp_path / "p.tif"}
    out = tmp_path / "mask.tif"

    def run(model, **more):
        return predict_scene(bundle_of(model), scene, out, cut, extras=extras, overwrite=True, **more)

    model = CountingSegmenter()
    run(model)
    wanted, windows = {p.name: sha(p) for p in tmp_path.iterdir()}, len(model.batches)
    for path in (out, *extras.values()):
        path.unlink()

    def stop(_):
        if len(model.batches) == 0.8 * windows // 1:
            raise Spilt

    model = CountingSegmenter(on_batch=stop)
    with pytest.raises(Spilt):
        run(model)
    assert not out.exists()
    model = CountingSegmenter()
    facts = run(model, resume=True)
    assert facts.resumed == 1024
    assert len(model.batches) < 0.5 * windows
    assert {p.name: sha(p) for p in tmp_path.iterdir()} == wanted
    assert sum(facts.pixels) + facts.nodata == 1700 * 60


def test_work_of_other_settings_is_not_gone_on_with(make_scene, tmp_path):
    scene = make_scene(height=1200, width=40)

    def stop(_):
        if len(model.batches) == 80:
            raise Spilt

    def run(**more):
        predict_scene(
            bundle_of(model), scene, tmp_path / "mask.tif", PredictSettings(tile=32, device="cpu", **more), resume=True
        )

    model = CountingSegmenter(on_batch=stop)
    with pytest.raises(Spilt):
        run()
    with pytest.raises(ConfigError, match=r"other work: `overlap` was 8, now 4") as caught:
        run(overlap=4)
    assert "--restart" in caught.value.hint


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_maps_almost_the_same(make_scene, tmp_path, precision):
    scene = make_scene(height=100, width=100)
    predict_scene(
        bundle_of(TinySegmenter()), scene, tmp_path / "mask.tif", PredictSettings(device="cpu", precision=precision)
    )
    same = pixels(tmp_path / "mask.tif") == whole(TinySegmenter(), pixels_of(scene)).argmax(0).numpy()
    assert same.mean() > 0.97


@pytest.mark.parametrize("factor", [0.5, 2.0, 1.37])
def test_a_scene_is_resampled_and_its_mask_lies_on_its_own_pixels(make_scene, tmp_path, factor):
    """Fields of 40 pixels and a pointwise network: away from their edges any resolution says the same."""
    fields = np.kron(np.random.default_rng(0).integers(20, 240, (3, 5, 4)), np.ones((40, 40), int)).astype("uint8")
    scene = make_scene(image=fields, transform=Affine(0.5, 0, 450_000, 0, -0.5, 40_000))
    model = CountingSegmenter()
    bundle = bundle_of(model, resolution=0.5 * factor)
    predict_scene(bundle, scene, tmp_path / "mask.tif", PredictSettings(device="cpu", resolution="model"))
    answer = whole(TinySegmenter(), fields).argmax(0).numpy()
    inner = np.kron(np.ones((5, 4), bool), np.pad(np.ones((32, 32), bool), 4))
    with rasterio.open(scene) as one, rasterio.open(tmp_path / "mask.tif") as other:
        assert (one.crs, one.transform, one.shape) == (other.crs, other.transform, other.shape)
    assert (pixels(tmp_path / "mask.tif") == answer)[inner].all()
    seen = sum(b[:, 0].numel() for b in model.batches)
    assert seen < 3 * fields[0].size / factor**2


def test_only_an_area_of_interest_is_mapped_and_only_its_windows_are_seen(make_scene, tmp_path):
    scene = make_scene(height=200, width=200, transform=Affine(0.5, 0, 450_000, 0, -0.5, 40_000))
    west, north = 450_000 + 0.5 * 120, 40_000 - 0.5 * 30
    ring = [[west, north], [west + 20, north], [west + 20, north - 10], [west, north - 10], [west, north]]
    area = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32636"}}
    content = {"type": "FeatureCollection", "crs": crs, "features": [area]}
    (tmp_path / "aoi.geojson").write_text(json.dumps(content))
    model = CountingSegmenter()
    cut = PredictSettings(tile=32, overlap=0, device="cpu", aoi=tmp_path / "aoi.geojson")
    facts = predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", cut)
    inside = np.zeros((200, 200), bool)
    inside[30:50, 120:160] = True
    mask = pixels(tmp_path / "mask.tif")
    assert (mask == np.where(inside, whole(TinySegmenter(), pixels_of(scene)).argmax(0).numpy(), 255)).all()
    assert facts.nodata == 200 * 200 - 800
    assert 0 < len(model.batches) <= 6


@pytest.mark.parametrize("interrupted", [False, True])
def test_damaged_blocks_become_nodata_where_asked_and_are_written_down(make_scene, tmp_path, interrupted):
    scene = make_scene(height=1300, width=130, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    plain = pixels_of(scene)
    content = bytearray(scene.read_bytes())
    with rasterio.open(scene) as dataset:
        for block in ("1_2", "0_18"):
            place = int(dataset.get_tag_item(f"BLOCK_OFFSET_{block}", "TIFF", bidx=1))
            content[place : place + 40] = bytes(40)
    scene.write_bytes(content)
    cut = PredictSettings(tile=64, overlap=0, device="cpu", on_bad_block="nodata")
    if interrupted:

        def stop(_):
            if len(model.batches) == 50:
                raise Spilt

        model = CountingSegmenter(on_batch=stop)
        with pytest.raises(Spilt):
            predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", cut)
    facts = predict_scene(bundle_of(TinySegmenter()), scene, tmp_path / "mask.tif", cut)
    bad = np.zeros((1300, 130), bool)
    bad[128:192, 64:128] = bad[18 * 64 : 19 * 64, :64] = True
    wanted = np.where(bad, 255, whole(TinySegmenter(), plain).argmax(0).numpy())
    assert (pixels(tmp_path / "mask.tif") == wanted).all()
    assert (facts.damaged, facts.resumed) == (2, 512 if interrupted else 0)
    assert "2 damaged blocks are nodata" in facts.warnings[-1]
    report = json.loads((tmp_path / "mask.tif.damage.json").read_text())
    assert [(b["row"], b["col"]) for b in report["blocks"]] == [(128, 64), (18 * 64, 0)]


def test_several_views_are_averaged(make_scene, tmp_path):
    scene = make_scene(height=64, width=64)
    model = EdgeSegmenter()
    cut = PredictSettings(tile=64, overlap=0, tta="d4", device="cpu")
    predict_scene(bundle_of(model), scene, tmp_path / "mask.tif", cut, extras={"confidence": tmp_path / "sure.tif"})
    image = torch.from_numpy(pixels_of(scene).astype("float32"))
    views = [(turn, flip) for turn in range(4) for flip in (False, True)]
    total = torch.zeros(4, 64, 64)
    for turn, flip in views:
        seen = torch.rot90(image, turn, (1, 2))
        answer = whole(model, (seen.flip(2) if flip else seen).numpy())
        total += torch.rot90(answer.flip(2) if flip else answer, -turn, (1, 2))
    assert (pixels(tmp_path / "mask.tif") == total.argmax(0).numpy()).mean() > 0.999
    assert np.abs(pixels(tmp_path / "sure.tif") - 254 * total.amax(0).numpy() / 8).max() <= 0.6
