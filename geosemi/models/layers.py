"""Layers that several heads share."""

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that a single value a channel does not stop.

    The image-level branches of DeepLab and UPerNet pool a map to 1 × 1, and so has a batch of one crop a single value
    of each channel. It has no variance; torch refuses it. Here such a batch is normalised with the running statistics,
    as in evaluation, and leaves them as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        normalised: Tensor = super().forward(x)
        return normalised


def conv_bn_relu(inputs: int, outputs: int, *, size: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return convolution without bias, batch norm and ReLU; the map keeps its size."""
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, BatchNorm2d(outputs), nn.ReLU(inplace=True))


def resized(x: Tensor, size: tuple[int, int], *, aligned: bool = False) -> Tensor:
    """Return a map (B, C, h, w) at another size, bilinear; `aligned` is torch's `align_corners`."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=aligned)


def size_of(x: Tensor) -> tuple[int, int]:
    """Return height and width of a map (B, C, h, w)."""
    return x.shape[-2], x.shape[-1]
