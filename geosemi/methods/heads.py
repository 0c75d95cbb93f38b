"""A second head on the features of a network: the decoder of another one of the same kind."""

import torch
from torch import nn

from geosemi.models.segmenter import Segmenter


def decoder_of(network: Segmenter) -> Segmenter:
    """Take from a network, in place, all that `decode` does not use; what is left answers `logits` and nothing else.

    Which parameters `decode` uses is asked of autograd, so that no network has to tell where its encoder ends. A module
    without any becomes an identity, a parameter on its own None.

    Args:
        network: on the CPU, with parameters that want gradients.
    """
    training, side = network.training, 2 * network.stride
    parameters = [p for p in network.parameters() if p.requires_grad]
    network.eval()  # batch norm would refuse a single position, and must not count this image
    with torch.no_grad():
        features = network.encode(torch.zeros(1, network.bands, side, side))
    logits = network.decode([map_.detach() for map_ in features], (side, side))
    used: set[int] = set()
    if logits.requires_grad:
        gradients = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
        used = {id(p) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    _prune(network, used)
    return network.train(training)


def _prune(module: nn.Module, used: set[int]) -> None:
    for name, child in list(module.named_children()):
        own = {id(p) for p in child.parameters()}
        if own & used:
            _prune(child, used)
        elif own:
            setattr(module, name, nn.Identity())
    for name, parameter in list(module.named_parameters(recurse=False)):
        if id(parameter) not in used:
            setattr(module, name, None)
