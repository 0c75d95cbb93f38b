"""The loop itself, around methods that do as the test needs: dropped steps, drawing layers, learning rates."""

import math
import os
import signal

import pytest
import scenery
import torch
from fakes import TinySegmenter
from lightning.fabric import Fabric
from torch import nn

from geosemi.data.augment import Augment, AugmentSettings
from geosemi.data.batch import Chips
from geosemi.data.keyed import keyed_generator
from geosemi.data.normalise import Radiometry
from geosemi.errors import GeosemiError, Interrupted, ResourceError
from geosemi.methods.base import Method
from geosemi.train.checkpoint import checkpoints
from geosemi.train.loop import MAX_SKIPPED, Trainer, TrainingDiverged
from geosemi.train.settings import TrainSettings


class RandomChips:
    """A `ChipSource` whose chips are noise, a function of the step."""

    steps_per_epoch = 4

    def __init__(self, *, labelled_only=False):
        self.labelled_only = labelled_only
        self.asked = []

    def steps(self, start, stop):
        for step in range(start, stop):
            self.asked.append(step)
            noise = keyed_generator(0, "chips", step)
            image = torch.rand(2, 3, 16, 16, generator=noise) * 255
            label = torch.randint(0, 4, (2, 16, 16), generator=noise)
            valid = torch.ones(2, 16, 16, dtype=torch.bool)
            more = None if self.labelled_only else Chips(image.flip(0), valid, None, None, ("here@0,0", "there@4,4"))
            yield Chips(image, valid, label, None, ("a", "b")), more


class Lesson(Method):
    """Cross entropy through dropout, and not a number at chosen steps."""

    def __init__(self, *, bad=(), dropout=0.0, fail=None):
        super().__init__()
        self.student = TinySegmenter()
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("finished", torch.zeros((), dtype=torch.int64))
        self.bad, self.fail, self.seen = bad, fail, []

    def forward(self, batch, progress):
        if self.fail:
            raise self.fail
        self.seen.append((progress.step, progress.total, self.training))
        logits = self.dropout(self.student(batch.labelled.image))
        loss = nn.functional.cross_entropy(logits, batch.labelled.label, ignore_index=255)
        return {"main": loss * (math.nan if progress.step in self.bad else 1), "extra": 0 * loss + 0.5}

    def predictor(self):
        return self.student

    def after_step(self, progress):
        assert progress.step == self.seen[-1][0]
        self.finished += 1

    def report(self):
        return {"fact": torch.tensor(7.0)}


class Kept(list):
    def __call__(self, model, step, scores):
        self.append((step, scores))


def trainer_of(folder, method, *, watcher=None, chips=None, validate=None, **train):
    radiometry = Radiometry(low=(0,) * 3, high=(255,) * 3, mean=(128,) * 3, std=(60,) * 3, rgb=(0, 1, 2))
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    return Trainer(
        method=method,
        chips=chips or RandomChips(),
        augment=Augment(radiometry, AugmentSettings(size=16)),
        settings=TrainSettings(**{"steps": 8, "lr": 0.01, **train}),
        folder=folder,
        fingerprint="same",
        watcher=watcher or scenery.Watch(),
        validate=validate,
        keep=Kept(),
    )


def fit(trainer, *, resume=False):
    return trainer.fit(Fabric(accelerator="cpu", devices=1), resume=resume)


