"""The gradient of a sink: a tensor to everybody who looks, and summed in one pass with the update where nobody does."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import TableError
from sparrow.ops.pool_backward.op import pool_backward
from sparrow.optim import SparseOptimizer
from sparrow.tables import Normal, Sink, TableGroup
from sparrow.tables.pooling import PooledGradient
from sparrow.types import Batch, Ragged

ROWS = 40


def engine(rule: str = "adam") -> EmbeddingEngine:
    options = {
        name: EmbeddingOption(dim=8, rule=rule, combiner=combiner, initializer=Normal(std=1.0), table=table)
        for name, combiner, table in (("a", "sum", "t"), ("b", "mean", "t"), ("c", "sqrtn", "u"))
    }
    return EmbeddingEngine(options, seed=5)


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def column(weighted: bool) -> Ragged:
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 4, (ROWS,), generator=generator).cumsum(0)])
        num_ids = int(offsets[-1])
        ids = torch.randint(0, 30, (num_ids,), generator=generator)
        return Ragged(ids, (offsets,), torch.rand(num_ids, generator=generator) if weighted else None)

    return Batch.of({"a": column(False), "b": column(True), "c": column(False)})


def sinks_of(group: TableGroup) -> list[Sink]:
    return [sink for sink in group.sinks if sink.grad is not None]


def train(embedding: EmbeddingEngine, look: Callable[[Tensor], object] | None, num_steps: int = 4) -> list[Tensor]:
    """Take steps, showing each gradient to `look` first; return the tables' state."""
    optimizer = SparseOptimizer(embedding, lr=0.1)
    for step in range(num_steps):
        out = embedding(batch(step)).stack(["a", "b", "c"])
        out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(100 + step)))
        for sink in sinks_of(embedding.groups[0]):
            assert isinstance(sink.grad, PooledGradient)
            if look is not None:
                look(sink.grad)
        optimizer.step()
    held = embedding.groups[0].blocks
    return [*held.weights, *held.element_slots, *held.row_slots, held.meta[: embedding.groups[0].num_rows]]


@pytest.mark.parametrize("rule", ["sgd", "adam", "rowwise_adagrad"])
@pytest.mark.parametrize(
    "look", [Tensor.norm, Tensor.clone, Tensor.detach, lambda grad: grad.mul_(1.0), lambda grad: torch._foreach_norm([grad]), repr]
)
def test_a_look_at_the_gradient_changes_no_bit(rule: str, look: Callable[[Tensor], object]) -> None:
    num_rows = 60
    for seen, unseen in zip(train(engine(rule), look), train(engine(rule), None), strict=True):
        assert torch.equal(seen[:num_rows], unseen[:num_rows])


def test_it_is_the_sum_per_distinct_row() -> None:
    embedding = engine()
    out = embedding(batch(0)).stack(["a", "b", "c"])
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    out.backward(upstream)
    (sink,) = sinks_of(embedding.groups[0])
    assert isinstance(sink.grad, PooledGradient)
    assert not sink.grad.waiting.is_made
    pooled, s = sink.grad.waiting.parts()
    expected = pool_backward(upstream, s.rows, s.inverse, s.offsets, s.position_weights, s.combiners)
    assert torch.equal(pooled, upstream)
    assert sink.grad.shape == expected.shape == sink.shape
    assert torch.equal(sink.grad, expected)
    assert torch.equal(sink.grad + 1, expected + 1)
    assert float(sink.grad.sum()) == float(expected.sum())
    assert sink.grad.waiting.is_made


@given(scale=st.sampled_from([0.0, -2.0, 0.5]))
def test_what_is_changed_in_place_is_what_is_applied(scale: float) -> None:
    scaled, expected = engine("sgd"), engine("sgd")
    for embedding, factor in ((scaled, 1.0), (expected, scale)):
        out = embedding(batch(0)).stack(["a", "b", "c"])
        out.backward(torch.ones_like(out) * factor)
    for sink in sinks_of(scaled.groups[0]):
        returned = sink.grad.mul_(scale)
        assert returned is sink.grad
    for embedding in (scaled, expected):
        SparseOptimizer(embedding, lr=0.1).step()
    assert torch.allclose(scaled.groups[0].blocks.weights[0][:60], expected.groups[0].blocks.weights[0][:60], atol=1e-6)


def test_a_clone_has_its_own_values() -> None:
    embedding = engine()
    out = embedding(batch(0)).stack(["a", "b", "c"])
    out.sum().backward()
    (sink,) = sinks_of(embedding.groups[0])
    copy, alias = sink.grad.clone(), sink.grad.detach()
    alias.zero_()
    assert not sink.grad.any()
    assert copy.any()


def test_two_backwards_add_up() -> None:
    twice, once = engine("sgd"), engine("sgd")
    for embedding, times in ((twice, 2), (once, 1)):
        out = embedding(batch(0)).stack(["a", "b", "c"])
        for _ in range(times):
            (out * (2 / times)).sum().backward(retain_graph=True)
        SparseOptimizer(embedding, lr=0.1).step()
    assert torch.equal(twice.groups[0].blocks.weights[0][:60], once.groups[0].blocks.weights[0][:60])


def test_an_upstream_gradient_changed_too_early_is_refused() -> None:
    embedding = engine()
    optimizer = SparseOptimizer(embedding)
    out = embedding(batch(0)).stack(["a", "b", "c"])
    upstream = torch.ones_like(out)
    out.backward(upstream)
    upstream.zero_()
    with pytest.raises(TableError, match="changed in place"):
        optimizer.step()


def test_nothing_is_kept_after_the_step() -> None:
    embedding = engine()
    optimizer = SparseOptimizer(embedding)
    out = embedding(batch(0)).stack(["a", "b", "c"])
    upstream = torch.ones_like(out)
    kept = weakref.ref(upstream)
    out.backward(upstream)
    optimizer.step()
    del out, upstream
    gc.collect()
    assert kept() is None
    assert embedding.groups[0].num_leases == 0


def test_training_lookups_stamp_last_changed_and_others_do_not() -> None:
    embedding = engine()
    group, optimizer = embedding.groups[0], SparseOptimizer(embedding)
    with torch.no_grad():
        embedding(batch(0))
    assert not group.blocks.meta[: group.num_rows, 1].any()
    group.step = 3
    out = embedding(batch(0)).stack(["a", "b", "c"])
    assert group.blocks.meta[: group.num_rows, 1].eq(3).all()
    out.sum().backward()
    group.step = 5  # as when other batches were trained in between
    optimizer.step()
    assert group.blocks.meta[: group.num_rows, 1].eq(5).all()
    embedding.eval()
    out = embedding(batch(0)).stack(["a", "b", "c"])
    assert group.blocks.meta[: group.num_rows, 1].eq(5).all()
    out.sum().backward()
    optimizer.step()  # rows found by a read-only lookup are trained all the same
    assert group.blocks.meta[: group.num_rows, 1].eq(6).all()
