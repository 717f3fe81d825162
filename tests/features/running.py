"""Running features of one column or several, fused and unfused, and checking that nothing of the input changed."""

from __future__ import annotations

import torch
from torch import Tensor

from features.columns import tensors_of
from sparrow.features import Feature, FeatureEngine
from sparrow.types import Batch, Column, Ragged


def computed(feature: Feature, column: Column) -> Column:
    """Return a feature of one column, named "column"."""
    return computed_of(feature, {"column": column})


def computed_of(feature: Feature, columns: dict[str, Column]) -> Column:
    """Return a feature; fused and unfused must agree in every bit."""
    batch = Batch.of(columns)
    before = [tensor.clone() for tensor in tensors_of(batch)]
    out = FeatureEngine([feature])(batch)[feature.name]
    for tensor, copy in zip(tensors_of(batch), before, strict=True):
        assert tensor.dtype == copy.dtype
        assert equal_bits(tensor, copy), "the input was changed"
    alone = FeatureEngine([feature], fuse=False)(batch)[feature.name]
    assert same_column(out, alone), "unfused, the result is another"
    return out


def same_column(a: Column, b: Column) -> bool:
    """Whether two columns are equal in every bit: NaN too."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and equal_bits(a, b)
    levels = len(a.offsets) == len(b.offsets) and all(map(torch.equal, a.offsets, b.offsets))
    weights = (a.weights is None) == (b.weights is None) and (a.weights is None or b.weights is None or equal_bits(a.weights, b.weights))
    return levels and weights and equal_bits(a.values, b.values)


def equal_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def check_levels(out: Column, given_column: Column) -> None:
    """Check that a column has the lists and weights of the one it was made from."""
    assert isinstance(out, Ragged) == isinstance(given_column, Ragged)
    if isinstance(out, Ragged) and isinstance(given_column, Ragged):
        assert out.check("out").offsets == given_column.offsets
        assert out.weights is given_column.weights


def start(column: str = "column") -> Feature:
    return Feature("out").select(column)
