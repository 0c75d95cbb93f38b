"""YAML and options become settings; every fault is told, all of them at once, with the nearest known word."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from geosemi.config import MODELS, load_settings, plan_run
from geosemi.errors import ConfigError, DatasetMissing, GeosemiError, OutputError
from geosemi.train.folder import write_config
from geosemi.train.settings import RunSettings

ROOT = Path(__file__).parents[1]
# those of benchmarks are read in test_configs.py
CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.yaml") if p.parent.name != "benchmark")


def settings_of(text=None, options=None, overrides=(), *, folder=None, has_gpu=False):
    config = None
    if text is not None:
        config = folder / "run.yaml"
        config.write_text(text)
    return load_settings(config, options or {}, overrides, has_gpu=has_gpu)


def refusal(*args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        settings_of(*args, **kwargs)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value


class TestDefaults:
    def test_semiearth_with_light_on_a_cpu(self):
        settings = settings_of()
        assert (settings.method.name, settings.model.name) == ("semiearth", "light")
        assert (settings.chips.size, settings.augment.size, settings.train.lr) == (256, 256, 4e-3)

    def test_dinov2_with_a_gpu(self):
        settings = settings_of(has_gpu=True)
        assert settings.model.name == "dinov2_small"
        assert (settings.chips.size, settings.augment.size, settings.train.lr) == (512, 518, 2e-4)

    @pytest.mark.parametrize("model", ["dinov2_small", "dinov2_base", "dinov2_large"])
    def test_defaults_follow_the_model(self, model):
        settings = settings_of(options={"model.name": model})
        assert (settings.chips.size, settings.augment.size, settings.train.lr) == (512, 518, 2e-4)

    @pytest.mark.parametrize("model", MODELS)
    def test_every_model_has_defaults(self, model):
        """SegFormer's rates are its paper's; every pretrained encoder learns more slowly than its head."""
        settings = settings_of(options={"model.name": model})
        if model.startswith("segformer"):
            assert (settings.train.lr, settings.train.lr_pretrained) == (6e-4, 6e-5)
        if model != "light":
            assert 10 * settings.train.lr_pretrained <= settings.train.lr * 1.0001
            assert settings.chips.size == 512
            assert settings.augment.size in {512, 518}

    def test_what_is_given_wins_over_the_models_defaults(self, tmp_path):
        settings = settings_of("chips: {size: 64}\ntrain: {lr: 0.5}\n", folder=tmp_path)
        assert (settings.chips.size, settings.augment.size, settings.train.lr) == (64, 256, 0.5)

    def test_a_known_data_set_has_its_folder(self):
        assert settings_of(options={"data.dataset": "potsdam"}).data.root == Path("data/potsdam")
        assert settings_of(options={"data.dataset": "potsdam", "data.root": "x"}).data.root == Path("x")
        assert settings_of().data.root == Path()


class TestPrecedence:
    def test_options_beat_the_file_and_set_beats_both(self, tmp_path):
        text = "split: {ratio: 1}\ntrain: {seed: 1, lr: 0.1}\n"
        settings = settings_of(text, {"split.ratio": 2, "train.seed": 2}, ["train.seed=3"], folder=tmp_path)
        assert (settings.split.ratio, settings.train.seed, settings.train.lr) == (2, 3, 0.1)

    def test_a_method_on_the_command_line_replaces_the_files(self, tmp_path):
        settings = settings_of(
            "method: {name: fixmatch, threshold: 0.8}\n", {"method.name": "semiearth"}, folder=tmp_path
        )
        assert (settings.method.name, settings.method.threshold) == ("semiearth", 0.8)

    @pytest.mark.parametrize(("file", "option", "steps"), [
        ("steps: 600", {"train.epochs": 2.0}, 20), ("epochs: 3", {"train.steps": 7}, 7),
        ("steps: 600", {"train.steps": 5}, 5), ("epochs: 3", {"train.epochs": 1}, 10),
    ])  # fmt: skip
    def test_the_length_given_last_counts(self, tmp_path, file, option, steps):
        # steps win over epochs, so `--epochs 2` must not drown in the file's `steps: 600`
        settings = settings_of(f"train: {{{file}}}\n", option, folder=tmp_path)
        assert settings.train.total_steps(10) == steps

    def test_later_sets_win(self):
        assert settings_of(overrides=["train.seed=1", "train.seed=2"]).train.seed == 2


class TestSet:
    @pytest.mark.parametrize(("text", "path", "value"), [
        ("train.lr=0.001", ("train", "lr"), 0.001),
        ("train.lr=1e-3", ("train", "lr"), 0.001),
        (" train.steps = 5", ("train", "steps"), 5),
        ("data.bands=[3,2,1]", ("data", "bands"), (3, 2, 1)),
        ("data.unlabelled=null", ("data", "unlabelled"), None),
        ("data.validation=[a, 'b*']", ("data", "validation"), ("a", "b*")),
        ("data.images=a=b/*.tif", ("data", "images"), "a=b/*.tif"),
        ("augment.rotate90=true", ("augment", "rotate90"), True),
        ("augment.scale=[0.8, 1.2]", ("augment", "scale"), (0.8, 1.2)),
        ("method.purify.mode=off", ("method", "purify", "mode"), "off"),
    ])  # fmt: skip
    def test_values_are_yaml(self, text, path, value):
        found = settings_of(overrides=[text])
        for name in path:
            found = getattr(found, name)
        assert found == value

    @pytest.mark.parametrize("text", ["train.lr", "=5", "", " = 3"])
    def test_what_is_no_setting(self, text):
        error = refusal(overrides=[text])
        assert error.message == f"`--set {text}` is no setting"
        assert "train.lr=0.001" in error.hint

    def test_an_unreadable_value(self):
        error = refusal(overrides=["data.bands=[1,"])
        assert "`--set data.bands=[1,` has no readable value" in error.message
        assert "YAML" in error.hint

    def test_a_value_is_no_group(self):
        error = refusal(overrides=["train.lr=1", "train.lr.more=2"])
        assert "`train.lr.more` cannot be set: `lr` is a value" in error.message
        assert "configs/" in error.hint


class TestFaults:
    @pytest.mark.parametrize(("key", "near"), [
        ("train.learning_rate=1", None), ("train.stesp=1", "steps"), ("split.ration=1", "ratio"),
        ("method.treshold=0.9", "threshold"), ("method.purify.mood=off", "mode"), ("chip.size=1", "chips"),
        ("data.label=x", "labels"), ("augment.strong.gray=1", "grey"),
    ])  # fmt: skip
    def test_unknown_keys_name_the_nearest_known_one(self, key, near):
        message = refusal(overrides=[key]).message
        parts = key.split("=")[0].split(".")
        shown = ".".join(parts[:1] if parts[0] == "chip" else parts)
        assert f"  {shown}: unknown key" in message
        assert (f"did you mean `{near}`?" in message) if near else True

    def test_a_group_named_as_a_method(self, tmp_path):
        error = refusal("fixmatch: {threshold: 0.9}\n", folder=tmp_path)
        assert "  fixmatch: unknown key" in error.message

    def test_all_faults_in_one_message(self, tmp_path):
        text = "data: {imges: x}\nsplit: {ratio: 0}\nmodel: {name: unet}\ntrain: {lr: fast}\n"
        text += "method: {name: fixmatch, treshold: 1}\n"
        error = refusal(text, folder=tmp_path)
        assert f"`{tmp_path / 'run.yaml'}`: 5 problems" in error.message
        for line in (
            "data.imges: unknown key; did you mean `images`?",
            "split.ratio: input should be greater than 0, got 0",
            "model.name: unknown model `unet`; choose one of light, dinov2_small",
            "method.treshold: unknown key; did you mean `threshold`?",
            "train.lr: ",
        ):
            assert f"\n  {line}" in error.message
        assert "configs/" in error.hint

    def test_one_fault_is_one_problem(self):
        assert refusal(overrides=["split.ratio=101"]).message.startswith("the settings: 1 problem\n")

    def test_unknown_method(self):
        message = refusal(options={"method.name": "fixmach"}).message
        assert "unknown method `fixmach`; choose one of supervised, mean_teacher, fixmatch, semiearth" in message
        assert "did you mean `fixmatch`?" in message

    def test_unknown_model(self):
        message = refusal(options={"model.name": "resnet"}).message
        assert "unknown model `resnet`; choose one of light, dinov2_small, dinov2_base, dinov2_large" in message

    def test_unknown_data_set(self):
        message = refusal(options={"data.dataset": "potsdm"}).message
        assert "data.dataset: unknown data set `potsdm`; choose one of scenes, potsdam" in message
        assert "did you mean `potsdam`?" in message

    @pytest.mark.parametrize("text", ["method: fixmatch", "model: light", "data: sample_data", "train:", "chips: [1]"])
    def test_a_value_where_a_group_belongs(self, tmp_path, text):
        group = text.split(":")[0]
        message = refusal(f"{text}\n", folder=tmp_path).message
        assert f"\n  {group}: " in message
        assert f"write `{group}: {{…}}`" in message

    def test_wrong_types_and_ranges(self):
        for text, line in {
            "train.steps=0": "train.steps: input should be greater than or equal to 1, got 0",
            "chips.size=16": "chips.size: input should be greater than or equal to 32, got 16",
            "train.precision=fp8": "train.precision: input should be 'fp32', 'bf16' or 'fp16', got 'fp8'",
            "split.unit=tile": "split.unit: input should be 'scene', 'block' or 'patch', got 'tile'",
        }.items():
            assert f"  {line}" in refusal(overrides=[text]).message


class TestFile:
    def test_missing(self, tmp_path):
        with pytest.raises(ConfigError, match="does not exist"):
            load_settings(tmp_path / "no.yaml", {}, [], has_gpu=False)

    @pytest.mark.parametrize(("text", "cause"), [
        ("train: {lr: 1}\ntrain: {lr: 2}", "`train` stands twice (line 2)"),
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("- a\n- b", "holds no mapping"),
        ("train: [", "not readable YAML"),
    ])  # fmt: skip
    def test_hostile_or_broken(self, tmp_path, text, cause):
        assert cause in refusal(text, folder=tmp_path).message

    @pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(ROOT / "configs").as_posix())
    def test_every_config_loads_and_says_what_it_is(self, path):
        settings = load_settings(path, {}, [], has_gpu=False)
        assert isinstance(settings, RunSettings)
        first, *rest = path.read_text().splitlines()
        assert first.startswith("# ")
        assert any(f"geosemi train --config {path.relative_to(ROOT).as_posix()}" in line for line in rest)

    def test_there_are_configs(self):
        assert CONFIGS

    def test_dubai_keeps_the_scenes_of_one_ground_together(self):
        for path in (p for p in CONFIGS if p.parent.name == "dubai"):
            data = load_settings(path, {}, [], has_gpu=False).data
            assert not {"tile1", "tile3"} & {*data.validation, *data.test}


class TestFromScratch:
    @pytest.mark.parametrize("method", ["fixmatch", "semiearth"])
    def test_light_averages_less_and_warms_up(self, method: str):
        settings = load_settings(None, {"model.name": "light", "method.name": method}, [], has_gpu=True)
        assert (settings.method.ema, settings.method.warm_up) == (0.99, 0.3)

    def test_pretrained_networks_keep_the_released_numbers(self):
        settings = load_settings(None, {"model.name": "dinov2_small", "method.name": "fixmatch"}, [], has_gpu=False)
        assert (settings.method.ema, settings.method.warm_up) == (0.996, 0.0)

    def test_whoever_says_otherwise_is_heard(self):
        settings = load_settings(None, {"model.name": "light"}, ["method.warm_up=0"], has_gpu=False)
        assert settings.method.warm_up == 0

    def test_the_length_and_the_words_of_set_are_told_with_the_rest(self):
        error = refusal(options={"train.steps": 3, "train.epochs": 1}, overrides=["train.lr", "a=1"])
        assert error.lines[0] == "the settings: 3 problems"
        assert error.lines[1] == "a: unknown key"
        assert error.lines[2].startswith("a run has a length in steps or in epochs")
        assert error.lines[3].startswith("`--set train.lr` is no setting; write")


class TestPlan:
    """What a command can be wrong about is told in one error, before anything slow."""

    def plan(self, *overrides, out=None, resume=False, **options):
        given = {"data.root": str(ROOT / "sample_data"), **{k.replace("__", "."): v for k, v in options.items()}}
        return plan_run(None, given, overrides, out=out, resume=resume)

    def refusal(self, *args, **kwargs) -> GeosemiError:
        with pytest.raises(GeosemiError) as caught:
            self.plan(*args, **kwargs)
        assert caught.value.hint
        return caught.value

    def test_a_run_that_can_begin(self, tmp_path):
        settings, folder = self.plan("train.device=cpu", out=tmp_path / "run")
        assert (settings.model.name, folder) == ("light", tmp_path / "run")
        assert not folder.exists()

    def test_a_folder_of_its_own(self):
        _, folder = self.plan("train.seed=3", "split.ratio=2.5", model__name="light", method__name="fixmatch")
        assert folder == Path("runs/scenes-fixmatch-2.5-seed3")

    def test_everything_at_once(self, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "step-00000001.safetensors").touch()
        error = self.refusal(
            "data.validation=[nope]", "data.test=[alsonope]", "data.unlabelled=nope/*.tif", "data.legend=no.yaml",
            "data.opinions=none", "train.sed=1", "train.protocol=mine",
            method__name="fixmach", out=tmp_path,
        )  # fmt: skip
        assert type(error) is ConfigError
        first, *lines = error.lines
        assert first == "the run cannot begin: 9 problems"
        for words in (
            "unknown method `fixmach`", "train.sed: unknown key; did you mean `seed`?", "unknown protocol `mine`",
            "`data.validation` names `nope`", "`data.test` names `alsonope`", "nope/*.tif`; give the folder",
            "no.yaml` does not exist", "the folder of opinions", "holds a run already; pass `--resume`",
        ):  # fmt: skip
            assert sum(words in line for line in lines) == 1, words

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
    def test_a_device_that_is_not_there_is_told_with_the_rest(self, tmp_path):
        error = self.refusal(train__device="cuda", method__name="x", data__root=str(tmp_path / "none"))
        assert len(error.lines) == 4
        for words in ("method: ", "the data folder", "`--device cuda`: "):
            assert any(line.startswith(words) for line in error.lines), words
        assert "Lightning" not in error.message
        assert "accelerator" not in error.message

    @pytest.mark.parametrize(
        ("precision", "device"), [("fp16", "cpu"), pytest.param("fp16", "auto", marks=pytest.mark.skipif(
            torch.cuda.is_available() or torch.backends.mps.is_available(), reason="this machine has a GPU"))]
    )  # fmt: skip
    def test_a_precision_that_the_device_lacks(self, precision, device):
        error = self.refusal(train__precision=precision, train__device=device)
        assert error.message == "a CPU cannot train in fp16"

    def test_one_fault_keeps_its_kind_and_its_way_out(self, tmp_path):
        (tmp_path / "bundle.safetensors").touch()
        assert type(self.refusal(out=tmp_path)) is OutputError
        assert type(self.refusal(data__root=str(tmp_path / "none"))) is DatasetMissing
        assert self.refusal("split.ratio=0").lines[0] == "the settings: 1 problem"

    def test_the_default_network_is_asked_of_torch_only_where_nothing_says_it(self):
        has_gpu = torch.cuda.is_available()
        assert self.plan()[0].model.name == ("dinov2_small" if has_gpu else "light")
        assert self.plan(train__device="cpu")[0].model.name == "light"
        assert self.plan(model__name="dinov2_base", train__device="cpu")[0].model.name == "dinov2_base"

    def test_settings_that_a_run_was_not_begun_with(self, tmp_path):
        begun, _ = self.plan("train.device=cpu", "train.lr=0.5", out=tmp_path)
        (tmp_path / "checkpoints").mkdir()
        write_config(tmp_path, begun)
        self.plan("train.device=cpu", "train.lr=0.5", "train.save_every=7", out=tmp_path, resume=True)
        error = self.refusal(
            "train.device=cpu", "data.bands=[1,2,3]", method__name="fixmatch", out=tmp_path, resume=True
        )
        assert error.lines[0] == f"`{tmp_path}` was trained with other settings than these"
        assert "data.bands: not set then, [1, 2, 3] now" in error.lines
        assert "train.lr: 0.5 then, 0.004 now" in error.lines
        assert 'method.name: "semiearth" then, "fixmatch" now' in error.lines
        assert f"--config {tmp_path / 'config.yaml'}" in error.hint
        settings, _ = plan_run(tmp_path / "config.yaml", {}, [], out=tmp_path, resume=True)
        assert settings == begun

    def test_a_run_that_cannot_begin_is_told_without_torch(self):
        code = (
            "import sys\nfrom geosemi.config import plan_run\nfrom geosemi.errors import GeosemiError\n"
            "try:\n    plan_run(None, {'data.root': 'none', 'method.name': 'x'}, [], out=None, resume=False)\n"
            "except GeosemiError as error:\n    print(len(error.lines), 'torch' in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["3", "False"]
