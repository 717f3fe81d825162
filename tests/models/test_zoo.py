"""The zoo's models against plain arithmetic on the rows they hold, read back by id through RowStore."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature
from sparrow.models import DeepFM, LogisticRegression
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.tables import Normal, table_groups
from sparrow.types import Batch, Ragged

FEATURES = [Feature("x").select("x"), Feature("y").select("y"), Feature("a").select("a"), Feature("b").select("b")]
ROWS_OF_B = [[1, 2], [], [2]]


def batch() -> Batch:
    offsets = torch.tensor([0, *map(len, ROWS_OF_B)]).cumsum(0)
    b = Ragged(torch.tensor([id for row in ROWS_OF_B for id in row]), (offsets,))
    return Batch.of({"x": torch.tensor([0.5, -1.0, 2.0]), "y": torch.tensor([1.0, 0.0, 3.0]), "a": torch.tensor([7, 7, 9]), "b": b})


def rows_by_id(model: nn.Module) -> dict[tuple[str, int], Tensor]:
    return {
        (chunk.table, id): chunk.weights[index]
        for group in table_groups(model)
        for chunk in group.export()
        for index, id in enumerate(chunk.ids.tolist())
    }


def total(rows: dict[tuple[str, int], Tensor], table: str, ids: list[int], dim: int) -> Tensor:
    return sum((rows[table, id] for id in ids), torch.zeros(dim))


def perceptron(parameters: dict[str, nn.Parameter], inputs: Tensor) -> Tensor:
    """One hidden layer by hand."""
    hidden = (parameters["mlp.0.weight"] @ inputs + parameters["mlp.0.bias"]).clamp_min(0)
    return (parameters["mlp.2.weight"] @ hidden + parameters["mlp.2.bias"])[0]


def trained(model: nn.Module, steps: int = 3) -> list[float]:
    """Train on the one batch and return the losses."""
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=0.05), SparseOptimizer(model, lr=0.05))
    losses = []
    for _ in range(steps):
        loss = nn.functional.binary_cross_entropy_with_logits(model(batch()), torch.tensor([1.0, 0.0, 1.0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_logistic_regression_is_a_sum_of_weights() -> None:
    model = LogisticRegression(FEATURES, dense=["x", "y"], sparse=["a", "b"])
    trained(model)
    rows = rows_by_id(model)
    assert any(row.any() for row in rows.values())
    x = torch.stack([batch()["x"], batch()["y"]], 1)  # type: ignore[list-item]
    for sample, logit in enumerate(model.eval()(batch())):
        weights = total(rows, "a", [batch()["a"][sample].item()], 1) + total(rows, "b", ROWS_OF_B[sample], 1)  # type: ignore[index]
        assert torch.allclose(logit, model.bias + weights[0] + x[sample] @ model.dense_weights, atol=1e-6)


def test_deepfm_is_the_published_sum() -> None:
    torch.manual_seed(0)
    model = DeepFM(FEATURES, dense=["x", "y"], sparse=["a", "b"], dim=4, hidden=(5,), initializer=Normal(std=0.5))
    trained(model)
    rows = rows_by_id(model)
    model.eval()
    for sample, logit in enumerate(model(batch())):
        ids = {"a": [int(batch()["a"][sample])], "b": ROWS_OF_B[sample]}  # type: ignore[index]
        x = torch.tensor([float(batch()["x"][sample]), float(batch()["y"][sample])])  # type: ignore[index]
        vectors = [total(rows, table, ids[table], 4) for table in "ab"]
        linear = sum(total(rows, f"{table}.linear", ids[table], 1)[0] for table in "ab") + x @ model.dense_weights
        fields = [*vectors, *(value * vector for value, vector in zip(x, model.dense_vectors, strict=True))]
        pairs = sum((one * two).sum() for one, two in itertools.combinations(fields, 2))
        deep = perceptron(dict(model.named_parameters()), torch.cat([*vectors, x]))
        assert torch.allclose(logit, model.bias + linear + pairs + deep, atol=1e-5)


@pytest.mark.parametrize("kind", [DeepFM, LogisticRegression])
def test_training_lowers_the_loss(kind: type[DeepFM] | type[LogisticRegression]) -> None:
    torch.manual_seed(0)
    losses = trained(kind(FEATURES, dense=["x"], sparse=["a", "b"]), steps=20)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("kind", [DeepFM, LogisticRegression])
def test_columns_are_what_the_features_need(kind: type[DeepFM] | type[LogisticRegression]) -> None:
    assert [spec.name for spec in kind(FEATURES, dense=["x"], sparse=["a"]).columns] == ["x", "y", "a", "b"]


@pytest.mark.parametrize("kind", [DeepFM, LogisticRegression])
def test_a_model_without_dense_inputs(kind: type[DeepFM] | type[LogisticRegression]) -> None:
    assert kind(FEATURES, dense=[], sparse=["a"])(batch()).shape == (3,)


@pytest.mark.parametrize("kind", [DeepFM, LogisticRegression])
def test_wrong_inputs_are_named(kind: type[DeepFM] | type[LogisticRegression]) -> None:
    with pytest.raises(ConfigError, match="'aa' is not a declared feature"):
        kind(FEATURES, dense=[], sparse=["aa"])
    with pytest.raises(ConfigError, match="at least one sparse"):
        kind(FEATURES, dense=["x"], sparse=[])
    with pytest.raises(DataError, match=r"'b'.*\.fill"):
        kind(FEATURES, dense=["b"], sparse=["a"])(batch())
    with pytest.raises(ConfigError, match="'a' is named twice"):
        kind(FEATURES, dense=["x"], sparse=["a", "a"])
    with pytest.raises(ConfigError, match="'x' is named twice"):
        kind(FEATURES, dense=["x"], sparse=["a", "x"])
    wide = Batch.of({**{name: batch()[name] for name in "yab"}, "x": torch.ones(3, 2)})
    with pytest.raises(DataError, match="feature 'x': a dense input needs one number a row, got 2"):
        kind(FEATURES, dense=["x"], sparse=["a"])(wide)


@pytest.mark.parametrize("kind", [DeepFM, LogisticRegression])
def test_a_cast_model_computes_in_its_dtype_and_trains_float32_rows(kind: type[DeepFM] | type[LogisticRegression]) -> None:
    torch.manual_seed(0)
    model = kind(FEATURES, dense=["x", "y"], sparse=["a", "b"])
    exact = model(batch())
    cast = model.bfloat16()
    assert cast(batch()).dtype == torch.bfloat16
    assert torch.allclose(cast(batch()).float(), exact, atol=0.05)
    losses = []
    optimizer = CombinedOptimizer(torch.optim.SGD(cast.parameters(), lr=0.5), SparseOptimizer(cast, lr=0.05))
    for _ in range(30):
        loss = nn.functional.binary_cross_entropy_with_logits(cast(batch()).float(), torch.tensor([1.0, 0.0, 1.0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert {chunk.weights.dtype for group in table_groups(cast) for chunk in group.export()} == {torch.float32}
