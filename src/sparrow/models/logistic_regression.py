"""Logistic regression: one weight an id, one a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.features import Feature, FeatureEngine
from sparrow.models.inputs import check_inputs, dense_matrix, places, stack_samples
from sparrow.tables import Constant
from sparrow.types import Batch, ColumnSpec


class LogisticRegression(nn.Module):
    """logit = bias + sum of the weights of a sample's ids + weights of its numbers. All weights start at 0.

    Args:
        features: how every input is made from columns.
        dense: names of the features that are numbers, one a sample. sparse: names of the features that are ids.
        combiner: of several ids. rule: update rule of the tables.
        seed: unused by zero weights; part of the tables' description.
        device: of the model and its batches. table_device: of tables and batches, where the rest of the model lives elsewhere;
            None takes `device`. First values are the same everywhere. docs/gpu.md.
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
        device: torch.device | str = "cpu",
        table_device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        check_inputs(features, dense, sparse)
        place, table_place = places(device, table_device)
        self.dense, self.sparse = list(dense), list(sparse)
        self.features = FeatureEngine(features)
        option = EmbeddingOption(dim=1, combiner=combiner, initializer=Constant(0.0), rule=rule, device=table_place)
        self.linear = EmbeddingEngine(dict.fromkeys(sparse, option), seed=seed, name="linear")
        self.dense_weights = nn.Parameter(torch.zeros(len(self.dense)).to(place))
        self.bias = nn.Parameter(torch.zeros(()).to(place))

    @property
    def columns(self) -> list[ColumnSpec]:
        """What a reader must read for this model."""
        return self.features.columns

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits, [samples], in the dtype of the dense weights (float32 unless cast) and where these are."""
        inputs = self.features(batch)
        # To the dtype and the device of the dense weights: tables keep theirs when the model is cast, and may live elsewhere.
        x = dense_matrix(inputs, self.dense, self.bias)
        return self.bias + stack_samples(self.linear(inputs), inputs, self.sparse).sum((1, 2)).to(self.bias) + x @ self.dense_weights
