"""SparseOptimizer: settings by group, lazily moved rows, and what it refuses. tests/seams/test_sink.py holds it against torch."""

import math

import pytest
import torch
from torch import nn

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import CheckpointError, ConfigError
from sparrow.optim import RULES, CombinedOptimizer, SparseOptimizer
from sparrow.tables import Constant
from sparrow.types import Batch


def engine(rule: str = "adam") -> EmbeddingEngine:
    """Two groups: tables of dim 2 and of dim 3."""
    return EmbeddingEngine(
        {
            "a": EmbeddingOption(dim=2, rule=rule, initializer=Constant(1.0)),
            "b": EmbeddingOption(dim=3, rule="sgd", initializer=Constant(1.0)),
        }
    )


def step(model: EmbeddingEngine, optimizer: torch.optim.Optimizer, a: list[int], b: list[int]) -> None:
    out = model(Batch.of({"a": torch.tensor(a), "b": torch.tensor(b)}))
    (out["a"].sum() + out["b"].sum()).backward()
    optimizer.step()


def row(model: EmbeddingEngine, feature: str, id: int) -> list[float]:
    model.eval()
    out = model(Batch.of({name: torch.tensor([id]) for name in model.options}))[feature][0].tolist()
    model.train()
    return out  # type: ignore[no-any-return]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_rows_without_a_gradient_do_not_move(rule: str) -> None:
    model = engine(rule)
    optimizer = SparseOptimizer(model, lr=0.1)
    step(model, optimizer, [1, 2], [1, 2])
    before = row(model, "a", 2)
    for _ in range(3):
        step(model, optimizer, [1, 1], [1, 1])
    assert row(model, "a", 2) == before, "no decay of weights or moments for a row that is not there"
    assert row(model, "a", 1) != before


def test_learning_rates_differ_by_group() -> None:
    model = engine("sgd")
    optimizer = SparseOptimizer(model, lr=0.5)
    optimizer.param_groups[1]["lr"] = 0.25
    step(model, optimizer, [1], [1])
    assert row(model, "a", 1) == [0.5, 0.5]
    assert row(model, "b", 1) == [0.75, 0.75, 0.75]


def test_every_group_counts_every_step() -> None:
    model = engine()
    optimizer = SparseOptimizer(model)
    step(model, optimizer, [1], [1])
    optimizer.step()
    assert [group.step for group in model.groups] == [2, 2]
    assert [group.table_steps for group in model.groups] == [[1], [1]], "a step without gradients is no update"


def test_step_runs_a_closure() -> None:
    model = engine("sgd")
    optimizer = SparseOptimizer(model, lr=1.0)

    def closure() -> torch.Tensor:
        loss = model(Batch.of({"a": torch.tensor([4]), "b": torch.tensor([4])}))["a"].sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert row(model, "a", 4) == [0.0, 0.0]


def test_state_round_trip_and_refusal() -> None:
    optimizer = SparseOptimizer(engine(), lr=0.5, beta1=0.8)
    other = SparseOptimizer(engine(), lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    assert [(group["lr"], group.get("beta1")) for group in other.param_groups] == [(0.5, 0.8), (0.5, None)]
    foreign = SparseOptimizer(EmbeddingEngine({"a": EmbeddingOption(dim=9)}))
    with pytest.raises(CheckpointError, match="dim9"):
        foreign.load_state_dict(optimizer.state_dict())


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="found no tables"):
        SparseOptimizer(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="lr is -1"):
        SparseOptimizer(engine(), lr=-1.0)
    with pytest.raises(ConfigError, match="'epsilon'"):
        SparseOptimizer(engine(), epsilon=1e-8)
    for name, value in (("lr", math.nan), ("beta1", 1.0), ("beta2", -0.1), ("eps", -1e-8), ("weight_decay", math.inf)):
        with pytest.raises(ConfigError, match=f"rule 'adam': {name} is {value}, expected .*at least 0"):
            SparseOptimizer(engine(), **{name: value})
        with pytest.raises(ConfigError, match=f"table 'a': rule 'adam': {name} is {value}"):
            EmbeddingEngine({"a": EmbeddingOption(dim=2, hyper={name: value})})


def test_combined_passes_states_and_schedules_through() -> None:
    model, linear = engine("sgd"), nn.Linear(2, 1)
    combined = CombinedOptimizer(torch.optim.Adam(linear.parameters(), lr=0.1), SparseOptimizer(model, lr=0.5))
    scheduler = torch.optim.lr_scheduler.ExponentialLR(combined, gamma=0.5)
    out = model(Batch.of({"a": torch.tensor([1]), "b": torch.tensor([1])}))
    linear(out["a"]).sum().backward()
    combined.step()
    scheduler.step()
    assert [group["lr"] for group in combined.param_groups] == [0.05, 0.25, 0.25]
    again = CombinedOptimizer(torch.optim.Adam(linear.parameters(), lr=0.1), SparseOptimizer(engine("sgd"), lr=0.5))
    again.load_state_dict(combined.state_dict())
    assert [group["lr"] for group in again.param_groups] == [0.05, 0.25, 0.25]
    assert again.dense.state[linear.weight]["step"] == 1
    combined.zero_grad()
    assert linear.weight.grad is None
