"""Measures on scratch rows which tile suits a shape class best, for `tiles` to keep. Every tile must give the same bits as the rule's."""

from __future__ import annotations

import functools
import importlib
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sparrow.errors import BackendError
from sparrow.ops.tiles import Tile, candidates, key_of, trying
from sparrow.ops.update_rows.rules import RULES, Rule

# Rows of the scratch table: beyond any last-level cache at the widths that matter. Wider rows than 2^7 values are fewer.
NUM_ROWS = 1 << 18
_WIDE_BITS = 7
# A tile that is no faster than this is not worth a file: two runs of one tile differ by as much.
_LEAST_GAIN = 0.03
_WARM_UP, _SAMPLES = 3, 9
_NORMAL = 2  # the initializer that costs most
Measure = Callable[[Callable[[], object]], float]


class Tuned(NamedTuple):
    """What was found for a shape class. rule, best: tiles, with the seconds a call took."""

    key: str
    rule: Tile
    rule_seconds: float
    best: Tile
    best_seconds: float


class _Work(NamedTuple):
    """kernel, dim, dtype: the shape class. run: a call of the Triton body. state: what it wrote."""

    kernel: str
    dim: int
    dtype: torch.dtype
    run: Callable[[], object]
    state: Callable[[], list[Tensor]]

    @property
    def key(self) -> str:
        return key_of(self.kernel, self.dim, self.dtype)


