"""A whole run on small scenes: what it leaves behind, what it says, what it refuses."""

import csv
import json
import shutil

import numpy as np
import pytest
import scenery
import torch
import yaml
from lightning.fabric import Fabric
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn.functional import one_hot

from geosemi.config import load_settings
from geosemi.data.loaders import validation_chips
from geosemi.errors import BundleError, ConfigError, GridMismatch, InputError, OutputError
from geosemi.geo.scene import reading
from geosemi.geo.window import Window
from geosemi.metrics import PRESETS, Confusion, score
from geosemi.models.bundle import Bundle
from geosemi.train.run import Validator, prepare_run, train


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return scenery.country(tmp_path_factory.mktemp("country"))


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """One run of fixmatch: its folder, its settings, and what it told."""
    out, watch = tmp_path_factory.mktemp("runs") / "first", scenery.Watch()
    settings = scenery.run_settings(root, train={"steps": 30, "validate_every": 10})
    assert train(settings, out, watcher=watch) == out / "bundle.safetensors"
    return out, settings, watch


class TestFolder:
    def test_it_holds_what_it_promises(self, finished):
        out, _, _ = finished
        names = {p.name for p in out.iterdir()}
        assert names == {
            "audit.csv", "audit.json", "bundle.safetensors", "checkpoints", "config.yaml", "metrics.csv", "panels",
            "run.json", "split.json", "statistics.json", "tensorboard", "validation.csv", "validation.png",
        }  # fmt: skip
        assert [p.name for p in sorted((out / "checkpoints").iterdir())] == [
            "step-00000020.safetensors",
            "step-00000030.safetensors",
        ]

    def test_its_config_gives_the_same_settings(self, finished):
        out, settings, _ = finished
        assert load_settings(out / "config.yaml", {}, [], has_gpu=True) == settings

    def test_its_split_is_readable(self, finished):
        plain = json.loads((finished[0] / "split.json").read_text())
        assert {r[0] for r in plain["labelled"]} == {"a"}
        assert {r[0] for r in plain["unlabelled"]} == {"a", "u0"}
        assert [r[0] for r in plain["validation"]] == ["b"]
        assert [r[0] for r in plain["test"]] == ["c"]
        assert (len(plain["labelled"]), plain["train_blocks"]) == (8, 16)

    def test_a_line_for_every_step(self, finished):
        with (finished[0] / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(r["step"]) for r in rows] == list(range(30))
        assert set(rows[0]) == {"step", "supervised", "consistency", "loss", "trusted", "lr"}
        for (step, losses), row in zip(finished[2].steps, rows, strict=True):
            assert step == int(row["step"])
            assert float(row["loss"]) == pytest.approx(losses["loss"], rel=1e-5)
            assert losses["loss"] == pytest.approx(losses["supervised"] + losses["consistency"], rel=1e-5)
            assert float(row["lr"]) == pytest.approx(2e-3 * (1 - max(0, step - 1) / 30) ** 0.9, rel=1e-5)

    def test_a_line_for_every_validation(self, finished):
        with (finished[0] / "validation.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(r["step"]) for r in rows] == [10, 20, 30]
        expected = [
            "miou",
            "mf1",
            "oa",
            "kappa",
            *(f"iou {n}" for n in scenery.NAMES),
            *(f"f1 {n}" for n in scenery.NAMES),
        ]
        assert list(rows[0])[1:] == expected
        for (_, scores, _), row in zip(finished[2].scores, rows, strict=True):
            assert float(row["miou"]) == pytest.approx(scores.miou, abs=1e-5)

    def test_tensorboard_shows_the_same(self, finished):
        out, _, watch = finished
        events = EventAccumulator(str(out / "tensorboard"))
        events.Reload()
        assert {"train/loss", "train/lr", "validation/miou", "validation/iou roof"} <= set(events.Tags()["scalars"])
        losses = events.Scalars("train/loss")
        # counted in finished steps, as validations are
        assert [e.step for e in losses] == list(range(1, 31))
        assert [e.value for e in losses] == pytest.approx([v["loss"] for _, v in watch.steps])
        assert [e.step for e in events.Scalars("validation/miou")] == [10, 20, 30]

    def test_the_bundle_can_be_used_by_a_stranger(self, finished):
        bundle = Bundle.load(finished[0] / "bundle.safetensors")
        card = bundle.card
        assert card.legend.names == scenery.NAMES
        assert card.bands == ("band_1", "band_2", "band_3")
        assert (card.provenance["crop"], card.resolution) == (48, pytest.approx(0.5, rel=1e-3))
        assert card.provenance["method"] == "fixmatch"
        assert (card.provenance["seed"], card.provenance["labelled_blocks"]) == (0, 8)
        assert bundle.model(torch.zeros(1, 3, 48, 48)).shape == (1, 3, 48, 48)

    def test_the_picture_is_a_picture(self, finished):
        with Image.open(finished[0] / "validation.png") as picture:
            assert picture.format == "PNG"
            pixels = np.asarray(picture.convert("RGB"))
        assert min(pixels.shape[:2]) > 200
        colours = {tuple(c) for c in pixels.reshape(-1, 3)[::7].tolist()}
        assert {tuple(bytes.fromhex(c[1:])) for c in scenery.COLOURS} <= colours

    def test_how_it_came_to_be(self, finished):
        out, _, watch = finished
        facts = json.loads((out / "run.json").read_text())
        best = max(watch.scores, key=lambda s: s[1].miou)
        assert facts["steps"] == 30
        assert facts["best_step"] == best[0]
        assert facts["best_miou"] == pytest.approx(best[1].miou)
        assert (facts["labelled_blocks"], facts["train_blocks"], facts["leaky"]) == (8, 16, False)

    def test_it_learnt(self, finished):
        # three classes of plain tones: guessing gives a mIoU of 0.2
        assert max(s.miou for _, s, _ in finished[2].scores) > 0.4

    def test_the_shipped_model_scores_what_the_run_says(self, finished, root):
        out, settings, watch = finished
        prepared = prepare_run(settings, scenery.Watch())
        bundle, confusion = Bundle.load(out / "bundle.safetensors"), Confusion(3)
        mean, std = (torch.tensor(v)[:, None, None] for v in (bundle.card.mean, bundle.card.std))
        for chips, _ in validation_chips(prepared.scenes, prepared.split.validation, settings.data, size=48, batch=1):
            with torch.no_grad():
                guess = bundle.model((chips.image - mean) / std).argmax(1)
            confusion.add(guess.numpy(), chips.label.numpy())
        assert score(confusion, scenery.LEGEND).miou == pytest.approx(max(s.miou for _, s, _ in watch.scores), abs=1e-4)


class Knowing(nn.Module):
    """Says the truth of the pixels that it is asked about, and class 0 elsewhere."""

    def __init__(self, chips):
        super().__init__()
        self._chips = iter(chips)

    def forward(self, image):
        label = next(self._chips).label
        return one_hot(label.masked_fill(label > 2, 0), 3).movedim(-1, 1).float()


@pytest.mark.parametrize("protocol", PRESETS)
@pytest.mark.parametrize("size", [40, 64, 128])
def test_whoever_is_right_scores_one_however_chips_cover_the_ground(root, size, protocol):
    """Chips are filled up with ground that is shown elsewhere; `dwl` takes predictions without truth for wrong ones."""
    settings = scenery.run_settings(root, augment={"size": size}, train={"protocol": protocol})
    prepared = prepare_run(settings, scenery.Watch())
    shown = validation_chips(prepared.scenes, prepared.split.validation, settings.data, size=size, batch=4)
    scores = Validator(settings, prepared)(Knowing([s.chips for s in shown]), Fabric(accelerator="cpu"))
    assert scores.miou == 1


class TestWords:
    def test_a_run_says_what_it_is_about_to_do(self, finished):
        _, _, watch = finished
        first = watch.notes[0]
        assert first.startswith("fixmatch with light (0.48 M parameters) on cpu: 8 of 16 blocks labelled")
        assert "2 unlabelled regions, 1 for validation, 1 for testing" in first
        assert watch.begun == [(30, 0)]
        assert watch.counts == [("reading labels", i, 3) for i in range(4)]
        assert watch.notes[1:] == []

    @pytest.mark.parametrize(("method", "opinions", "said"), [
        ("semiearth", False, 1), ("semiearth", True, 0), ("fixmatch", False, 0),
        ({"name": "semiearth", "purify": {"mode": "off"}}, False, 0),
    ])  # fmt: skip
    def test_missing_opinions_are_told_in_one_line(self, tmp_path, method, opinions, said):
        scenery.country(tmp_path / "data", side=96, opinions=opinions)
        watch = scenery.Watch()
        train(scenery.run_settings(tmp_path / "data", method, train={"steps": 1}), tmp_path / "run", watcher=watch)
        lines = [n for n in watch.notes if n.startswith("no opinion")]
        assert len(lines) == said
        assert sum(n.startswith("warning: purification changed nothing") for n in watch.notes) == said
        assert all("purification is off" in n and "geosemi annotate" in n and "\n" not in n for n in lines)
        assert len(watch.steps) == 1

    def test_classes_without_a_labelled_pixel_are_named(self, tmp_path):
        scenery.country(tmp_path / "data", side=96)
        ids = scenery.truth(96, 96)
        scenery.write_tif(
            tmp_path / "data" / "labels" / "a.tif", np.where(ids == 2, 1, ids).astype(np.uint8), scenery.place()
        )
        watch = scenery.Watch()
        train(
            scenery.run_settings(tmp_path / "data", "supervised", train={"steps": 1}), tmp_path / "run", watcher=watch
        )
        warnings = [n for n in watch.notes if n.startswith("warning")]
        assert warnings == ["warning: the labelled blocks hold no pixel of roof; such a class cannot be learnt"]

    def test_patches_are_called_leaky(self, root, tmp_path):
        watch = scenery.Watch()
        settings = scenery.run_settings(
            root, "supervised", data={"validation": [], "test": []}, split={"unit": "patch"}, train={"steps": 1}
        )
        train(settings, tmp_path / "run", watcher=watch)
        assert any("optimistic" in n and n.startswith("warning: split by patch") for n in watch.notes)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["leaky"] is True


class TestRefusals:
    def test_a_folder_that_holds_a_run(self, finished):
        out, settings, _ = finished
        before = (out / "bundle.safetensors").read_bytes()
        with pytest.raises(OutputError, match="holds a run already") as caught:
            train(settings, out)
        assert "--resume" in caught.value.hint
        assert "--out" in caught.value.hint
        assert (out / "bundle.safetensors").read_bytes() == before

    def test_nothing_to_resume(self, root, tmp_path):
        with pytest.raises(ConfigError, match="holds no run to resume") as caught:
            train(scenery.run_settings(root), tmp_path / "no", resume=True)
        assert "without `--resume`" in caught.value.hint

    def test_other_settings(self, finished, root):
        out, settings, _ = finished
        other = settings.model_copy(update={"train": settings.train.model_copy(update={"lr": 0.01})})
        with pytest.raises(ConfigError, match="was trained with other settings") as caught:
            train(other, out, resume=True)
        assert "config.yaml" in caught.value.hint
        assert caught.value.lines[1:] == (f"train.lr: {settings.train.lr} then, 0.01 now",)
        # and the folder still says what it was trained with
        assert yaml.safe_load((out / "config.yaml").read_text())["train"]["lr"] == settings.train.lr

    def test_data_that_changed_since(self, tmp_path):
        data = scenery.country(tmp_path / "data", side=96)
        settings = scenery.run_settings(data, "supervised", train={"steps": 2, "save_every": 1})
        train(settings, tmp_path / "run")
        where = scenery.place(460_000)
        scenery.write_tif(data / "images" / "late.tif", scenery.picture(scenery.truth(96, 96)), where)
        with pytest.raises(ConfigError, match="scenes or labels were added or removed") as caught:
            train(settings, tmp_path / "run", resume=True)
        assert "--out" in caught.value.hint

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
    def test_a_device_that_is_not_there(self, root, tmp_path):
        with pytest.raises(
            ConfigError, match=r"`--device cuda`: the installed torch .* (CUDA GPU|without CUDA)"
        ) as caught:
            train(scenery.run_settings(root, train={"device": "cuda"}), tmp_path / "run")
        assert "leave `--device` out" in caught.value.hint
        assert not (tmp_path / "run").exists()

    def test_an_unknown_protocol(self, root, tmp_path):
        with pytest.raises(ConfigError, match=r"`train\.protocol` is `mine`") as caught:
            train(scenery.run_settings(root, train={"protocol": "mine"}), tmp_path / "run")
        assert "default" in caught.value.hint

    def test_a_folder_that_cannot_be_made(self, root, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(OutputError, match="cannot be made") as caught:
            train(scenery.run_settings(root), tmp_path / "file" / "run")
        assert "--out" in caught.value.hint

    def test_no_unlabelled_ground(self, tmp_path):
        lists = scenery.country(tmp_path / "data", side=96) / "lists"
        lists.mkdir()
        (lists / "labeled.txt").write_text("images/a.tif labels/a.tif\n")
        settings = scenery.run_settings(tmp_path / "data", data={"validation": [], "test": [], "lists": "lists"})
        with pytest.raises(ConfigError, match="`fixmatch` needs unlabelled ground") as caught:
            train(settings, tmp_path / "run")
        assert "--method supervised" in caught.value.hint

    def test_data_that_are_wrong_leave_no_run_behind(self, tmp_path):
        scenery.country(tmp_path / "data", side=96)
        (tmp_path / "data" / "labels" / "a.tif").write_bytes(b"not a raster")
        with pytest.raises(InputError, match=r"a\.tif"):
            train(scenery.run_settings(tmp_path / "data"), tmp_path / "run")
        assert not (tmp_path / "run" / "config.yaml").exists()
        scenery.country(tmp_path / "data", side=96)
        train(scenery.run_settings(tmp_path / "data", "supervised", train={"steps": 1}), tmp_path / "run")

    def test_opinions_on_other_pixels_are_refused_before_anything_is_made(self, tmp_path):
        """They were met when the first chip of their scene came up, hours later."""
        scenery.country(tmp_path / "data", side=96, opinions=True)
        small = scenery.country(tmp_path / "small", side=80, opinions=True) / "opinions"
        for name in ("a.tif", "u0.tif"):
            shutil.copy(small / name, tmp_path / "data" / "opinions" / name)
        with pytest.raises(GridMismatch, match="the opinions: 2 problems"):
            train(scenery.run_settings(tmp_path / "data", "semiearth", train={"steps": 1}), tmp_path / "run")
        assert not (tmp_path / "run").exists()
        method = {"name": "semiearth", "purify": {"mode": "off"}}  # does not hear them
        train(scenery.run_settings(tmp_path / "data", method, train={"steps": 1}), tmp_path / "run")


class TestKinds:
    def test_eight_bands_of_16_bits(self, tmp_path):
        scenery.country(tmp_path / "data", side=96, bands=8, dtype="uint16")
        watch = scenery.Watch()
        path = train(scenery.run_settings(tmp_path / "data", train={"steps": 2}), tmp_path / "run", watcher=watch)
        card = Bundle.load(path).card
        assert len(card.bands) == len(card.mean) == 8
        assert card.provenance["dtype"] == "uint16"
        assert min(card.mean) > 255
        assert all(np.isfinite(v["loss"]) for _, v in watch.steps)
        assert (tmp_path / "run" / "validation.png").is_file()

    def test_bf16(self, root, tmp_path):
        watch = scenery.Watch()
        settings = scenery.run_settings(root, train={"steps": 2, "precision": "bf16"})
        path = train(settings, tmp_path / "run", watcher=watch)
        assert [np.isfinite(v["loss"]) for _, v in watch.steps] == [True, True]
        assert all(p.dtype == torch.float32 for p in Bundle.load(path).model.parameters())

    @pytest.mark.filterwarnings("ignore:.*fp16 is not supported on CPU")
    def test_fp16_needs_a_gpu(self, root, tmp_path):
        with pytest.raises(ConfigError, match="fp16") as caught:
            train(scenery.run_settings(root, train={"steps": 2, "precision": "fp16"}), tmp_path / "run")
        assert "bf16" in caught.value.hint

    @pytest.mark.parametrize("method", ["supervised", "mean_teacher"])
    def test_the_other_methods(self, root, tmp_path, method):
        assert train(scenery.run_settings(root, method, train={"steps": 2}), tmp_path / "run").is_file()

    def test_no_validation_keeps_the_last(self, root, tmp_path):
        settings = scenery.run_settings(root, data={"validation": []}, split={"validation": 0.0}, train={"steps": 4})
        watch = scenery.Watch()
        card = Bundle.load(train(settings, tmp_path / "run", watcher=watch)).card
        assert card.provenance["step"] == 4
        assert card.provenance["validation"] is None
        assert watch.scores == []
        assert not (tmp_path / "run" / "validation.png").exists()
        assert json.loads((tmp_path / "run" / "run.json").read_text())["best_miou"] is None

    def test_validation_ground_without_truth_still_ships_a_model(self, tmp_path):
        scenery.country(tmp_path / "data", side=96)
        where = scenery.place(450_096)
        scenery.write_tif(tmp_path / "data" / "labels" / "b.tif", np.full((96, 96), 255, np.uint8), where)
        path = train(scenery.run_settings(tmp_path / "data", train={"steps": 4}), tmp_path / "run")
        assert Bundle.load(path).card.provenance["step"] == 4

    def test_nodata_in_scenes(self, tmp_path):
        scenery.country(tmp_path / "data", side=96)
        image = scenery.picture(scenery.truth(96, 96))
        image[:, 20:] = 0
        scenery.write_tif(tmp_path / "data" / "images" / "a.tif", image, scenery.place(), nodata=0)
        watch = scenery.Watch()
        train(scenery.run_settings(tmp_path / "data", train={"steps": 3}), tmp_path / "run", watcher=watch)
        assert all(np.isfinite(v["loss"]) for _, v in watch.steps)

    def test_scenes_kept_for_testing_are_never_read(self, tmp_path):
        scenery.country(tmp_path / "data", side=96)
        kept = tmp_path / "data" / "images" / "c.tif"
        content = bytearray(kept.read_bytes())
        settings = scenery.run_settings(tmp_path / "data", train={"steps": 2})
        prepared = prepare_run(settings, scenery.Watch())
        scene = next(s.scene for s in prepared.scenes.scenes if s.name == "c")
        with reading(scene) as reader:
            before = reader.read(Window(0, 0, 96, 96)).image
        scenery.write_tif(kept, 255 - before, scenery.place(450_192))
        assert bytes(content) != kept.read_bytes()
        assert prepare_run(settings, scenery.Watch()).radiometry == prepared.radiometry


def test_a_bundle_that_is_gone_is_named(tmp_path):
    with pytest.raises(BundleError):
        Bundle.load(tmp_path / "bundle.safetensors")
