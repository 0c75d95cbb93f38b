"""What moves the weights: AdamW, or SGD as the older papers train."""

import torch

from geosemi.methods.base import Method
from geosemi.models.segmenter import Segmenter
from geosemi.train.settings import TrainSettings

_MOMENTUM = 0.9  # of every paper here that trains with SGD


def make_optimizer(method: Method, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimiser of all that a method trains; pretrained parameters have a learning rate of their own."""
    slow = {id(p) for m in method.modules() if isinstance(m, Segmenter) for p in m.pretrained_parameters()}
    trained = [p for p in method.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if (id(p) in slow) == pretrained], "initial_lr": lr, "lr": lr}
        for pretrained, lr in ((False, settings.lr), (True, settings.lr_pretrained))
    ]
    groups = [g for g in groups if g["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
