"""Table rows that appear in every step move exactly as the rows of a dense parameter under torch's own optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, LRScheduler, OneCycleLR

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import ConfigError
from sparrow.optim import RULES, CombinedOptimizer, SparseOptimizer
from sparrow.tables import Normal
from sparrow.types import Batch

TORCH = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
IDS, DIM, STEPS = [5, -1, 2**40, 0], 3, 12


class Twin:
    """One table beside a dense parameter of the same rows; both see the same targets."""

    def __init__(self, rule: str, dtype: torch.dtype, hyper: Mapping[str, float] | None = None) -> None:
        option = EmbeddingOption(dim=DIM, rule=rule, dtype=dtype, initializer=Normal(std=1.0), hyper=hyper or {})
        self.engine, self.dtype = EmbeddingEngine({"f": option}, rows_per_block=2), dtype
        self.dense = nn.Parameter(self.rows().clone())
        self.generator = torch.Generator().manual_seed(1)

    def rows(self) -> Tensor:
        """The rows of `IDS`, inserted where new."""
        return self.engine(Batch.of({"f": torch.tensor(IDS)}))["f"].detach()

    def backward(self) -> None:
        # Every id at least once, some twice, in an order that changes.
        picks = torch.cat([torch.arange(len(IDS)), torch.randint(len(IDS), (2,), generator=self.generator)])
        picks = picks[torch.randperm(picks.numel(), generator=self.generator)]
        target = torch.randn(picks.numel(), DIM, generator=self.generator, dtype=self.dtype)
        for vectors in (self.engine(Batch.of({"f": torch.tensor(IDS)[picks]}))["f"], self.dense[picks]):
            ((vectors - target) ** 2).sum().backward()

    def check(self) -> None:
        tolerance = TOLERANCE[self.dtype]
        assert torch.allclose(self.rows(), self.dense.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("rule", "hyper"),
    [
        ("sgd", {"lr": 0.02}),
        ("sgd", {"lr": 0.02, "weight_decay": 0.1}),
        ("adagrad", {"lr": 0.1}),
        ("adagrad", {"lr": 0.1, "weight_decay": 0.1, "eps": 1e-3}),
        ("adam", {"lr": 0.05}),
        ("adam", {"lr": 0.05, "weight_decay": 0.1, "eps": 1e-3, "beta1": 0.7, "beta2": 0.9}),
    ],
)
@pytest.mark.parametrize("by_table", [False, True])
def test_a_sequence_of_steps(rule: str, hyper: dict[str, float], dtype: torch.dtype, by_table: bool) -> None:
    assert rule in RULES
    twin = Twin(rule, dtype, hyper if by_table else None)
    sparse = SparseOptimizer(twin.engine, **({"lr": 9.0} if by_table else hyper))
    in_torch = {name: value for name, value in hyper.items() if not name.startswith("beta")}
    if "beta1" in hyper:
        in_torch["betas"] = (hyper["beta1"], hyper["beta2"])  # type: ignore[assignment]
    dense = TORCH[rule]([twin.dense], **in_torch)
    for _ in range(STEPS):
        dense.zero_grad()
        twin.backward()
        dense.step()
        sparse.step()
        twin.check()


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], LRScheduler]] = {
    "exponential": lambda optimizer: ExponentialLR(optimizer, gamma=0.8),
    "warm-up": lambda optimizer: LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 5)),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=STEPS),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=0.1, total_steps=STEPS + 1, cycle_momentum=False),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_of_the_combined_optimizer_reaches_both_halves(name: str) -> None:
    twin, other = Twin("adam", torch.float64), nn.Parameter(torch.ones(2, dtype=torch.float64))
    combined = CombinedOptimizer(torch.optim.Adam([other], lr=0.05), SparseOptimizer(twin.engine, lr=0.05))
    plain = torch.optim.Adam([twin.dense], lr=0.05)
    ours, theirs = SCHEDULERS[name](combined), SCHEDULERS[name](plain)
    for _ in range(STEPS):
        plain.zero_grad()
        twin.backward()
        plain.step()
        combined.step()
        ours.step()
        theirs.step()
        twin.check()
        assert [group["lr"] for group in combined.param_groups] == [plain.param_groups[0]["lr"]] * 2


def test_a_scheduled_rate_survives_the_state() -> None:
    twin = Twin("sgd", torch.float64)
    saved = CombinedOptimizer(torch.optim.SGD([twin.dense], lr=0.4), SparseOptimizer(twin.engine, lr=0.2))
    schedule = ExponentialLR(saved, gamma=0.5)
    saved.step()
    schedule.step()
    again = CombinedOptimizer(torch.optim.SGD([twin.dense], lr=9.0), SparseOptimizer(Twin("sgd", torch.float64).engine, lr=9.0))
    schedule_again = ExponentialLR(again, gamma=0.5)
    again.load_state_dict(saved.state_dict())
    schedule_again.load_state_dict(schedule.state_dict())
    assert [group["lr"] for group in again.param_groups] == [0.2, 0.1]
    again.step()
    schedule_again.step()
    assert [group["lr"] for group in again.param_groups] == [0.1, 0.05]


def test_tables_of_one_group_differ_by_their_own_hyper() -> None:
    slow, fast = EmbeddingOption(dim=1, rule="sgd", initializer=Normal(std=1.0)), {"lr": 0.5}
    engine = EmbeddingEngine({"slow": slow, "fast": EmbeddingOption(dim=1, rule="sgd", initializer=Normal(std=1.0), hyper=fast)})
    assert len(engine.groups) == 1
    batch = Batch.of({"slow": torch.tensor([1]), "fast": torch.tensor([1])})
    out = engine(batch)
    before = {name: out[name].detach().clone() for name in out}
    (out["slow"].sum() + out["fast"].sum()).backward()
    SparseOptimizer(engine, lr=0.25).step()
    after = engine(batch)
    assert torch.equal(after["slow"], before["slow"] - 0.25)
    assert torch.equal(after["fast"], before["fast"] - 0.5)


def test_an_unknown_hyper_parameter_is_named_where_it_is_declared() -> None:
    with pytest.raises(ConfigError, match=r"table 'colour': rule 'adam' has no hyper-parameter 'bta1'; did you mean 'beta1'"):
        EmbeddingEngine({"colour": EmbeddingOption(dim=2, rule="adam", hyper={"bta1": 0.5})})
    engine = EmbeddingEngine({"colour": EmbeddingOption(dim=2, rule="adagrad")})
    with pytest.raises(ConfigError, match=r"hyper-parameter 'weight_deacy'; did you mean 'weight_decay'"):
        SparseOptimizer(engine, weight_deacy=0.1)
    with pytest.raises(ConfigError, match="hyper-parameter 'beta1'"):
        SparseOptimizer(engine, beta1=0.5)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_gradient_of_unknown_ids_alone_moves_nothing(rule: str, dtype: torch.dtype) -> None:
    """In eval mode unknown ids get no row, even where the tables hold none at all."""
    engine = EmbeddingEngine({"f": EmbeddingOption(dim=2, rule=rule, dtype=dtype)}).eval()
    optimizer = SparseOptimizer(engine)
    engine(Batch.of({"f": torch.tensor([1, 2, 1])}))["f"].sum().backward()
    optimizer.step()
    assert [group.num_rows for group in engine.groups] == [0]
    assert [group.num_leases for group in engine.groups] == [0]
