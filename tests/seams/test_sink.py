"""The gradient sink: torch's own rules (accumulation, clipping, scaling, several losses, any loop order) hold for table rows.

The oracle is torch itself: the same lookups through one dense parameter indexed by id, with torch's dense optimizer. Rows all take part
in every update here, so lazy and dense updates agree.
"""

import gc

import pytest
import torch
from torch import Tensor, nn

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import ConfigError
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.tables import Constant, TableGroup
from sparrow.types import Batch

NUM_IDS, DIM = 5, 4


class Twin:
    """An engine of one float64 table and the dense weight it must stay equal to."""

    def __init__(self, rule: str = "sgd", lr: float = 0.1) -> None:
        option = EmbeddingOption(dim=DIM, rule=rule, dtype=torch.float64, initializer=Constant(0.5))
        self.engine = EmbeddingEngine({"a": option})
        self.optimizer = SparseOptimizer(self.engine, lr=lr)
        self.weight = nn.Parameter(torch.full((NUM_IDS, DIM), 0.5, dtype=torch.float64))
        dense = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}[rule]
        self.dense_optimizer = dense([self.weight], lr=lr)

    @property
    def group(self) -> TableGroup:
        return self.engine.groups[0]

    def forward(self, ids: list[int], target: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the loss of both sides on the same ids. Different dims weigh differently, so that columns are told apart."""
        scale = torch.arange(1, DIM + 1, dtype=torch.float64)
        tensor = torch.tensor(ids)
        mine = self.engine(Batch.of({"a": tensor}))["a"]
        theirs = self.weight[tensor]
        return tuple(((vectors * scale - target) ** 2).sum() for vectors in (mine, theirs))  # type: ignore[return-value]

    def assert_equal(self) -> None:
        self.engine.eval()
        mine = self.engine(Batch.of({"a": torch.arange(NUM_IDS)}))["a"].detach()
        self.engine.train()
        assert torch.allclose(mine, self.weight.detach(), rtol=0, atol=1e-12)


EVERY_ID = [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adam"])
def test_plain_loop(rule: str) -> None:
    twin = Twin(rule)
    for _ in range(3):
        for loss in twin.forward([*EVERY_ID, 0, 0, 3]):
            loss.backward()
        twin.optimizer.step()
        twin.dense_optimizer.step()
        twin.optimizer.zero_grad()
        twin.dense_optimizer.zero_grad()
    twin.assert_equal()


def test_zero_grad_before_backward_trains() -> None:
    twin = Twin()
    for _ in range(3):
        mine, theirs = twin.forward(EVERY_ID)
        twin.optimizer.zero_grad()
        twin.dense_optimizer.zero_grad()
        mine.backward()
        theirs.backward()
        twin.optimizer.step()
        twin.dense_optimizer.step()
    twin.assert_equal()


def test_zero_grad_after_backward_discards() -> None:
    twin = Twin()
    mine, _ = twin.forward(EVERY_ID)
    mine.backward()
    twin.optimizer.zero_grad()
    twin.optimizer.step()
    assert torch.equal(twin.engine.eval()(Batch.of({"a": torch.arange(NUM_IDS)}))["a"], twin.weight)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_accumulation_over_micro_batches_is_one_update_of_the_sum(rule: str) -> None:
    twin = Twin(rule)
    for _ in range(2):
        for micro_batch in (EVERY_ID, [0, 0, 4], [3]):
            for loss in twin.forward(micro_batch):
                (loss / 3).backward()
        twin.optimizer.step()
        twin.dense_optimizer.step()
        twin.optimizer.zero_grad()
        twin.dense_optimizer.zero_grad()
    twin.assert_equal()
    assert twin.group.table_steps == [2]


def test_two_losses_on_one_forward_and_on_two() -> None:
    twin = Twin()
    mine, theirs = twin.forward(EVERY_ID)
    for loss in (mine, theirs):
        loss.backward(retain_graph=True)
        (loss * 0.5).backward()
    for loss in twin.forward([1, 1, 2], target=-1.0):
        loss.backward()
    twin.optimizer.step()
    twin.dense_optimizer.step()
    twin.assert_equal()


def test_gradient_that_arrives_after_a_merge_is_added() -> None:
    twin = Twin()
    first, second = twin.forward(EVERY_ID), twin.forward([2, 3])
    for one, two in zip(first, second, strict=True):
        one.backward(retain_graph=True)
        two.backward()
    len(twin.group.sinks)  # looking at the sinks merges them
    for loss in first:
        loss.backward()
    twin.optimizer.step()
    twin.dense_optimizer.step()
    twin.assert_equal()


def test_clip_takes_one_global_norm_over_both_sides() -> None:
    twin = Twin()
    linear = nn.Parameter(torch.ones(3, dtype=torch.float64))
    clone = nn.Parameter(linear.detach().clone())
    combined = CombinedOptimizer(torch.optim.SGD([linear], lr=0.1), twin.optimizer)
    other = torch.optim.SGD([clone], lr=0.1)
    for micro_batch in (EVERY_ID, [0, 1, 1]):  # an id in two micro-batches counts by its summed gradient
        mine, theirs = twin.forward(micro_batch)
        (mine + (linear * 3).sum()).backward()
        (theirs + (clone * 3).sum()).backward()
    norm = combined.clip_grad_norm_(0.7)
    expected = torch.nn.utils.clip_grad_norm_([clone, twin.weight], 0.7)
    assert torch.allclose(norm, expected, rtol=1e-12, atol=0)
    combined.step()
    other.step()
    twin.dense_optimizer.step()
    twin.assert_equal()
    assert torch.allclose(linear, clone, rtol=0, atol=1e-12)


def test_grad_scaler_skips_both_sides_together() -> None:
    for overflow in (False, True):
        twin = Twin()
        linear = nn.Parameter(torch.ones(2, dtype=torch.float64))
        combined = CombinedOptimizer(torch.optim.SGD([linear], lr=0.1), twin.optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        mine, theirs = twin.forward(EVERY_ID)
        scaler.scale(mine + (linear * (float("inf") if overflow else 2.0)).sum()).backward()
        scaler.step(combined)
        scaler.update()
        if not overflow:
            theirs.backward()
            twin.dense_optimizer.step()
        twin.assert_equal()
        assert torch.equal(linear.detach(), torch.full((2,), 1.0 if overflow else 0.8, dtype=torch.float64))


def test_lr_scheduler_reaches_the_rows() -> None:
    twin = Twin()
    schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5) for optimizer in (twin.optimizer, twin.dense_optimizer)]
    for _ in range(3):
        for loss in twin.forward(EVERY_ID):
            loss.backward()
        for optimizer, scheduler in zip((twin.optimizer, twin.dense_optimizer), schedulers, strict=True):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    twin.assert_equal()


def test_output_nobody_backpropagates_releases_its_lease() -> None:
    twin = Twin()
    kept = twin.engine(Batch.of({"a": torch.arange(NUM_IDS)}))["a"]
    assert twin.group.num_leases == 1
    assert len(twin.group.sinks) == 1
    del kept
    gc.collect()
    assert twin.group.num_leases == 0
    assert len(twin.group.sinks) == 0


def test_step_releases_leases_and_leaves_waiting_sinks() -> None:
    twin = Twin()
    early, _ = twin.forward(EVERY_ID)
    late, _ = twin.forward([1, 2])  # the next batch's forward has run already when this batch steps
    early.backward()
    twin.optimizer.step()
    assert twin.group.num_leases == 1
    before = twin.engine.eval()(Batch.of({"a": torch.arange(NUM_IDS)}))["a"].detach().clone()
    late.backward()
    twin.optimizer.step()
    after = twin.engine(Batch.of({"a": torch.arange(NUM_IDS)}))["a"].detach()
    assert (before != after).any(dim=1).tolist() == [False, True, True, False, False]
    del late, early
    gc.collect()
    assert twin.group.num_leases == 0


def test_no_sink_is_made_without_grad_mode() -> None:
    twin = Twin()
    with torch.no_grad():
        out = twin.engine(Batch.of({"a": torch.arange(NUM_IDS)}))["a"]
    assert not out.requires_grad
    assert len(twin.group.sinks) == 0
    assert twin.group.num_rows == NUM_IDS  # insertion follows the training flag, not grad mode


def test_plain_torch_optimizer_given_a_sink_names_ours() -> None:
    twin = Twin()
    mine, _ = twin.forward(EVERY_ID)
    mine.backward()
    wrong = torch.optim.SGD(list(twin.group.sinks), lr=0.1)
    with pytest.raises(ConfigError, match="SparseOptimizer"):
        wrong.step()


def test_sinks_never_enter_a_state_dict() -> None:
    twin = Twin()
    mine, _ = twin.forward(EVERY_ID)
    mine.backward()
    combined = CombinedOptimizer(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), twin.optimizer)
    state = combined.state_dict()
    assert "params" not in state["sparse"]["param_groups"][0]
    state["sparse"]["param_groups"][0]["lr"] = 0.25
    combined.load_state_dict(state)
    assert combined.param_groups[-1]["lr"] == 0.25
    assert len(twin.group.sinks) == 1
