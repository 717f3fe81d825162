"""What the Triton bodies of a lookup promise together: they never wait for the GPU, take few launches, and can be captured."""

import ast
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sparrow.ops
from sparrow.ops import id_map
from sparrow.ops.dedup_ids.op import dedup_ids
from sparrow.ops.erase.op import erase_
from sparrow.ops.find.op import find
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.rehash.op import rehash_
from sparrow.ops.touch_rows.op import touch_rows_
from tests_support import run_python
from triton_support import needs_gpu

# The operators of a training step. Those of the feature engine read sizes back: their outputs are as long as what they hold.
LOOKUP = ["dedup_ids", "erase", "find", "find_or_insert", "rehash", "touch_rows"]
ROWS = ["gather_pool", "init_rows", "pool_backward", "pool_update_rows", "update_rows"]
# Methods of a tensor that bring its values to the host, or need them there for a shape.
WAITS = {"item", "tolist", "cpu", "numpy", "nonzero", "masked_select", "unique", "unique_consecutive", "argwhere", "is_nonzero"}
NUM_IDS = 3000


@pytest.mark.parametrize("op", [*LOOKUP, *ROWS])
def test_no_body_asks_the_gpu_for_a_value(op: str) -> None:
    path = Path(sparrow.ops.__path__[0]) / op / "triton.py"
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not called & WAITS


_COUNTED = """
import importlib, json, torch
import triton.runtime.interpreter as interpreter
from sparrow.ops import id_map
launches, launch = [], interpreter.GridExecutor.__call__
def counting(self, *arguments, **named):
    launches.append(self.fn.__name__)
    launch(self, *arguments, **named)
interpreter.GridExecutor.__call__ = counting
state, rows = id_map.empty_id_map([100], [1]), id_map.empty_rows()
ids, offsets, meta = torch.arange(50), torch.tensor([0, 50]), torch.zeros(50, 4, dtype=torch.int32)
rebuilt = state[2].clone()
rebuilt[0, id_map.RANGE_NUM_KEYS] = id_map.REBUILD
calls = {
    "dedup_ids": ("dedup_ids", ([ids, ids[:0]], offsets)),
    "find_or_insert_": ("find_or_insert", (*state, *rows, ids, offsets)),
    "find": ("find", (*state, ids, offsets)),
    "touch_rows_": ("touch_rows", (meta, ids.int(), ids.int(), offsets[1:], 3, True)),
    "erase_": ("erase", (*state, ids, offsets)),
    "rehash_": ("rehash", (*state[:2], rebuilt, *state[1:])),
}
counts = {}
for function, (op, arguments) in calls.items():
    launches.clear()
    getattr(importlib.import_module(f"sparrow.ops.{op}.triton"), function)(*arguments)
    counts[function] = len(launches)
print(json.dumps(counts))
"""


def test_launches_are_as_few_as_docs_gpu_says() -> None:
    pytest.importorskip("triton", reason="triton is not installed: its bodies cannot run")
    counts = json.loads(run_python(_COUNTED, TRITON_INTERPRET="1"))
    assert counts == {"dedup_ids": 3, "find_or_insert_": 4, "find": 1, "touch_rows_": 1, "erase_": 2, "rehash_": 3}


class Lookup:
    """A map on the GPU and a call of every operator on it, and the same on the CPU."""

    def __init__(self, device: str) -> None:
        state = [*id_map.empty_id_map([2 * NUM_IDS, 2 * NUM_IDS], [1, 2], range_bits=1), *id_map.empty_rows()]
        self.state = [tensor.to(device) for tensor in state]
        self.meta = torch.zeros(4 * NUM_IDS, 4, dtype=torch.int32, device=device)

    def insert(self, ids: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return unique ids, their rows and offsets; on the CPU narrowed between the calls, as it must be there."""
        unique_ids, unique_offsets, _, counts = dedup_ids([ids], offsets)
        if not ids.is_cuda:
            unique_ids = unique_ids[: int(unique_offsets[-1])]
        rows, _, _ = find_or_insert_(*self.state, unique_ids, unique_offsets)
        touch_rows_(self.meta, rows, counts, unique_offsets[-1:], 5, True)
        return unique_ids, rows, unique_offsets


def batch(seed: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, NUM_IDS, (NUM_IDS,), generator=torch.Generator().manual_seed(seed))
    return ids, torch.tensor([0, NUM_IDS // 3, NUM_IDS])


def test_no_call_waits_for_the_gpu() -> None:
    needs_gpu()
    lookup = Lookup("cuda")
    ids, offsets = (tensor.cuda() for tensor in batch(0))
    rebuilt = lookup.state[2].clone()
    rebuilt[:, id_map.RANGE_NUM_KEYS] = id_map.REBUILD

    def call_all() -> None:
        lookup.insert(ids, offsets)
        find(*lookup.state[:3], ids, offsets)
        erase_(*lookup.state[:3], ids, offsets)
        rehash_(*lookup.state[:2], rebuilt, *lookup.state[1:3])

    call_all()  # compiles
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call_all()
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_a_captured_lookup_replays() -> None:
    """Each replay takes the ids that lie in the buffers then, some batches shorter than the buffers."""
    needs_gpu()
    gpu, cpu = Lookup("cuda"), Lookup("cpu")
    ids, offsets = (tensor.cuda() for tensor in batch(0))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        gpu.insert(ids, offsets)  # compiles
    torch.cuda.current_stream().wait_stream(side)
    cpu.insert(*batch(0))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        unique_ids, rows, unique_offsets = gpu.insert(ids, offsets)
    for seed in range(1, 5):
        now, now_offsets = batch(seed)
        now_offsets[-1] -= seed % 2 * 700
        ids.copy_(now)
        offsets.copy_(now_offsets)
        graph.replay()
        expected_ids, expected_rows, expected_offsets = cpu.insert(now[: int(now_offsets[-1])], now_offsets)
        num_unique = expected_ids.numel()
        assert torch.equal(unique_offsets.cpu(), expected_offsets)
        assert torch.equal(unique_ids[:num_unique].cpu(), expected_ids)
        assert torch.equal(rows[:num_unique].cpu(), expected_rows)
        assert torch.equal(gpu.meta.cpu(), cpu.meta)
        assert all(torch.equal(mine.cpu(), theirs) for mine, theirs in zip(gpu.state[1:], cpu.state[1:], strict=True))
