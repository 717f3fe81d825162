"""Logistic regression: one weight an id, one a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.features import Feature, FeatureEngine
from sparrow.models.inputs import check_inputs, dense_matrix, stack_samples
from sparrow.tables import Constant
from sparrow.types import Batch, ColumnSpec


class LogisticRegression(nn.Module):
    """logit = bias + sum of the weights of a sample's ids + weights of its numbers. All weights start at 0.

    Args:
        features: how every input is made from columns.
        dense: names of the features that are numbers, one a sample. sparse: names of the features that are ids.
        combiner: of several ids. rule: update rule of the tables.
        seed: unused by zero weights; part of the tables' description.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        *,
        dense: Sequence[str],
        sparse: Sequence[str],
        combiner: str = "sum",
        rule: str = "adam",
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_inputs(features, dense, sparse)
        self.dense, self.sparse = list(dense), list(sparse)
        self.features = FeatureEngine(features)
        options = {name: EmbeddingOption(dim=1, combiner=combiner, initializer=Constant(0.0), rule=rule) for name in sparse}
        self.linear = EmbeddingEngine(options, seed=seed, name="linear")
        self.dense_weights = nn.Parameter(torch.zeros(len(self.dense)))
        self.bias = nn.Parameter(torch.zeros(()))

    @property
    def columns(self) -> list[ColumnSpec]:
        """What a reader must read for this model."""
        return self.features.columns

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits, [samples], in the dtype of the dense weights (float32 unless cast)."""
        inputs = self.features(batch)
        dtype = self.bias.dtype  # tables keep theirs when the model is cast
        x = dense_matrix(inputs, self.dense).to(dtype)
        return self.bias + stack_samples(self.linear(inputs), inputs, self.sparse).sum((1, 2)).to(dtype) + x @ self.dense_weights
