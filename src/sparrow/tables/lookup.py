"""What a lookup hands out: private rows, the lease that protects them, and the leaf that receives their gradient."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.pool_backward.op import pool_backward
from sparrow.tables.placement import HOST, fixed


class Lease:
    """While it lives, eviction, demotion and compaction leave its rows alone. Ends by `release` or with its last reference."""

    def __init__(self, on_release: Callable[[], None]) -> None:
        self._finalizer = weakref.finalize(self, on_release)

    def release(self) -> None:
        self._finalizer()


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """The rows of some ids, found or inserted. Rows are private to `tables/` and `optim/`.

    rows:    int32 [U], one a distinct (table, id), in order of first appearance; -1 reads the default vector and takes no gradient. On a
             device U is the number of ids, and rows beyond the distinct ones are -1.
    inverse: int32 [N], position -> index into `rows`.
    tables:  indices of the tables that took part: their step count advances with the update.
    step:    the group's step at which the rows were read: `group.step - step` at the update is the gradient's staleness.
    table_offsets: int64 [T + 1]: table t has `rows[table_offsets[t]:table_offsets[t + 1]]`; None where rows of several lookups were merged.
    stamped: whether the lookup, of rows about to be trained, already wrote `step` as when they last changed.
    lease:   protects the rows until the update is done or everything about the lookup is dropped.
    """

    rows: Tensor
    inverse: Tensor
    tables: tuple[int, ...]
    step: int
    lease: Lease
    table_offsets: Tensor | None = None
    stamped: bool = False

    @property
    def num_unique(self) -> int:
        return self.rows.numel()


class Sink(Tensor):
    """A leaf of [U, dim] that costs 4 bytes: its `.grad` is the gradient summed per unique row of `.lookup`.

    Torch sees a parameter whose gradient it accumulates, clips and unscales by its own rules; `sparrow.optim.SparseOptimizer`
    turns the gradient into row updates. Its own values are zeros and never read.
    """

    lookup: Lookup

    # Only the type distinguishes a sink: operations on it must return plain tensors.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def make_sink(lookup: Lookup, dim: int, dtype: torch.dtype) -> Sink:
    """Return a sink for `lookup` that expects gradients [U, dim] of `dtype`."""
    sink = torch.zeros((), dtype=dtype, device=lookup.rows.device).expand(lookup.num_unique, dim).as_subclass(Sink)
    sink.requires_grad_()
    sink.lookup = lookup
    return sink


class SinkList:
    """The live sinks of a group, in forward order; `SparseOptimizer` lists it as the `params` of a param group.

    A sink is held weakly until its gradient arrives (an output nobody backpropagates vanishes by itself, with its lease) and
    strongly from then on. Iterating first merges the sinks that hold a gradient into one, adding in forward order, so that norms
    and updates see each row once, however many micro-batches or losses touched it.
    """

    def __init__(self) -> None:
        self._waiting: list[weakref.ref[Sink]] = []
        self._held: list[Sink] = []

    def add(self, sink: Sink) -> None:
        self._waiting = [reference for reference in self._waiting if reference() is not None]
        self._waiting.append(weakref.ref(sink))
        # The hook must not hold the sink: it would never be freed.
        sink.register_post_accumulate_grad_hook(_holder(weakref.ref(self)))  # type: ignore[no-untyped-call]

    def hold(self, sink: Sink) -> None:
        if not any(held is sink for held in self._held):
            self._held.append(sink)
        self._waiting = [reference for reference in self._waiting if (waiting := reference()) is not None and waiting is not sink]

    def drop_held(self) -> None:
        """Forget the sinks that hold a gradient; those still waiting for one stay."""
        for sink in self._held:
            sink.grad = None
            sink.lookup.lease.release()
        self._held = []

    def take_gradient(self) -> tuple[Lookup, Tensor] | None:
        """Return the merged (lookup, gradient [U, dim]) and forget its sink, or None where no gradient arrived."""
        self._merge()
        if not self._held:
            return None
        sink = self._held.pop()
        assert sink.grad is not None, "a held sink holds a gradient"
        return sink.lookup, sink.grad

    def __iter__(self) -> Iterator[Sink]:
        self._merge()
        waiting = [reference() for reference in self._waiting]
        return iter([*self._held, *(sink for sink in waiting if sink is not None)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _merge(self) -> None:
        # A gradient may have been set to None since it arrived (torch's own zero_grad, or the user).
        for sink in [sink for sink in self._held if sink.grad is None]:
            sink.lookup.lease.release()
        self._held = [sink for sink in self._held if sink.grad is not None]
        if len(self._held) > 1:
            self._held = [_merged(self._held)]


def _holder(owner: weakref.ref[SinkList]) -> Callable[[Tensor], None]:
    def hold(sink: Tensor) -> None:
        sinks = owner()
        if sinks is not None and isinstance(sink, Sink):
            sinks.hold(sink)

    return hold


def _merged(sinks: list[Sink]) -> Sink:
    """Return one sink whose rows are the union of theirs and whose gradient is the sum, in the order given."""
    rows = torch.cat([sink.lookup.rows for sink in sinks]).long()
    grads = torch.cat([sink.grad for sink in sinks if sink.grad is not None])
    num_rows = rows.numel()
    unique, offsets, inverse, _ = dedup_ids([rows], fixed(torch.tensor([0, num_rows]), rows.device))
    segments = torch.arange(num_rows + 1, device=rows.device)
    # Only the host knows how many are distinct.
    distinct = unique[: int(offsets[-1])] if rows.device == HOST else torch.where(segments[:-1] < offsets[-1], unique, -1)
    distinct = distinct.int()
    summed = pool_backward(grads.unsqueeze(1), distinct, inverse, segments, None, torch.zeros(1, dtype=torch.int64, device=rows.device))
    tables = tuple(sorted({table for sink in sinks for table in sink.lookup.tables}))
    leases = [sink.lookup.lease for sink in sinks]

    def release_all() -> None:
        for lease in leases:
            lease.release()

    lookup = Lookup(distinct, inverse, tables, min(sink.lookup.step for sink in sinks), Lease(release_all))
    merged = make_sink(lookup, grads.shape[1], grads.dtype)
    merged.grad = summed
    for sink in sinks:
        sink.grad = None
    return merged
