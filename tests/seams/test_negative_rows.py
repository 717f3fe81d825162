"""A row of -1 means "no row": it reads the default vector, takes no gradient, and nothing is inserted for it."""

import torch

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.optim import SparseOptimizer
from sparrow.tables import Constant
from sparrow.types import Batch, Ragged


def engine(combiner: str = "sum") -> EmbeddingEngine:
    return EmbeddingEngine({"a": EmbeddingOption(dim=3, rule="sgd", combiner=combiner, initializer=Constant(2.0))})


def test_unknown_id_reads_the_default_in_eval_and_inserts_nothing() -> None:
    model = engine()
    model(Batch.of({"a": torch.tensor([1, 2])}))
    model.eval()
    out = model(Batch.of({"a": torch.tensor([1, 99, 2])}))["a"]
    assert out.tolist() == [[2.0] * 3, [0.0] * 3, [2.0] * 3]
    assert model.groups[0].num_rows == 2
    model.groups[0].default_row.fill_(7.0)
    assert model(Batch.of({"a": torch.tensor([99])}))["a"].tolist() == [[7.0] * 3]


def test_mean_counts_an_id_without_a_row() -> None:
    model = engine("mean")
    model(Batch.of({"a": torch.tensor([1])}))
    model.eval()
    assert model(Batch.of({"a": Ragged(torch.tensor([1, 99]), (torch.tensor([0, 2]),))}))["a"].tolist() == [[1.0] * 3]


def test_negative_rows_take_no_gradient() -> None:
    model = engine()
    optimizer = SparseOptimizer(model, lr=1.0)
    model(Batch.of({"a": torch.tensor([1, 2])}))
    model.eval()  # reading with gradients, as when a trained table is tuned without growing
    model(Batch.of({"a": torch.tensor([99, 2, 98])}))["a"].sum().backward()
    optimizer.step()
    out = model(Batch.of({"a": torch.tensor([1, 2, 99])}))["a"]
    assert out.tolist() == [[2.0] * 3, [1.0] * 3, [0.0] * 3]
