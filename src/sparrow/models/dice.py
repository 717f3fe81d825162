"""Dice, the activation that adapts to its data (Zhou et al., KDD 2018, section 5.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm


class Dice(nn.Module):
    """f(s) = s * (p + alpha * (1 - p)) with p = sigmoid((s - mean) / sqrt(variance + eps)) and a learned alpha a unit, which begins at 0.

    PReLU switches at 0; Dice switches smoothly at the mean of what it sees.

    Args:
        width: units of the layer before. momentum: weight of a batch in the running mean and variance. eps: as published.

    Mean and variance are those of the batch in training mode, which moves the running ones, and the running ones in eval mode. They are
    the running ones too where a training batch has fewer than two rows, of which there is no variance.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, *, momentum: float = 0.1, eps: float = 1e-8) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return float [rows, width] for float [rows, width]."""
        of_batch = self.training and inputs.shape[0] > 1
        share = torch.sigmoid(batch_norm(inputs, self.mean, self.variance, training=of_batch, momentum=self.momentum, eps=self.eps))
        return inputs * torch.addcmul(self.alpha, share, 1 - self.alpha)
