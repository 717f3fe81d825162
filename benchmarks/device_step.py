"""device_step: forward, backward and update of 10 tables in device memory, beside fbgemm and torch by hand. `sparrow bench step` on a GPU.

    python -m benchmarks device_step --device cuda [--rules adam,sgd] [--peers NAME,...] [--rows N] [--batch N] [--tables N] [--dim N]

10 tables of 1.6 million rows, dim 128, float32; a step has 1.05 million Zipf(1.05) ids, one a sample and table. Sparrow finds arbitrary
64-bit ids in its map, all of them known; the peers are given row numbers. Everyone agrees with float64 arithmetic on small tables first.
A sample is three steps of different data between two events, so what the host is late for counts. Sparrow's step is what a training loop
runs: `EmbeddingEngine` of tables with `device=`, backward, `SparseOptimizer.step`. Batches and gradients are on the device beforehand.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks import embedding_peers
from benchmarks.embedding_workload import BETA1, BETA2, EPS, FIRST_VALUE, LR, Cell, Step, expected, sample_major, steps_of, table_major
from benchmarks.harness import Options, Result, copy_bandwidth, give_memory_back, interleaved

RULE_NAMES = ("adam", "sgd")
_NUM_STEPS, _TOLERANCE = 3, 1e-6
_SIZES = {"rows": 1_600_000, "batch": 104_858, "tables": 10, "dim": 128}
_QUICK_SIZES = {"rows": 300, "batch": 32, "tables": 3, "dim": 8}
# Milliseconds asked for on an H200-class GPU.
_GOALS = {"adam": 1.35, "sgd": 1.0}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rules", default=",".join(RULE_NAMES), help="update rules, by commas: adam, sgd")
    parser.add_argument("--peers", help="names or their beginnings, by commas; all that are installed by default")
    for name, size in _SIZES.items():
        parser.add_argument(f"--{name}", type=int, help=f"{size:,} by default, and where a goal is looked at")


class System:
    """One way to take a step, on one device."""

    name: ClassVar[str]

    def __init__(self, cell: Cell, device: str) -> None:
        self.cell, self.device = cell, device

    @classmethod
    def missing(cls, device: str) -> str:
        """Return why it cannot run here, or an empty string."""
        return ""

    def prepare(self, step: Step) -> Any:
        """Return what `take` wants, on the device."""
        raise NotImplementedError

    def take(self, prepared: Any) -> Tensor:
        """Forward, backward and update; return the output, [batch, tables * dim]."""
        raise NotImplementedError


class Sparrow(System):
    """The public way: `EmbeddingEngine` of tables with `device=`, backward, `SparseOptimizer.step`. Every id has a row beforehand."""

    name = "sparrow"

    def __init__(self, cell: Cell, device: str) -> None:
        super().__init__(cell, device)
        self.trained = embedding_peers.Sparrow(cell, device)
        self.check_steady()

    def prepare(self, step: Step) -> Any:
        return self.trained.prepare(step)

    def take(self, prepared: Any) -> Tensor:
        return self.trained.take(prepared)

    def check_steady(self) -> None:
        """Raise `AssertionError` unless every id has its row, and there are no others: a step that is timed makes none."""
        num_rows = sum(group.num_rows for group in self.trained.engine.groups)
        assert num_rows == self.cell.rows * self.cell.tables, f"{num_rows} rows of {self.cell.tables} tables of {self.cell.rows}"


class Fbgemm(System):
    name = "fbgemm SplitTBE"

    @classmethod
    def missing(cls, device: str) -> str:
        if device == "cpu":
            return "fbgemm is timed here on a GPU only (`embedding_step` has its CPU path)"
        return "" if importlib.util.find_spec("fbgemm_gpu") else "fbgemm-gpu is not installed"

    def __init__(self, cell: Cell, device: str) -> None:
        super().__init__(cell, device)
        package = "fbgemm_gpu.split_table_batched_embeddings_ops"
        training, common = importlib.import_module(f"{package}_training"), importlib.import_module(f"{package}_common")
        kinds = importlib.import_module("fbgemm_gpu.split_embedding_configs").EmbOptimType
        self.module = training.SplitTableBatchedEmbeddingBagsCodegen(
            [(cell.rows, cell.dim, common.EmbeddingLocation.DEVICE, training.ComputeDevice.CUDA)] * cell.tables,
            optimizer=kinds.ADAM if cell.rule == "adam" else kinds.EXACT_SGD,
            learning_rate=LR,
            eps=EPS,
            beta1=BETA1,
            beta2=BETA2,
            pooling_mode=common.PoolingMode.SUM,
            device=torch.device("cuda", torch.cuda.current_device()),
        )
        for weights in self.module.split_embedding_weights():
            weights.fill_(FIRST_VALUE)

    def prepare(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        return step.indices.to(self.device), step.offsets.to(self.device), step.grad.to(self.device)

    def take(self, prepared: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        indices, offsets, grad = prepared
        out: Tensor = self.module(indices, offsets)
        out.backward(grad)
        return out.detach()


class ByHand(System):
    """What a careful user of torch writes: one merged table, gradients summed by `unique` and `index_add_`, no autograd."""

    name = "torch by hand"

    def __init__(self, cell: Cell, device: str) -> None:
        super().__init__(cell, device)
        self.weights, self.step = torch.full((cell.rows * cell.tables, cell.dim), FIRST_VALUE, device=device), 0
        self.slots = [torch.zeros_like(self.weights) for _ in range(2 if cell.rule == "adam" else 0)]

    def prepare(self, step: Step) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        segments = torch.arange(self.cell.tables * self.cell.batch).repeat_interleave(step.offsets.diff())
        tensors = (step.merged_indices(self.cell), step.offsets, step.grad, segments)
        indices, offsets, grad, segments = (tensor.to(self.device) for tensor in tensors)
        return indices, offsets, grad, segments

    @torch.no_grad()
    def take(self, prepared: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        indices, offsets, grad, segments = prepared
        cell, weights = self.cell, self.weights
        out = sample_major(cell, nn.functional.embedding_bag(indices, weights, offsets, mode="sum", include_last_offset=True))
        of_positions = table_major(cell, grad)[segments]
        self.step += 1
        if cell.rule == "sgd":
            weights.index_add_(0, indices, of_positions, alpha=-LR)
            return out
        touched, inverse = indices.unique(return_inverse=True)
        g = grad.new_zeros(touched.numel(), cell.dim).index_add_(0, inverse, of_positions)
        first, second = self.slots
        first[touched] = m = first[touched].mul_(BETA1).add_(g, alpha=1 - BETA1)
        second[touched] = v = second[touched].mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        correction = math.sqrt(1 - BETA2**self.step)
        # Adam adds eps to the corrected root, as torch.optim.Adam does.
        weights[touched] -= m.div_(v.sqrt_().add_(EPS * correction)).mul_(LR * correction / (1 - BETA1**self.step))
        return out


PEERS: tuple[type[System], ...] = (Fbgemm, ByHand)


def check(kind: type[System], rule: str, device: str, *, rows: int = 500, batch: int = 64) -> None:
    """Compare three steps on small tables with float64 arithmetic. Raises `AssertionError` with the largest difference."""
    cell = Cell(True, 16, rule, rows, batch, tables=4)
    steps = steps_of(cell, 3)
    system = kind(cell, device)
    for step, output in zip(steps, expected(cell, steps, eps_of_torch=True), strict=True):
        error = float((system.take(system.prepare(step)).cpu().double() - output).abs().max())
        assert error < _TOLERANCE, f"{kind.name}, {rule}: off by {error}"


def run(options: Options) -> Iterable[Result]:
    wanted = options.more.peers.split(",") if options.more.peers else [""]
    peers = []
    for kind in PEERS:
        if why := kind.missing(options.device):
            print(f"{why}: {kind.name} is left out", flush=True)
        elif kind.name.startswith(tuple(wanted)):
            peers.append(kind)
    for rule in options.more.rules.split(","):
        assert rule in RULE_NAMES, f"no rule {rule!r} here; there are {RULE_NAMES}"
        yield from _measured(Cell(False, rule=rule, **_sizes(options)), peers, options)
        give_memory_back()


def _sizes(options: Options) -> dict[str, int]:
    asked = {name: getattr(options.more, name) for name in _SIZES if getattr(options.more, name) is not None}
    return {**(_QUICK_SIZES if options.quick else _SIZES), **asked}


def _measured(cell: Cell, peers: list[type[System]], options: Options) -> Iterable[Result]:
    for kind in (Sparrow, *peers):
        check(kind, cell.rule, options.device)
    steps = steps_of(cell, _NUM_STEPS)
    sparrow = Sparrow(cell, options.device)
    mine = _taken(sparrow, steps)
    if not peers:
        yield _compared(cell, steps, "", interleaved({"sparrow": mine}, options.runs, device=options.device), options)
    for kind in peers:
        functions = {"sparrow": mine, kind.name: _taken(kind(cell, options.device), steps)}
        yield _compared(cell, steps, kind.name, interleaved(functions, options.runs, device=options.device), options)
        del functions
        give_memory_back()
        if options.device != "cpu":
            torch.cuda.empty_cache()
    sparrow.check_steady()


def _taken(system: System, steps: list[Step]) -> Callable[[], None]:
    prepared = [system.prepare(step) for step in steps]

    def take() -> None:
        for one in prepared:
            system.take(one)

    return take


def _compared(cell: Cell, steps: list[Step], name: str, seconds: dict[str, float], options: Options) -> Result:
    ours, theirs = seconds["sparrow"] / len(steps), seconds[name] / len(steps) if name else None
    moved = sum(step.must_move_bytes(cell) for step in steps) // len(steps)
    ids = steps[0].ids.numel()
    result = Result(
        f"{cell.rule}, {cell.tables} tables x {cell.rows:,} rows, dim {cell.dim}, {ids:,} Zipf ids",
        "step",
        "ms",
        1e3 * ours,
        name,
        None if theirs is None else 1e3 * theirs,
        None if theirs is None else theirs / ours,
        moved / ours / copy_bandwidth(options.device),
        bytes=moved,
        seconds=ours,
        peer_seconds=theirs,
    )
    if options.device == "cpu" or _sizes(options) != _SIZES:
        return result
    goal = _GOALS[cell.rule]
    return dataclasses.replace(result, goal=f"at most {goal} ms", met=1e3 * ours <= goal)
