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

    def forward(self, inputs: Tensor, is_there: Tensor | None = None) -> Tensor:
        """Return float [rows, width] for float [rows, width].

        is_there: bool [rows], False for rows that only fill memory and are not to count; None where all do. Nothing waits for their number.
        """
        if is_there is not None and self.training:
            normed = self._normed(inputs, is_there)
            return self._switched(inputs, torch.sigmoid(normed))
        of_batch = self.training and inputs.shape[0] > 1
        share = torch.sigmoid(batch_norm(inputs, self.mean, self.variance, training=of_batch, momentum=self.momentum, eps=self.eps))
        return self._switched(inputs, share)

    def _switched(self, inputs: Tensor, share: Tensor) -> Tensor:
        return inputs * torch.addcmul(self.alpha, share, 1 - self.alpha)

    def _normed(self, inputs: Tensor, is_there: Tensor) -> Tensor:
        """Return what `batch_norm` makes of the rows that are there, but for rounding."""
        wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        mask, num = is_there.unsqueeze(1), is_there.sum().to(wide.dtype)
        mean = torch.where(mask, wide, 0).sum(0) / num.clamp_min(1)
        squares = torch.where(mask, wide - mean, 0).square().sum(0)
        variance, of_batch = squares / num.clamp_min(1), num > 1
        with torch.no_grad():
            for running, of_rows in ((self.mean, mean), (self.variance, squares / (num - 1).clamp_min(1))):
                moved = running * (1 - self.momentum) + of_rows * self.momentum
                running.copy_(torch.where(of_batch, moved, running))
        mean, variance = torch.where(of_batch, mean, self.mean), torch.where(of_batch, variance, self.variance)
        return ((wide - mean) * torch.rsqrt(variance + self.eps)).to(inputs.dtype)
