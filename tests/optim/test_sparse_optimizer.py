"""SparseOptimizer: settings by group, lazily moved rows, and what it refuses. tests/seams/test_sink.py holds it against torch."""

import math

import pytest
import torch
from torch import nn

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import CheckpointError, ConfigError
from sparrow.optim import RULES, CombinedOptimizer, SparseOptimizer
from sparrow.tables import Constant, TableOptions
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


@pytest.mark.parametrize("rule", sorted(RULES))
def test_micro_batches_are_one_update_of_their_sum(rule: str) -> None:
    ids = torch.tensor([1, 2, 1, 3, 2, 2, 9, 1])
    grads = torch.randn(ids.numel(), 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    moved = []
    for size in (8, 4, 3, 1):
        model = EmbeddingEngine({"a": EmbeddingOption(dim=5, rule=rule, dtype=torch.float64, initializer=Constant(1.0))})
        optimizer = SparseOptimizer(model, lr=0.1)
        for _ in range(3):
            for part, grad in zip(ids.split(size), grads.split(size), strict=True):
                model(Batch.of({"a": part}))["a"].backward(grad)
            optimizer.step()
        moved.append(torch.tensor([row(model, "a", id) for id in (1, 2, 3, 9)], dtype=torch.float64))
    for other in moved[1:]:
        assert torch.allclose(other, moved[0], rtol=1e-12, atol=1e-12)


def test_hyper_rows_are_those_of_every_table() -> None:
    """However steps and overrides are shared out: the words of each table are its own `hyper_row`, to the bit."""
    options = {f"t{i}": EmbeddingOption(dim=2, rule="adam", hyper={"lr": 0.5} if i % 3 == 0 else {}) for i in range(7)}
    model = EmbeddingEngine(options)
    optimizer, group = SparseOptimizer(model, beta1=0.8), model.groups[0]
    written: list[torch.Tensor] = []
    group.update = lambda lookup, grad, hyper: written.append(hyper)  # type: ignore[method-assign]

    def check(**shared: float) -> None:
        model(Batch.of({name: torch.tensor([1]) for name in options}))["t0"].sum().backward()
        optimizer.step()
        expected = [
            group.rule.hyper_row(step=step, global_step=group.step, **{**shared, **table.hyper})
            for table, step in zip(group.tables, group.table_steps, strict=True)
        ]
        assert written[-1].dtype == torch.float64
        assert written[-1].tolist() == expected

    check(lr=1e-3, beta1=0.8)
    group.table_steps[2:5] = [9, 1000, 9]
    check(lr=1e-3, beta1=0.8)
    optimizer.param_groups[0]["lr"] = 0.25
    group.add_table(TableOptions(name="late", dim=2, rule="adam", hyper={"eps": 1e-3}, initializer=group.tables[0].initializer))
    group.table_steps[-1] = 1
    check(lr=0.25, beta1=0.8)
    group.change_rule("sgd")
    check(lr=0.25)


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