def weights(method):
    return {n: t.clone() for n, t in method.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


class TestDropping:
    @pytest.mark.parametrize("bad", [(2,), (2, 3, 4), (0, 1, 2, 5, 6, 7), (0, 2, 4, 6)])
    def test_up_to_three_steps_in_a_row_are_left_out(self, tmp_path, bad):
        method = Lesson(bad=bad)
        trainer = trainer_of(tmp_path, method)
        outcome = fit(trainer)
        assert outcome.steps == 8
        assert method.finished == 8 - len(bad)  # nor is the moving average touched
        notes = [f"step {s}: the loss is not finite, the step is left out" for s in bad]
        assert [n for n in trainer.watcher.notes if "finite" in n] == notes
        assert [s for s, _ in trainer.watcher.steps] == list(range(8))
        assert all(t.isfinite().all() for t in method.state_dict().values())

    def test_a_dropped_step_changes_nothing(self, tmp_path):
        method = Lesson(bad=(0, 1))
        before = weights(method)
        fit(trainer_of(tmp_path, method, steps=2))
        assert same(before, weights(method))

    def test_the_fourth_ends_the_run(self, tmp_path):
        assert MAX_SKIPPED == 3
        trainer = trainer_of(tmp_path, Lesson(bad=range(2, 99)), save_every=1)
        with pytest.raises(TrainingDiverged) as caught:
            fit(trainer)
        assert isinstance(caught.value, GeosemiError)
        assert "not finite for 4 steps in a row, last at step 5 (here@0,0, there@4,4)" in caught.value.message
        assert "train.lr" in caught.value.hint
        assert "precision=fp32" in caught.value.hint
        assert trainer.method.finished == 2
        # what was saved is whole
        resumed = trainer_of(tmp_path, Lesson(), save_every=1)
        assert fit(resumed, resume=True).steps == 8

    def test_a_run_resumed_amid_bad_steps_goes_on_counting(self, tmp_path):
        def stop(step):
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(Interrupted):
            fit(trainer_of(tmp_path, Lesson(bad=range(2, 99)), watcher=scenery.Watch(stop)))
        with pytest.raises(TrainingDiverged, match="last at step 5"):
            fit(trainer_of(tmp_path, Lesson(bad=range(2, 99))), resume=True)

    def test_labels_alone(self, tmp_path):
        trainer = trainer_of(tmp_path, Lesson(bad=range(99)), chips=RandomChips(labelled_only=True))
        with pytest.raises(TrainingDiverged, match="labelled chips"):
            fit(trainer)


class TestDrawingLayers:
    def run(self, folder, *, noise, stop_at=None, seed=0):
        """Weights after 8 steps with dropout, in a process whose torch has drawn other numbers before."""
        torch.manual_seed(noise)

        def press(step):
            if step == stop_at:
                os.kill(os.getpid(), signal.SIGINT)

        method = Lesson(dropout=0.5)
        if stop_at is None:
            fit(trainer_of(folder, method, seed=seed))
            return weights(method)
        with pytest.raises(Interrupted):
            fit(trainer_of(folder, method, watcher=scenery.Watch(press), seed=seed))
        torch.manual_seed(noise + 1)
        method = Lesson(dropout=0.5)
        fit(trainer_of(folder, method, seed=seed), resume=True)
        return weights(method)

    def test_the_seed_decides_not_the_process(self, tmp_path):
        one, two = (self.run(tmp_path / str(n), noise=n) for n in (1, 2))
        assert same(one, two)
        assert not same(one, self.run(tmp_path / "other", noise=1, seed=5))

    @pytest.mark.parametrize("step", [0, 3, 6])
    def test_resuming_changes_no_bit(self, tmp_path, step):
        assert same(self.run(tmp_path / "one", noise=1), self.run(tmp_path / "two", noise=7, stop_at=step))

    def test_torch_state_is_given_back(self, tmp_path):
        trainer = trainer_of(tmp_path, Lesson(dropout=0.5))
        before = torch.get_rng_state()
        fit(trainer)
        assert torch.equal(before, torch.get_rng_state())


class TestLoop:
    def test_every_step_is_seen_once_in_train_mode(self, tmp_path):
        method = Lesson()
        trainer = trainer_of(tmp_path, method)
        outcome = fit(trainer)
        assert method.seen == [(t, 8, True) for t in range(8)]
        assert trainer.chips.asked == list(range(8))
        assert (outcome.steps, outcome.best_step) == (8, 0)
        assert math.isnan(outcome.best)
        assert trainer.keep == [(8, None)]

    def test_losses_are_summed(self, tmp_path):
        trainer = trainer_of(tmp_path, Lesson())
        fit(trainer)
        for _, losses in trainer.watcher.steps:
            assert losses["loss"] == pytest.approx(losses["main"] + 0.5)

    def test_epochs_are_counted_in_steps(self, tmp_path):
        trainer = trainer_of(tmp_path, Lesson(), steps=None, epochs=2.5)
        assert fit(trainer).steps == 10

    def test_validation_runs_in_eval_mode_at_its_steps(self, tmp_path):
        class Worth:
            def __init__(self, miou):
                self.miou, self.mf1, self.oa, self.kappa, self.classes = miou, 0.0, 0.0, 0.0, ()

        found = iter([0.2, 0.5, 0.4, 0.3])
        modes = []

        def validate(model, fabric):
            modes.append((model.training, torch.is_grad_enabled()))
            return Worth(next(found))

        trainer = trainer_of(tmp_path, Lesson(), validate=validate, validate_every=2)
        outcome = fit(trainer)
        assert modes == [(False, False)] * 4
        assert [(s, b) for s, _, b in trainer.watcher.scores] == [(2, True), (4, True), (6, False), (8, False)]
        assert [s for s, _ in trainer.keep] == [2, 4]
        assert (outcome.best, outcome.best_step) == (0.5, 4)
        assert all(training for *_, training in trainer.method.seen)

    def test_checkpoints_at_their_steps_two_are_kept(self, tmp_path):
        fit(trainer_of(tmp_path, Lesson(), save_every=3))
        assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == [
            "step-00000008.safetensors",
            "step-00000006.safetensors",
        ]

    def test_a_full_memory_is_named(self, tmp_path):
        with pytest.raises(ResourceError, match="memory is full") as caught:
            fit(trainer_of(tmp_path, Lesson(fail=torch.OutOfMemoryError("CUDA out of memory"))))
        assert "chips.labelled" in caught.value.hint

    def test_pretrained_parameters_learn_slowly(self, tmp_path):
        class Backbone(TinySegmenter):
            def __init__(self):
                super().__init__()
                self.body = nn.Conv2d(3, 3, 1)

            def encode(self, image):
                return [self.body(image)]

            def pretrained_parameters(self):
                return list(self.body.parameters())

        method = Lesson()
        method.student = Backbone()
        before = weights(method)
        fit(trainer_of(tmp_path, method, steps=1, lr=0.1, lr_pretrained=1e-4, weight_decay=0))
        moved = {n: (method.state_dict()[n] - before[n]).abs().max().item() for n in before if n.startswith("student")}
        # one step of AdamW moves a parameter by the learning rate
        assert moved["student.classify.weight"] == pytest.approx(0.1, rel=1e-3)
        assert moved["student.body.weight"] == pytest.approx(1e-4, rel=1e-3)

    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    def test_batches_reach_a_method_as_they_are(self, tmp_path, precision):
        kinds = []

        class Looks(Lesson):
            def forward(self, batch, progress):
                kinds.append((type(batch).__name__, batch.labelled.image.dtype, batch.labelled.label.dtype))
                return super().forward(batch, progress)

        trainer_of(tmp_path, Looks(), steps=1).fit(
            Fabric(accelerator="cpu", devices=1, precision=precision), resume=False
        )
        assert kinds == [("Batch", torch.float32, torch.int64)]


class TestSchedule:
    @pytest.mark.parametrize(("share", "factor"), [(0, 1.0), (0.25, 0.772), (0.5, 0.536), (0.75, 0.287), (0.9, 0.126)])
    def test_published_vectors(self, share, factor):
        # (1 - t/T)^0.9 worked by hand; as released, step t+1 runs with the value of t
        total = 1000
        assert TrainSettings().learning_rate_factor(round(share * total) + 1, total) == pytest.approx(factor, abs=5e-4)

    def test_the_first_two_steps_run_at_the_full_rate_and_none_stands_still(self):
        factors = [TrainSettings().learning_rate_factor(t, 10) for t in range(10)]
        assert factors[:2] == [1.0, 1.0]
        assert factors[1:] == sorted(factors[1:], reverse=True)
        assert factors[-1] == pytest.approx(0.2**0.9)

    def test_power_zero_is_constant(self):
        assert TrainSettings(power=0).learning_rate_factor(9, 10) == 1

    @pytest.mark.parametrize(("steps", "epochs", "per_epoch", "total"), [
        (7, None, 100, 7), (None, 2.0, 100, 200), (None, None, 100, 2000), (None, 0.001, 100, 1), (7, 2.0, 100, 7),
    ])  # fmt: skip
    def test_length(self, steps, epochs, per_epoch, total):
        assert TrainSettings(steps=steps, epochs=epochs).total_steps(per_epoch) == total
