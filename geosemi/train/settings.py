"""What a training run is told; each room defines its part, `RunSettings` holds them together."""

from typing import Literal

from pydantic import Field, field_validator

from geosemi.data.settings import AugmentSettings, DataSettings, LoaderSettings, SplitSettings
from geosemi.methods.settings import MethodSettings
from geosemi.models.spec import ModelSpec
from geosemi.settings import Settings

Precision = Literal["fp32", "bf16", "fp16"]


class TrainSettings(Settings):
    """The loop: how long, how fast, how often it looks at validation ground. Its defaults: docs/methods.md."""

    steps: int | None = Field(None, ge=1, description="optimiser steps; or give epochs")
    epochs: float | None = Field(None, gt=0, description="passes over the unlabelled ground; or give steps")
    lr: float = Field(2e-4, gt=0, description="learning rate of everything that starts from scratch")
    lr_pretrained: float = Field(5e-6, gt=0, description="learning rate of parameters that came with weights")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with a momentum of .9")
    weight_decay: float = Field(0.01, ge=0, description="on everything; AdamW keeps it apart from the gradient")
    power: float = Field(0.9, ge=0, description="of the polynomial decay of the learning rate")
    validate_every: int | None = Field(
        None, ge=1, description="steps between validations; a tenth of the run if not given"
    )
    save_every: int | None = Field(
        None, ge=1, description="steps between checkpoints; as often as validation if not given"
    )
    audit_chips: int = Field(
        16, ge=0, description="chips of each ground that the audit looks at with every validation; 0 for no audit"
    )
    protocol: str = Field("default", description="how validation is scored: a preset of `geosemi.metrics.PRESETS`")
    seed: int = Field(0, ge=0, description="of weights, order and augmentation (the split has its own)")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to compute")
    devices: int = Field(1, ge=1, description="how many of them")
    precision: Precision = Field("fp32", description="fp32, bf16 or fp16 (mixed)")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Return the length of the run in steps; 20 epochs where neither steps nor epochs are given."""
        if self.steps is not None:
            return self.steps
        return max(1, round((self.epochs or 20.0) * steps_per_epoch))

    def learning_rate_factor(self, step: int, total: int) -> float:
        """Return what the learning rates are multiplied with in steps 0, 1, 2 and so on.

        As released, the value for step t+1 is computed with t, so the first two steps run at the full rate.
        """
        return float((1 - max(0, step - 1) / total) ** self.power)


class RunSettings(Settings):
    """Everything a training run is told."""

    data: DataSettings = DataSettings()
    split: SplitSettings = SplitSettings()
    chips: LoaderSettings = LoaderSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSpec = ModelSpec()
    method: MethodSettings
    train: TrainSettings = TrainSettings()

    @field_validator("model")
    @classmethod
    def _unfused(cls, spec: ModelSpec) -> ModelSpec:
        if spec.fusion is not None:
            raise ValueError("`fusion` is what training with teachers leaves in a model: set `method.distill`")
        if spec.spark:
            raise ValueError("`spark` is what training with `allspark` leaves in a model: choose that method")
        return spec
