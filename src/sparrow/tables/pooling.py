"""Pooling of a lookup's rows as autograd sees it: the sum of the gradient waits until somebody reads it, or the update takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_map_only

from sparrow.errors import TableError
from sparrow.ops.gather_pool.op import gather_pool
from sparrow.ops.pool_backward.op import pool_backward


@dataclass(frozen=True, slots=True)
class Segments:
    """What was pooled: `rows`, `inverse`, `offsets`, `position_weights` and `combiners` as `gather_pool` takes them."""

    rows: Tensor
    inverse: Tensor
    offsets: Tensor
    position_weights: Tensor | None
    combiners: Tensor


class PendingSum:
    """The gradient of a pooled output, and its sum per distinct row once somebody asked for it."""

    def __init__(self, pooled: Tensor, segments: Segments) -> None:
        self._pooled: Tensor | None = pooled
        self.device = pooled.device
        self._version = pooled._version
        self._segments = segments
        self._value: Tensor | None = None

    @property
    def is_made(self) -> bool:
        return self._value is not None

    def parts(self) -> tuple[Tensor, Segments]:
        """Return the gradient of the output, [B, F, D], and what was pooled. Raises `TableError` where it was written to since."""
        assert self._pooled is not None, "the sum is made"
        if self._pooled._version != self._version:
            raise TableError(
                "the gradient of an embedding's output was changed in place after it was backpropagated, and the tables have not used it "
                "yet; change a copy, or change it on its way by Tensor.register_hook"
            )
        return self._pooled, self._segments

    def value(self) -> Tensor:
        """Return the sum, [U, D], always the same tensor."""
        if self._value is None:
            pooled, s = self.parts()
            self._value = pool_backward(pooled, s.rows, s.inverse, s.offsets, s.position_weights, s.combiners)
            self._pooled = None
        return self._value


class PooledGradient(Tensor):
    """The gradient [U, D] of a sink, as every operation on it sees: occurrences summed per distinct row by `pool_backward`.

    It is not summed before the first operation: without one, `SparseOptimizer` sums and updates in one pass (`pool_update_rows_`).
    """

    waiting: PendingSum

    # Only what autograd and the user do to values matters, and that comes to __torch_dispatch__.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, waiting: PendingSum, shape: Sequence[int], dtype: torch.dtype) -> PooledGradient:
        made: PooledGradient = Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=dtype, device=waiting.device)
        made.waiting = waiting
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"PooledGradient({self.waiting.value() if self.waiting.is_made else f'{list(self.shape)}, not summed yet'})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        if func is torch.ops.aten.detach.default:
            return PooledGradient(args[0].waiting, args[0].shape, args[0].dtype)
        if func is torch.ops.aten.clone.default and not args[0].waiting.is_made:
            # Each makes its own sum, should anybody change one.
            return PooledGradient(PendingSum(*args[0].waiting.parts()), args[0].shape, args[0].dtype)
        gradient_of: dict[int, PooledGradient] = {}

        def open_up(gradient: PooledGradient) -> Tensor:
            value = gradient.waiting.value()
            gradient_of[id(value)] = gradient
            return value

        # An operation in place returns what it was given.
        out = func(*tree_map_only(PooledGradient, open_up, args), **tree_map_only(PooledGradient, open_up, kwargs or {}))
        return tree_map_only(Tensor, lambda tensor: gradient_of.get(id(tensor), tensor), out)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sink: Tensor, weights: list[Tensor], default_row: Tensor, segments: Segments, num_samples: int) -> Tensor:
        ctx.segments, ctx.shape, ctx.dtype = segments, sink.shape, sink.dtype
        s = segments
        return gather_pool(sink, weights, default_row, s.rows, s.inverse, s.offsets, s.position_weights, s.combiners, num_samples)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return PooledGradient(PendingSum(grad.contiguous(), ctx.segments), ctx.shape, ctx.dtype), None, None, None, None


def pool(sink: Tensor, weights: list[Tensor], default_row: Tensor, segments: Segments, num_samples: int) -> Tensor:
    """Return `gather_pool` of the same arguments; the gradient of `sink` is a `PooledGradient`."""
    return _Pool.apply(sink, weights, default_row, segments, num_samples)  # type: ignore[no-untyped-call]
