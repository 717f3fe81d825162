"""DeepFM: a factorization machine and an MLP over the same embeddings (Guo et al., IJCAI 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.features import Feature, FeatureEngine
from sparrow.models.inputs import check_inputs, dense_matrix, places, stack_samples
from sparrow.tables import Constant, Initializer, Normal
from sparrow.types import Batch, ColumnSpec


class DeepFM(nn.Module):
    """logit = bias + linear + FM(v) + MLP([v, x]) for embeddings v of the sparse features and values x of the dense ones.

    A dense feature x also joins the factorization machine, as x times a learned vector.

    Args:
        features: how every input is made from columns.
        dense: names of the features that are numbers, one a sample.
        sparse: names of the features that are ids, any number a sample.
        dim: values an embedding. hidden: widths of the MLP. dropout: after each hidden layer.
        combiner: of several ids. initializer: of the embeddings; linear weights start at 0. rule: update rule of the tables.
        seed: of the tables' first values. Dense weights follow torch's generator.
        device: of the model and its batches. table_device: of tables and batches, where the rest of the model lives elsewhere;
            None takes `device`. First values are the same everywhere. docs/gpu.md.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        *,
        dense: Sequence[str],
        sparse: Sequence[str],
        dim: int = 16,
        hidden: Sequence[int] = (256, 128, 64),
        dropout: float = 0.0,
        combiner: str = "sum",
        initializer: Initializer | None = None,
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
        first = initializer or Normal(std=0.01)
        shared: dict[str, Any] = {"combiner": combiner, "rule": rule, "device": table_place}
        self.embedding = EmbeddingEngine({name: EmbeddingOption(dim=dim, initializer=first, **shared) for name in sparse}, seed=seed)
        self.linear = EmbeddingEngine(
            {name: EmbeddingOption(dim=1, table=f"{name}.linear", initializer=Constant(0.0), **shared) for name in sparse},
            seed=seed,
            name="linear",
        )
        # Drawn on the CPU wherever they go: a device has a generator of its own.
        self.dense_vectors = nn.Parameter((torch.randn(len(self.dense), dim) * 0.01).to(place))
        self.dense_weights = nn.Parameter(torch.zeros(len(self.dense)).to(place))
        self.bias = nn.Parameter(torch.zeros(()).to(place))
        layers: list[nn.Module] = []
        width = len(self.sparse) * dim + len(self.dense)
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
            width = size
        self.mlp = nn.Sequential(*layers, nn.Linear(width, 1)).to(place)

    @property
    def columns(self) -> list[ColumnSpec]:
        """What a reader must read for this model."""
        return self.features.columns

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits, [samples], in the dtype of the dense weights (float32 unless cast) and where these are."""
        inputs = self.features(batch)
        # To the dtype and the device of the dense weights: tables keep theirs when the model is cast, and may live elsewhere.
        x = dense_matrix(inputs, self.dense, self.bias)  # [B, N]
        vectors = stack_samples(self.embedding(inputs), inputs, self.sparse).to(self.bias)  # [B, F, D]
        linear = stack_samples(self.linear(inputs), inputs, self.sparse).sum((1, 2)).to(self.bias) + x @ self.dense_weights
        return self.bias + linear + self._factorization_machine(vectors, x) + self.mlp(torch.cat([vectors.flatten(1), x], 1)).squeeze(1)

    def _factorization_machine(self, vectors: Tensor, x: Tensor) -> Tensor:
        """Sum of the inner products of all pairs: half of (square of the sum minus sum of the squares)."""
        # The dense vectors' part of both sums is a matrix product: no [B, N, D] is made.
        total = vectors.sum(1) + x @ self.dense_vectors
        squares = vectors.square().sum((1, 2)) + x.square() @ self.dense_vectors.square().sum(1)
        return 0.5 * (total.square().sum(1) - squares)
