"""Functional operators inside a compiled function: one graph, any sizes, the values of eager mode."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.find.op import find
from sparrow.ops.length_rows.op import length_rows
from sparrow.ops.pad_rows.op import pad_rows
from sparrow.ops.pool_backward.op import pool_backward
from sparrow.ops.top_rows.op import top_rows
from sparrow.ops.truncate_rows.op import truncate_rows
from sparrow.ops.unique_rows.op import unique_rows
from sparrow.tables.growth import IdMap


def _map() -> IdMap:
    ids = IdMap([7])
    ids.find_or_insert(torch.arange(20), torch.tensor([0, 20]))
    return ids


MAP = _map()


def _lists(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lists of 0, 3, 6, ... values with weights, from n rows on."""
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), (3 * torch.arange(n)).cumsum(0)])
    values = torch.arange(int(offsets[-1])) % 7
    return values, torch.sin(values.float()), offsets


def _joined(parts: Iterable[list[Tensor]]) -> tuple[Tensor, ...]:
    return tuple(tensor for tensors in parts for tensor in tensors)


CASES: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    "dedup_ids": (lambda ids, offsets: dedup_ids([ids, ids], offsets), lambda n: (torch.arange(n) % 5, torch.tensor([0, n, 2 * n]))),
    "find": (
        lambda ids, offsets: find(MAP.lines, MAP.headers, MAP.ranges, ids, offsets),
        lambda n: (torch.arange(n) * 2, torch.tensor([0, n])),
    ),
    "length_rows": (lambda offsets: tuple(length_rows([offsets, offsets], torch.tensor([[1, 0], [1, 0]]))), lambda n: _lists(n)[2:]),
    "pad_rows": (
        lambda values, weights, offsets: tuple(pad_rows([values, weights], [offsets] * 2, torch.tensor([[1, 4, 0, 0, 1, 1, 0]] * 2))),
        _lists,
    ),
    "pool_backward": (
        lambda grad, inverse, offsets: pool_backward(
            grad, torch.arange(5, dtype=torch.int32), inverse, offsets, None, torch.zeros(1, dtype=torch.int64)
        ),
        lambda n: (torch.randn(n, 1, 3, generator=torch.Generator().manual_seed(n)), torch.arange(n).int() % 5, torch.arange(n + 1)),
    ),
    "top_rows": (lambda values, weights, offsets: _joined(top_rows([values], [weights], [offsets], torch.tensor([[2]]))), _lists),
    "truncate_rows": (
        lambda values, weights, offsets: _joined(truncate_rows([values], [weights], [offsets], torch.tensor([[1, 0, 2, 0, 0]]))),
        _lists,
    ),
    "unique_rows": (lambda values, weights, offsets: _joined(unique_rows([values], [weights], [offsets], torch.tensor([[1]]))), _lists),
}


@pytest.mark.parametrize("name", CASES)
def test_one_graph_of_any_size_gives_the_values_of_eager_mode(name: str) -> None:
    torch.compiler.reset()  # every case compiles the same lambda, and may so only a few times
    function, arguments = CASES[name]
    graphs = 0

    def count(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    compiled = torch.compile(lambda *given: function(*given), fullgraph=True, dynamic=True, backend=count)
    for num_ids in (6, 11, 17):
        expected, got = function(*arguments(num_ids)), compiled(*arguments(num_ids))
        for one, two in zip(*((values if isinstance(values, tuple) else (values,)) for values in (expected, got)), strict=True):
            assert torch.equal(one, two)
    assert graphs == 1