class _Scratch:
    """A table with a batch, the same at each making."""

    def __init__(self, num_rows: int, dim: int, dtype: torch.dtype, rule: Rule, device: torch.device) -> None:
        self.random = torch.Generator(device).manual_seed(7)
        self.rule, self.device, self.dim, self.dtype = rule, device, dim, dtype
        self.compute = torch.float64 if dtype == torch.float64 else torch.float32
        element, per_row = len(rule.element_slots), len(rule.row_slots)
        self.weights = [self.normal(num_rows, dim).to(dtype)]
        self.element_slots = [self.normal(num_rows, element * dim).abs()] if element else []
        self.row_slots = [self.normal(num_rows, per_row).abs()] if per_row else []
        self.meta = torch.zeros(num_rows, 4, dtype=torch.int32, device=device)
        self.rows = torch.randperm(num_rows, generator=self.random, device=device)[: num_rows // 2].int()
        self.hyper = torch.tensor([rule.hyper_row(step=1)], dtype=torch.float64, device=device)
        # Four features of bags of 0 to 8 ids, which have among them each row of the batch some times, the first ones often.
        lengths = torch.randint(0, 9, (num_rows // 2,), generator=self.random, device=device)
        self.offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        ranks = torch.rand(int(self.offsets[-1]), generator=self.random, device=device) ** 3
        self.inverse = (ranks * self.rows.numel()).int()
        self.combiners = torch.zeros(4, dtype=torch.int64, device=device)
        self.num_samples = lengths.numel() // 4

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.random, device=self.device, dtype=self.compute)

    @property
    def table(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
        return self.weights, self.element_slots, self.row_slots, self.meta

    @property
    def of_one_table(self) -> Tensor:
        return torch.tensor([0, self.rows.numel()], device=self.device)

    def written(self) -> list[Tensor]:
        return [*self.weights, *self.element_slots, *self.row_slots, self.meta]

    @property
    def slots(self) -> str:
        return f"{len(self.rule.element_slots)}+{len(self.rule.row_slots)} slots"

    @property
    def updates(self) -> str:
        return f"{self.slots} by {str(self.dtype).removeprefix('torch.')}"


def _body(op: str, function: str) -> Callable[..., Tensor]:
    found: Callable[..., Tensor] = getattr(importlib.import_module(f"sparrow.ops.{op}.triton"), function)
    return found


def _gather_pool(scratch: _Scratch) -> _Work:
    body, out = _body("gather_pool", "gather_pool"), list[Tensor]()
    default = torch.zeros_like(scratch.weights[0][0])
    sink = torch.zeros((), dtype=scratch.compute, device=scratch.device).expand(scratch.rows.numel(), scratch.dim)
    batch = (scratch.rows, scratch.inverse, scratch.offsets, None, scratch.combiners, scratch.num_samples)
    return _Work(
        "gather_pool",
        scratch.dim,
        scratch.dtype,
        lambda: out.__setitem__(slice(None), [body(sink, scratch.weights, default, *batch)]),
        lambda: out,
    )


def _pool_backward(scratch: _Scratch) -> _Work:
    body, out = _body("pool_backward", "pool_backward"), list[Tensor]()
    grad = scratch.normal(scratch.num_samples, 4, scratch.dim)
    batch = (scratch.rows, scratch.inverse, scratch.offsets, None, scratch.combiners)
    return _Work("pool_backward", scratch.dim, scratch.compute, lambda: out.__setitem__(slice(None), [body(grad, *batch)]), lambda: out)


def _update_rows(scratch: _Scratch) -> _Work:
    body, grads = _body("update_rows", "update_rows_"), scratch.normal(scratch.rows.numel(), scratch.dim)
    arguments = (*scratch.table, scratch.rows, grads, scratch.hyper, scratch.rule.code, 1)
    return _Work(f"update_rows, {scratch.updates}", scratch.dim, scratch.dtype, lambda: body(*arguments), scratch.written)


def _pool_update_rows(scratch: _Scratch) -> _Work:
    body, grad = _body("pool_update_rows", "pool_update_rows_"), scratch.normal(scratch.num_samples, 4, scratch.dim)
    batch = (scratch.rows, scratch.of_one_table, grad, scratch.inverse, scratch.offsets, None, scratch.combiners)
    arguments = (*scratch.table, *batch, scratch.hyper, scratch.rule.code, 1, True)
    return _Work(f"pool_update_rows, {scratch.updates}", scratch.dim, scratch.compute, lambda: body(*arguments), scratch.written)


def _init_rows(scratch: _Scratch) -> _Work:
    body, count, device = _body("init_rows", "init_rows_"), scratch.rows.numel(), scratch.device
    row_ids = torch.zeros(scratch.meta.shape[0], dtype=torch.int64, device=device)
    fresh = (torch.arange(count, dtype=torch.int32, device=device), torch.tensor([count], device=device))
    parameters = torch.tensor([[0.0, 1.0]], dtype=torch.float64, device=device)
    num_slots = len(scratch.rule.element_slots) + len(scratch.rule.row_slots)
    first = torch.zeros(1, num_slots, dtype=torch.float64, device=device)
    ids, seeds = torch.arange(count, device=device) * 7919, torch.tensor([7], device=device)
    arguments = (*scratch.table[:3], row_ids, scratch.meta, scratch.rows, ids, scratch.of_one_table, *fresh, seeds)
    return _Work(
        f"init_rows, {scratch.slots}",
        max(scratch.dim, 4),
        scratch.dtype,
        lambda: body(*arguments, _NORMAL, parameters, first),
        scratch.written,
    )


# The works, and whether their cost depends on the rule.
_WORKS = ((_gather_pool, False), (_pool_backward, False), (_update_rows, True), (_pool_update_rows, True), (_init_rows, True))


def tune(
    device: torch.device, dims: Sequence[int], dtypes: Sequence[torch.dtype], rules: Sequence[str], *,
    measure: Measure, num_rows: int = NUM_ROWS,
) -> Iterator[Tuned]:  # fmt: skip
    """Yield the best tile of each shape class: of the kernels over rows, for rows of these widths and dtypes, and these rules.

    measure: runs a call some times and returns the seconds of one.
    num_rows: of the scratch table, a power of two. It is made anew for each tile.

    Raises `BackendError` where a tile gives other bits than the rule's. Cost: a compilation and some ten calls a tile.
    """
    done: set[str] = set()
    for dim, dtype, (make, by_rule) in itertools.product(dims, dtypes, _WORKS):
        # Rules of as many slots cost the same, and are one class.
        kinds = {(len(RULES[name].element_slots), len(RULES[name].row_slots)): RULES[name] for name in rules}
        for rule in list(kinds.values()) if by_rule else list(kinds.values())[:1]:
            anew = functools.partial(_anew, make, num_rows >> max(0, (dim - 1).bit_length() - _WIDE_BITS), dim, dtype, rule, device)
            work = anew()
            if work.key not in done:
                done.add(work.key)
                yield _best(anew, work, measure)


def _anew(make: Callable[[_Scratch], _Work], num_rows: int, dim: int, dtype: torch.dtype, rule: Rule, device: torch.device) -> _Work:
    return make(_Scratch(num_rows, dim, dtype, rule, device))


def _best(make: Callable[[], _Work], first: _Work, measure: Measure) -> Tuned:
    rule, *others = candidates(first.kernel, first.dim, first.dtype)
    expected, seconds = _measured(first, rule, measure)
    best, best_seconds = rule, seconds
    for tile in others:
        state, now = _measured(make(), tile, measure)
        if not all(torch.equal(one.view(torch.uint8), two.view(torch.uint8)) for one, two in zip(state, expected, strict=True)):
            raise BackendError(f"{first.key}: {tile} gives other bits than {rule} on {state[0].device}; please report this")
        if now < min(best_seconds, (1 - _LEAST_GAIN) * seconds):
            best, best_seconds = tile, now
    return Tuned(first.key, rule, seconds, best, best_seconds)


def _measured(work: _Work, tile: Tile, measure: Measure) -> tuple[list[Tensor], float]:
    with trying(work.key, tile):
        work.run()
        state = [tensor.clone() for tensor in work.state()]
        return state, measure(work.run)


def seconds_on_gpu(run: Callable[[], object]) -> float:
    """Return the median of some calls' seconds on the current CUDA device, after a few that are not counted."""
    for _ in range(_WARM_UP):
        run()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(_SAMPLES)]
    for begin, end in events:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in events) / 1000
