"""Supervised: the labels alone, what every other method is measured against."""

from collections.abc import Mapping

from torch import Tensor

from geosemi.data.batch import Batch
from geosemi.methods.base import Method, Progress
from geosemi.methods.losses import cross_entropy
from geosemi.methods.settings import SupervisedSettings
from geosemi.models.segmenter import Segmenter


class Supervised(Method):
    """L = L_x, cross entropy on the labelled crops."""

    needs_unlabelled = False

    def __init__(self, student: Segmenter, settings: SupervisedSettings) -> None:  # noqa: ARG002 - as all methods
        super().__init__()
        self.student = student

    def forward(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:  # noqa: ARG002 - no schedule
        """Return `supervised`; unlabelled crops, if any, are not looked at."""
        return {"supervised": cross_entropy(self.student(batch.labelled.image), batch.labelled.label)}

    def predictor(self) -> Segmenter:
        """Return the student."""
        return self.student
